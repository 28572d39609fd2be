"""The four limits that are always passed: from the spec, the model's known facts, or the release's defaults."""

from __future__ import annotations

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.api.vllm_engine import VllmEngine
from inference_fleet.engine.engine_plan import EffectiveLimits
from inference_fleet.engine.versions import EngineRelease

_GIBIBYTE = 2**30


def effective_limits(
    engine: VllmEngine, *, release: EngineRelease, accelerator: AcceleratorClassSpec, shape: ModelShape | None
) -> EffectiveLimits:
    """Lengths in tokens. Where nothing gives a length it is None: the engine fits it to its memory (`auto`)."""
    batching, cache = engine.batching, engine.kv_cache
    tokens, seqs = _batch_defaults(release, accelerator)
    if batching and batching.max_num_seqs:
        seqs = batching.max_num_seqs
        tokens = max(tokens, seqs)
    if batching and batching.max_num_batched_tokens:
        tokens = batching.max_num_batched_tokens
        # Only the default gives way: what the user said is checked, not changed.
        seqs = seqs if batching.max_num_seqs else min(seqs, tokens)
    length = engine.max_model_len or (shape.max_position_embeddings if shape else None)
    return EffectiveLimits(
        max_model_len=length,
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        gpu_memory_utilization_percent=(cache.gpu_memory_utilization_percent if cache else None)
        or release.gpu_memory_utilization_percent,
    )


def _batch_defaults(release: EngineRelease, accelerator: AcceleratorClassSpec) -> tuple[int, int]:
    """(maxNumBatchedTokens, maxNumSeqs) that vLLM's API server takes for a device of this memory."""
    if accelerator.platform == "CPU":
        return release.cpu_defaults["maxNumBatchedTokens"], release.cpu_defaults["maxNumSeqs"]
    memory = accelerator.device_memory_bytes / _GIBIBYTE
    for row in release.defaults:
        if memory >= row["minimumDeviceGibibytes"] and accelerator.architecture not in row.get(
            "exceptArchitectures", ()
        ):
            return row["maxNumBatchedTokens"], row["maxNumSeqs"]
    raise AssertionError("the last row of the defaults takes every device")
