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
# vLLM makes groups of equally many layers; below this ratio the larger kind sets their size (kv_cache_utils.py).
_GROUP_RATIO = 1.5
_BLOCK_TOKENS = 16
# Kernels of latent attention beside recurrent layers want blocks of a multiple of this.
_LATENT_HYBRID_BLOCK_TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class CacheLayout:
    """Bytes on one device: per token of full and of windowed attention, and the states of a sequence.

    window: tokens that windowed attention holds of a long sequence, those of the steps in flight included; None: there
    is none. margin_blocks: blocks more than these tokens fill, since a sliding window seldom begins with one.
    """

    full_bytes: int
    windowed_bytes: int
    state_bytes: int
    window: int | None
    margin_blocks: int = 0
    block_tokens: int = _BLOCK_TOKENS

    def sequence_bytes(self, tokens: int) -> int:
        """What one sequence of so many tokens takes."""
        blocks = math.ceil(tokens / self.block_tokens)
        held = blocks
        if self.window is not None:
            held = math.ceil(min(self.window, tokens) / self.block_tokens) + self.margin_blocks
        return self.block_tokens * (blocks * self.full_bytes + held * self.windowed_bytes) + self.state_bytes

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
    in_flight_tokens: int,
    states: int = 1,
    prediction_layers: int = 0,
) -> CacheLayout | None:
    """The layout; None if the shape does not say enough, or the cache's type has no known size.

    in_flight_tokens: of all steps that may run at once, whose blocks windows give back only after them. states: of one
    sequence in a layer with a state. prediction_layers: of full attention, behind the model's own on the last stage.
    """
    size = _element_bytes(dtype, cache_type)
    if facts is None or size is None:
        return None
    full, windowed = facts.full_attention_layers, facts.windowed_layers
    if full is None or windowed is None:
        return None
    per_layer = _layer_bytes(facts, size=size, cache_type=cache_type, tensor=tensor)
    if per_layer is None:
        return None
    full, windowed, with_state = (math.ceil(count / pipeline) for count in (full, windowed, facts.state_layers))
    full, windowed, with_state = _padded(full + prediction_layers, windowed, with_state)
    block = _block_tokens(facts, per_layer=per_layer, dtype=dtype, tensor=tensor) if with_state else _BLOCK_TOKENS
    sliding = "C" not in (facts.layer_pattern or "")
    lasting = facts.sliding_window - 1 if sliding and facts.sliding_window else facts.sliding_window or 0
    return CacheLayout(
        full_bytes=full * (_global_bytes(facts, size=size, tensor=tensor) or per_layer),
        windowed_bytes=windowed * per_layer,
        # A state fills a block, however large attention's blocks must be for that.
        state_bytes=with_state * states * block * per_layer,
        window=lasting + in_flight_tokens if windowed and lasting else None,
        margin_blocks=1 if sliding else 0,
        block_tokens=block,
    )


def _block_tokens(facts: ModelFacts, *, per_layer: int, dtype: str | None, tensor: int) -> int:
    """Tokens of a block that is not smaller than a state (vLLM's Platform._align_hybrid_block_size)."""
    activation = activation_type_bytes(dtype)
    convolution = facts.state_convolution_elements or 0
    recurrent = (facts.state_elements_per_layer or 0) - convolution
    state = (recurrent * _state_type_bytes(facts, activation) + convolution * activation) // tensor
    step = _LATENT_HYBRID_BLOCK_TOKENS if facts.kv_lora_rank else _BLOCK_TOKENS
    return step * max(1, math.ceil(state / (step * per_layer)))


def _state_type_bytes(facts: ModelFacts, activation: int) -> int:
    return activation if facts.state_dtype is None else activation_type_bytes(facts.state_dtype)


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


def _padded(full: int, windowed: int, with_state: int) -> tuple[int, int, int]:
    """Layers of each kind as they are paid for: groups of one size, filled up."""
    kinds = [count for count in (full, windowed, with_state) if count]
    if len(kinds) < 2:
        return full, windowed, with_state
    group = max(kinds) if max(kinds) < min(kinds) * _GROUP_RATIO else min(kinds)
    return _filled(full, group), _filled(windowed, group), _filled(with_state, group)


def _filled(layers: int, group: int) -> int:
    return math.ceil(layers / group) * group
