"""From the merged intent to the argument list of `vllm serve`: every typed field, in a fixed order."""

from __future__ import annotations

import json
from typing import Any

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.names import ENGINE_PORT
from inference_fleet.api.vllm_engine import Speculative, VllmEngine
from inference_fleet.engine.engine_plan import (
    CACHE_MOUNT,
    DRAFT_WEIGHTS_MOUNT,
    WEIGHTS_MOUNT,
    EffectiveLimits,
)

# Callers may send links to images: without a list vLLM fetches from anywhere, the cluster's own network included.
# A name that cannot exist (RFC 2606) allows none.
NO_MEDIA_DOMAIN = "media.invalid"
# Probes and scrapes every few seconds would bury what a log is for.
_QUIET_ENDPOINTS = "/health,/metrics,/ping"


def engine_arguments(intent: VariantIntent, *, limits: EffectiveLimits) -> tuple[str, ...]:
    """The arguments after `vllm serve`, `--flag=value` each; negatives as --no-enable-x, which every version takes."""
    engine = intent.engine
    arguments = [
        # Not the positional word: images that start the server's module instead of `vllm serve` ignore that one and
        # would serve vLLM's default model. Both take --model.
        f"--model={model_path(intent.model, mount=WEIGHTS_MOUNT)}",
        *_revision(intent.model),
        "--served-model-name",
        *intent.served_model_names,
        "--host=0.0.0.0",
        f"--port={ENGINE_PORT}",
        f"--shutdown-timeout={intent.drain.timeout_seconds}",
        f"--disable-access-log-for-endpoints={_QUIET_ENDPOINTS}",
        f"--allowed-media-domains={NO_MEDIA_DOMAIN}",
        f"--max-model-len={limits.max_model_len or 'auto'}",
        f"--max-num-seqs={limits.max_num_seqs}",
        f"--max-num-batched-tokens={limits.max_num_batched_tokens}",
        f"--gpu-memory-utilization={limits.gpu_memory_utilization_percent / 100:.2f}",
        *_model_options(intent, engine),
        *_cache_options(engine),
        *_batching_options(engine),
        *_parallel_options(engine),
        *_speculative_options(engine.speculative),
        *(engine.extra_args or ()),
    ]
    return tuple(arguments)


def model_path(checkpoint: Checkpoint, *, mount: str) -> str:
    """What the engine is told to load: a repository, a folder under `mount`, or an s3:// address."""
    if checkpoint.hugging_face:
        return checkpoint.hugging_face.repository
    if checkpoint.s3:
        return checkpoint.s3.uri
    source = checkpoint.persistent_volume_claim or checkpoint.image
    path = source.path if source else None
    return f"{mount}/{path}" if path else mount


def engine_environment(intent: VariantIntent) -> tuple[tuple[str, str], ...]:
    """Names and values that the engine needs around its arguments."""
    found = [
        ("HF_HOME", f"{CACHE_MOUNT}/huggingface"),
        ("VLLM_CACHE_ROOT", f"{CACHE_MOUNT}/vllm"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ]
    if intent.model.persistent_volume_claim or intent.model.image:
        # Nothing is to be downloaded, and nothing is to be asked for.
        found.append(("HF_HUB_OFFLINE", "1"))
    return tuple(found)


def _revision(checkpoint: Checkpoint) -> list[str]:
    source = checkpoint.hugging_face
    return [f"--revision={source.revision}"] if source and source.revision else []


def _model_options(intent: VariantIntent, engine: VllmEngine) -> list[str]:
    found = []
    if engine.dtype:
        found.append(f"--dtype={engine.dtype}")
    if engine.quantization:
        found.append(f"--quantization={engine.quantization.method}")
    if intent.model.s3:
        found.append("--load-format=runai_streamer")
    if engine.enforce_eager is not None:
        found.append(_switch("enforce-eager", engine.enforce_eager))
    if engine.optimization_level is not None:
        found.append(f"--optimization-level={engine.optimization_level}")
    return found


def _cache_options(engine: VllmEngine) -> list[str]:
    cache = engine.kv_cache
    if cache is None:
        return []
    found = []
    if cache.kv_cache_dtype:
        found.append(f"--kv-cache-dtype={cache.kv_cache_dtype}")
    if cache.enable_prefix_caching is not None:
        found.append(_switch("enable-prefix-caching", cache.enable_prefix_caching))
    if cache.block_size:
        found.append(f"--block-size={cache.block_size}")
    return found


def _batching_options(engine: VllmEngine) -> list[str]:
    batching = engine.batching
    if batching is None:
        return []
    found = []
    if batching.max_num_active_seqs:
        found.append(f"--max-num-active-seqs={batching.max_num_active_seqs}")
    if batching.enable_chunked_prefill is not None:
        found.append(_switch("enable-chunked-prefill", batching.enable_chunked_prefill))
    if batching.long_prefill_token_threshold is not None:
        found.append(f"--long-prefill-token-threshold={batching.long_prefill_token_threshold}")
    if batching.max_num_queued_reqs:
        found.append(f"--max-num-queued-reqs={batching.max_num_queued_reqs}")
    if batching.max_num_queued_tokens:
        found.append(f"--max-num-queued-tokens={batching.max_num_queued_tokens}")
    if batching.scheduling_policy:
        found.append(f"--scheduling-policy={batching.scheduling_policy}")
    if batching.async_scheduling is not None:
        found.append(_switch("async-scheduling", batching.async_scheduling))
    return found


def _parallel_options(engine: VllmEngine) -> list[str]:
    parallel = engine.parallelism
    if parallel is None:
        return []
    found = []
    if parallel.tensor_parallel_size:
        found.append(f"--tensor-parallel-size={parallel.tensor_parallel_size}")
    if parallel.pipeline_parallel_size:
        found.append(f"--pipeline-parallel-size={parallel.pipeline_parallel_size}")
    if parallel.data_parallel_size:
        found.append(f"--data-parallel-size={parallel.data_parallel_size}")
    if parallel.enable_expert_parallel is not None:
        found.append(_switch("enable-expert-parallel", parallel.enable_expert_parallel))
    return found


def _speculative_options(speculative: Speculative | None) -> list[str]:
    if speculative is None:
        return []
    config: dict[str, Any] = {
        "method": speculative.method,
        "num_speculative_tokens": speculative.num_speculative_tokens,
        "prompt_lookup_max": speculative.prompt_lookup_max,
        "prompt_lookup_min": speculative.prompt_lookup_min,
        "draft_tensor_parallel_size": speculative.draft_tensor_parallel_size,
    }
    if speculative.num_speculative_tokens_per_batch_size:
        config["num_speculative_tokens_per_batch_size"] = [
            [row.min_seqs, row.max_seqs, row.num_speculative_tokens]
            for row in speculative.num_speculative_tokens_per_batch_size
        ]
    if speculative.model:
        config["model"] = model_path(speculative.model, mount=DRAFT_WEIGHTS_MOUNT)
        if speculative.model.hugging_face and speculative.model.hugging_face.revision:
            config["revision"] = speculative.model.hugging_face.revision
    said = {key: value for key, value in config.items() if value is not None}
    return [f"--speculative-config={json.dumps(said, sort_keys=True, separators=(',', ':'))}"]


def _switch(name: str, on: bool) -> str:
    return f"--{name}" if on else f"--no-{name}"
