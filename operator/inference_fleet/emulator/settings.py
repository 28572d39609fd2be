"""From a parsed vLLM command line and the switches to what the emulated engine is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.emulator.scheduler import SchedulerLimits, SchedulingPolicy, Speculation
from inference_fleet.emulator.switches import Switches
from inference_fleet.emulator.telemetry import PageShape
from inference_fleet.engine.step_time import StepTimeModel

# vLLM's own defaults where neither a large GPU nor the CPU raises them (engine/arg_utils.py, 0.33).
_DEFAULT_MAX_NUM_SEQS = 256
_DEFAULT_MAX_NUM_BATCHED_TOKENS = 2048
_DEFAULT_BLOCK_SIZE = 16
_DEFAULT_PORT = 8000
# Where neither the command line nor a config.json says how long the model is.
_DEFAULT_MODEL_LENGTH = 8192
# An 8B Llama in bfloat16 (131,072 bytes a token) with 30 GiB left for its cache.
_BYTES_PER_CACHED_TOKEN = 131_072
_DEFAULT_KV_CACHE_TOKENS = 30 * 2**30 // _BYTES_PER_CACHED_TOKEN
# An 8B Llama on one L40S: 22.6 ms a step and 0.18 ms a sequence (published WVA profile); the prefill coefficient is
# that of the same model on one A100 (48 us a token, public simulator inference-sim).
DEFAULT_STEP_TIME = StepTimeModel(
    base_seconds=0.0226, per_prefill_token_seconds=0.000048, per_decoding_sequence_seconds=0.00018
)


@dataclass(frozen=True, slots=True)
class StartFailure:
    """Why the engine cannot start, in the lines vLLM would print last."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Everything an emulated engine needs to know about itself."""

    version: str
    model: str
    served_model_names: tuple[str, ...]
    host: str
    port: int
    api_keys: tuple[str, ...]
    max_model_len: int
    limits: SchedulerLimits
    step_time: StepTimeModel
    shutdown_timeout_seconds: float
    tracks_server_load: bool
    page: PageShape


def engine_settings(
    options: Mapping[str, object], *, version: str, switches: Switches
) -> EngineSettings | StartFailure:
    """The settings that follow from `options`: vLLM's option names (`max_num_seqs`) and the values given for them.

    Fails as vLLM fails after parsing: a folder without a model, a batch smaller than its sequences, a model longer than
    its cache.
    """
    if switches.out_of_memory:
        return StartFailure(
            (
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB.",
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            )
        )
    model = _text(options, "model_tag") or _text(options, "model") or "emulated-model"
    if model.startswith("/") and not (Path(model) / "config.json").is_file():
        return _no_model_there(model)
    max_num_seqs = _number(options, "max_num_seqs", _DEFAULT_MAX_NUM_SEQS)
    block_size = _number(options, "block_size", _DEFAULT_BLOCK_SIZE)
    kv_cache_tokens = _kv_cache_tokens(options, switches, block_size=block_size)
    length = _model_length(options, model, kv_cache_tokens=kv_cache_tokens)
    if isinstance(length, StartFailure):
        return length
    chunked = options.get("enable_chunked_prefill") is not False
    batched = _batched_tokens(options, max_num_seqs=max_num_seqs, length=length, chunked=chunked)
    if isinstance(batched, StartFailure):
        return batched
    speculation = _speculation(options, switches)
    names = options.get("served_model_name")
    served = tuple(str(name) for name in names) if isinstance(names, list | tuple) and names else (model,)
    num_blocks = kv_cache_tokens // block_size
    return EngineSettings(
        version=version,
        model=model,
        served_model_names=served,
        host=_text(options, "host") or "0.0.0.0",  # noqa: S104 - an engine in a pod listens on the pod's address
        port=_number(options, "port", _DEFAULT_PORT),
        api_keys=_texts(options, "api_key"),
        max_model_len=length,
        limits=SchedulerLimits(
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=batched,
            num_blocks=num_blocks,
            block_size=block_size,
            enable_chunked_prefill=chunked,
            policy=SchedulingPolicy(_text(options, "scheduling_policy") or "fcfs"),
            max_num_queued_reqs=_optional_number(options, "max_num_queued_reqs"),
            max_num_queued_tokens=_optional_number(options, "max_num_queued_tokens"),
            long_prefill_token_threshold=_number(options, "long_prefill_token_threshold", 0),
            speculation=speculation,
        ),
        step_time=_step_time(switches),
        shutdown_timeout_seconds=float(_number(options, "shutdown_timeout", 0)),
        tracks_server_load=options.get("enable_server_load_tracking") is True,
        page=PageShape(
            minor=version.rpartition(".")[0],
            model_name=served[0],
            max_model_len=length,
            cache_config=_cache_config(
                options, version=version, block_size=block_size, num_blocks=num_blocks, max_model_len=length
            ),
            num_speculative_tokens=speculation.num_tokens if speculation else 0,
            max_loras=_number(options, "max_loras", 1) if options.get("enable_lora") is True else None,
        ),
    )


def _no_model_there(folder: str) -> StartFailure:
    """A path of this machine; the hub's names and addresses of object storage are taken on trust."""
    if not Path(folder).is_dir():
        return StartFailure(
            (
                "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
                f"'namespace/repo_name': '{folder}'. Use `repo_type` argument if needed.",
            )
        )
    return StartFailure(
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            f"  Value error, Invalid repository ID or local directory specified: '{folder}'.",
        )
    )


def _batched_tokens(
    options: Mapping[str, object], *, max_num_seqs: int, length: int, chunked: bool
) -> int | StartFailure:
    """Tokens of one step. length: of the longest sequence, whose prompt must fit into one step if it is not chunked."""
    usual = max(_DEFAULT_MAX_NUM_BATCHED_TOKENS, max_num_seqs, 0 if chunked else length)
    batched = _number(options, "max_num_batched_tokens", usual)
    if batched < max_num_seqs:
        return StartFailure(
            (f"ValueError: max_num_batched_tokens ({batched}) must be at least max_num_seqs ({max_num_seqs}).",)
        )
    if not chunked and batched < length:
        return StartFailure(
            (
                f"ValueError: max_num_batched_tokens ({batched}) is smaller than max_model_len ({length}) "
                "and chunked prefill is off.",
            )
        )
    return batched


def _step_time(switches: Switches) -> StepTimeModel:
    def chosen(value: float | None, default: float) -> float:
        return default if value is None else value

    return StepTimeModel(
        base_seconds=chosen(switches.step_base_seconds, DEFAULT_STEP_TIME.base_seconds),
        per_prefill_token_seconds=chosen(
            switches.step_per_prefill_token_seconds, DEFAULT_STEP_TIME.per_prefill_token_seconds
        ),
        per_decoding_sequence_seconds=chosen(
            switches.step_per_decoding_sequence_seconds, DEFAULT_STEP_TIME.per_decoding_sequence_seconds
        ),
    )


def _kv_cache_tokens(options: Mapping[str, object], switches: Switches, *, block_size: int) -> int:
    if switches.kv_cache_tokens is not None:
        return max(block_size, switches.kv_cache_tokens // block_size * block_size)
    blocks = _optional_number(options, "num_gpu_blocks_override")
    if blocks is not None:
        return blocks * block_size
    cache_bytes = _optional_number(options, "kv_cache_memory_bytes")
    if cache_bytes is not None:
        return max(1, cache_bytes // _BYTES_PER_CACHED_TOKEN // block_size) * block_size
    return _DEFAULT_KV_CACHE_TOKENS // block_size * block_size


def _model_length(options: Mapping[str, object], model: str, *, kv_cache_tokens: int) -> int | StartFailure:
    asked = options.get("max_model_len")
    fitted = asked in ("auto", "-1", -1)
    length = _config_length(model) if asked is None or fitted else int(str(asked))
    if length <= kv_cache_tokens:
        return length
    if fitted:
        return kv_cache_tokens
    needed, available = (tokens * _BYTES_PER_CACHED_TOKEN / 2**30 for tokens in (length, kv_cache_tokens))
    return StartFailure(
        (
            f"ValueError: To serve at least one request with the model's max seq len ({length}), ({needed:.2f} GiB KV "
            f"cache is needed, which is larger than the available KV cache memory ({available:.2f} GiB). Based on the "
            f"available memory, the estimated maximum model length is {kv_cache_tokens}.",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
        )
    )


def _config_length(model: str) -> int:
    """`max_position_embeddings` of a checkpoint on disk, else the built-in length."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        return _DEFAULT_MODEL_LENGTH


def _speculation(options: Mapping[str, object], switches: Switches) -> Speculation | None:
    config = options.get("speculative_config")
    if isinstance(config, str):
        config = json.loads(config)
    drafts = config.get("num_speculative_tokens") if isinstance(config, Mapping) else options.get("spec_tokens")
    if drafts is None:
        return None
    return Speculation(num_tokens=int(str(drafts)), acceptance_rate=switches.acceptance_rate)


def _cache_config(
    options: Mapping[str, object], *, version: str, block_size: int, num_blocks: int, max_model_len: int
) -> dict[str, str]:
    """Labels of vllm:cache_config_info, all that vLLM has; the ones without a meaning here say None."""
    kv_cache_dtype = _text(options, "kv_cache_dtype") or "auto"
    tokens = num_blocks * block_size
    known: dict[str, object] = {
        "block_size": block_size,
        "cache_dtype": kv_cache_dtype,
        "effective_attention_block_size": block_size,
        "enable_prefix_caching": options.get("enable_prefix_caching") is not False,
        "gpu_memory_utilization": options.get("gpu_memory_utilization") or 0.92,
        "kv_cache_max_concurrency": tokens / max_model_len,
        "kv_cache_memory_bytes": options.get("kv_cache_memory_bytes"),
        "kv_cache_size_tokens": tokens,
        "num_gpu_blocks": num_blocks,
        "num_gpu_blocks_override": options.get("num_gpu_blocks_override"),
        "user_specified_block_size": options.get("block_size") is not None,
    }
    labels = {name: str(known.get(name, constant)) for name, constant in _CACHE_CONFIG_LABELS.items()}
    return labels if version.startswith("0.32.") else labels | {"simple_cpu_offload_num_blocks": "None"}


# The labels of vLLM 0.32/0.33 (recorded pages), with what they say on a plain dense model.
_CACHE_CONFIG_LABELS: dict[str, str] = {
    "_block_size_resolved": "True",
    "block_size": "",
    "cache_dtype": "",
    "cache_hit_alignment_tokens": "None",
    "effective_attention_block_size": "",
    "enable_mamba_shared_prefix_checkpoint": "False",
    "enable_prefix_caching": "",
    "gpu_memory_utilization": "",
    "hash_block_size": "None",
    "is_attention_free": "False",
    "kv_cache_dtype_skip_layers": "[]",
    "kv_cache_layout": "None",
    "kv_cache_max_concurrency": "",
    "kv_cache_memory_bytes": "",
    "kv_cache_size_tokens": "",
    "kv_offloading_backend": "native",
    "kv_offloading_size": "None",
    "kv_sharing_fast_prefill": "False",
    "mamba_block_size": "None",
    "mamba_cache_dtype": "auto",
    "mamba_cache_mode": "none",
    "mamba_page_size_padded": "None",
    "mamba_ssm_cache_dtype": "float32",
    "num_cpu_blocks": "None",
    "num_gpu_blocks": "",
    "num_gpu_blocks_override": "None",
    "prefix_cache_retention_interval": "0",
    "prefix_caching_hash_algo": "sha256",
    "prefix_match_unit": "None",
    "replayssm_buffer_len": "16",
    "skip_page_size_padded": "None",
    "sliding_window": "None",
    "swa_bounded_replay": "True",
    "use_kda_recoverssm": "False",
    "use_replayssm": "False",
    "user_specified_block_size": "False",
}


def _text(options: Mapping[str, object], name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)


def _texts(options: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = options.get(name)
    if value is None:
        return ()
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else (str(value),)


def _optional_number(options: Mapping[str, object], name: str) -> int | None:
    value = options.get(name)
    return None if value is None else int(str(value))


def _number(options: Mapping[str, object], name: str, default: int) -> int:
    value = _optional_number(options, name)
    return default if value is None else value
