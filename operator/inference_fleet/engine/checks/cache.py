"""The KV cache: its type."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding

_PATH = "engine.vllm.kvCache.kvCacheDtype"
# These mean "as the model computes": another type of the model is refused by vLLM.
_MODEL_TYPES = {"float16": ("float16", "half"), "bfloat16": ("bfloat16",)}

# Older devices have no bfloat16; vLLM then computes in float16 (platforms/cuda.py).
_BFLOAT16_CAPABILITY = 80
# config/vllm.py of 0.32 and 0.33.
_NOT_LATENT = "nvfp4"


def cache_type(case: Case) -> Iterator[Finding]:
    """Known to the release, and not at odds with the model's own type."""
    wanted = case.engine.kv_cache.kv_cache_dtype if case.engine.kv_cache else None
    if wanted is None:
        return
    if wanted not in case.version.kv_cache_types:
        message = f"{wanted} is not a KV cache type of vLLM {case.version.version}."
        way_out = f"Known are {', '.join(case.version.kv_cache_types)}."
        yield Refusal(_PATH, Reason.UNSUPPORTED_SETTING, message, way_out)
        return
    if wanted.startswith(_NOT_LATENT) and not wanted.endswith("_ds_mla") and case.facts and case.facts.kv_lora_rank:
        message = f"{wanted} does not go with the model's latent attention."
        yield Refusal(_PATH, Reason.CONFLICTING_SETTINGS, message, "Use fp8, or leave it out.")
    computed = _computed_in(case)
    if wanted in _MODEL_TYPES and computed is not None and computed not in _MODEL_TYPES[wanted]:
        message = f"{wanted} must be the type that the model computes in, which is {computed}."
        yield Refusal(_PATH, Reason.CONFLICTING_SETTINGS, message, "Leave it out.")


def _computed_in(case: Case) -> str | None:
    """The type that is set, or else the checkpoint's own; None if only vLLM can say."""
    if case.engine.dtype not in (None, "auto"):
        return case.engine.dtype
    stored = case.facts.torch_dtype if case.facts else None
    if stored == "bfloat16" and case.capability is not None and case.capability < _BFLOAT16_CAPABILITY:
        return "float16"
    # Of float32 vLLM makes the 16-bit type that the device prefers.
    return stored if stored in ("float16", "bfloat16") else None
