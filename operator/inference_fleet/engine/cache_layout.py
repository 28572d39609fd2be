"""What a running sequence takes of a device's KV cache: vLLM's layer groups, windows, latent vectors and states."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.weights import activation_type_bytes

# Bytes of one number by --kv-cache-dtype; types that are not here keep scales beside it, so that no size is known.
_CACHE_TYPE_BYTES = {"float16": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1, "fp8_inc": 1}
# DeepSeek's fp8 latent cache keeps its rotary part in 16 bits and a scale for each 128 numbers (vLLM's layout).
_LATENT_FP8_BYTES = 656
# The sparse attention's own key in fp8, with one 4-byte scale.
_INDEX_SCALE_BYTES = 4
# A recurrent state is kept in float32, and vLLM holds the one before it as well.
_STATE_TYPE_BYTES = 4
_STATES_A_SEQUENCE = 2
# vLLM makes groups of equally many layers; up to this ratio the larger kind sets their size (kv_cache_utils.py).
_GROUP_RATIO = 1.25
_BLOCK_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class CacheLayout:
    """Bytes on one device: per token of full and of windowed attention, and the state of a sequence.

    window: tokens that windowed attention holds of a long sequence, those of one step included; None: there is none.
    """

    full_bytes: int
    windowed_bytes: int
    state_bytes: int
    window: int | None

    def sequence_bytes(self, tokens: int) -> int:
        """What one sequence of so many tokens takes."""
        blocks = -(-tokens // _BLOCK_TOKENS) * _BLOCK_TOKENS
        held = blocks
        if self.window is not None:
            # One more block, since a window seldom begins with one.
            held = min(blocks, (-(-self.window // _BLOCK_TOKENS) + 1) * _BLOCK_TOKENS)
        return blocks * self.full_bytes + held * self.windowed_bytes + self.state_bytes

    def bytes_per_token(self, tokens: int) -> int:
        """The average over a sequence of so many tokens: what vLLM's token figure counts with."""
        return max(1, round(self.sequence_bytes(tokens) / tokens))

    def beside(self, draft: CacheLayout) -> CacheLayout:
        """This model with a draft, whose layers all count as if they kept every token."""
        full = self.full_bytes + draft.full_bytes + draft.windowed_bytes
        return replace(self, full_bytes=full, state_bytes=self.state_bytes + draft.state_bytes)

    def longest_sequence(self, available_bytes: int, *, at_most: int) -> int:
        """Tokens of the longest sequence that fits; 0 if none does."""
        low, high = 0, at_most
        while low < high:
            middle = (low + high + 1) // 2
            if self.sequence_bytes(middle) <= available_bytes:
                low = middle
            else:
                high = middle - 1
        return low


def cache_layout(
    facts: ModelFacts | None,
    *,
    dtype: str | None,
    cache_type: str | None,
    tensor: int,
    pipeline: int,
    max_num_batched_tokens: int,
) -> CacheLayout | None:
    """The layout; None if the shape does not say enough, or the cache's type has no known size."""
    size = _element_bytes(dtype, cache_type)
    if facts is None or size is None:
        return None
    full, windowed = facts.full_attention_layers, facts.windowed_layers
    if full is None or windowed is None:
        return None
    per_layer = _layer_bytes(facts, size=size, cache_type=cache_type, tensor=tensor)
    if per_layer is None:
        return None
    full, windowed = _padded(math.ceil(full / pipeline), math.ceil(windowed / pipeline))
    state = (facts.state_elements_per_layer or 0) * _STATE_TYPE_BYTES * _STATES_A_SEQUENCE
    return CacheLayout(
        full_bytes=full * (_global_bytes(facts, size=size, tensor=tensor) or per_layer),
        windowed_bytes=windowed * per_layer,
        state_bytes=math.ceil(facts.state_layers / pipeline) * state // tensor,
        window=facts.sliding_window - 1 + max_num_batched_tokens if windowed and facts.sliding_window else None,
    )


def _element_bytes(dtype: str | None, cache_type: str | None) -> int | None:
    if cache_type in (None, "auto"):
        return activation_type_bytes(dtype)
    if cache_type == "fp8_ds_mla":
        return 1
    return _CACHE_TYPE_BYTES.get(cache_type or "")


def _layer_bytes(facts: ModelFacts, *, size: int, cache_type: str | None, tensor: int) -> int | None:
    """Of one token in one layer (vLLM's AttentionSpec and MLAAttentionSpec)."""
    if facts.kv_lora_rank:
        # One vector for all heads, the same on every device.
        latent = (facts.kv_lora_rank + (facts.qk_rope_head_dim or 0)) * size
        if cache_type == "fp8_ds_mla":
            latent = _LATENT_FP8_BYTES
        return latent + (facts.index_head_dim + _INDEX_SCALE_BYTES if facts.index_head_dim else 0)
    heads, width = facts.num_key_value_heads or facts.num_attention_heads, facts.key_value_width
    if heads is None or width is None:
        return None
    return 2 * max(1, heads // tensor) * width * size


def _global_bytes(facts: ModelFacts, *, size: int, tensor: int) -> int | None:
    """Full layers with heads of another size than the windowed ones (Gemma 4)."""
    if facts.global_head_dim is None or facts.num_global_key_value_heads is None:
        return None
    return 2 * max(1, facts.num_global_key_value_heads // tensor) * facts.global_head_dim * size


def _padded(full: int, windowed: int) -> tuple[int, int]:
    """Layers of each kind as they are paid for: groups of one size, filled up."""
    if not full or not windowed:
        return full, windowed
    fewer, more = sorted((full, windowed))
    group = more if more < fewer * _GROUP_RATIO else fewer
    return math.ceil(full / group) * group, math.ceil(windowed / group) * group
