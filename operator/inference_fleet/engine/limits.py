"""The four limits that are always passed: from the spec, the model's known facts, or the release's defaults."""

from __future__ import annotations

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.api.vllm_engine import VllmEngine
from inference_fleet.engine.engine_plan import EffectiveLimits
from inference_fleet.engine.versions import EngineVersion


def effective_limits(
    engine: VllmEngine, *, version: EngineVersion, accelerator: AcceleratorClassSpec, shape: ModelShape | None
) -> EffectiveLimits:
    """Lengths in tokens. Where nothing gives a length it is None: the engine fits it to its memory (`auto`)."""
    batching, cache = engine.batching, engine.kv_cache
    parallel = engine.parallelism
    processes = (parallel.tensor_parallel_size or 1) * (parallel.pipeline_parallel_size or 1) if parallel else 1
    defaults = version.batch_defaults(
        platform=accelerator.platform,
        architecture=accelerator.architecture,
        device_memory_bytes=accelerator.device_memory_bytes,
        processes=processes,
    )
    tokens, seqs = defaults.max_num_batched_tokens, defaults.max_num_seqs
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
        or version.gpu_memory_utilization_percent,
    )
