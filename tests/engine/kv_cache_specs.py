"""Run by the engine environment's Python: what vLLM itself would keep of one sequence, for one config.json and another.

Reads lines of JSON {"config", "max_model_len", "max_num_batched_tokens", "asynchronous", "cache_type",
"available_memory"}; writes for each {"refusal" of so much memory, "sequence_bytes", "layers": [[kind, bytes per token
of one layer, layers]]} or {"error"}. Models are built in full, on torch's meta device: shapes without numbers, so that
a hundred billion parameters take a second. What a CPU build would choose otherwise than a GPU is set to the GPU's:
blocks of 16 tokens, and the layout of its caches.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

BLOCK_TOKENS = 16


def main() -> None:
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Each architecture would be looked at in a process of its own: 15 s where a second is enough.
    registry = importlib.import_module("vllm.model_executor.models.registry")
    registry._run_in_subprocess = lambda function: function()
    # A processor with these instructions would keep states in float32, whatever a GPU keeps them in.
    importlib.import_module("torch").cpu._is_avx512_bf16_supported = lambda: False
    with tempfile.TemporaryDirectory() as folder:
        for number, line in enumerate(sys.stdin):
            try:
                found = answer(json.loads(line), folder=Path(folder) / str(number))
            except Exception as error:  # the test says which model cannot be built, and why
                found = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(found) + "\n")
            answers.flush()


def answer(asked: dict[str, Any], *, folder: Path) -> dict[str, Any]:
    settings = configured(asked, folder=folder)
    # A CPU never prepares a step ahead.
    settings.scheduler_config.async_scheduling = asked["asynchronous"]
    specs = cache_specs(settings)
    utils = importlib.import_module("vllm.v1.core.kv_cache_utils")
    settings.cache_config.kv_cache_layout = "LBNHC"
    groups = utils.get_kv_cache_groups(settings, dict(specs))
    layers = Counter((type(spec).__name__, spec.page_size_bytes // spec.block_size) for spec in specs.values())
    answer = (
        {"refusal": refusal(settings, specs, available=asked["available_memory"])} if asked["available_memory"] else {}
    )
    return {
        **answer,
        "sequence_bytes": utils._max_memory_usage_bytes_from_groups(settings, groups),
        "layers": [[kind, size, count] for (kind, size), count in sorted(layers.items())],
    }


def refusal(settings: Any, specs: dict[str, Any], *, available: int) -> str | None:
    """vLLM's words where so much memory is not enough for one sequence."""
    check = importlib.import_module("vllm.v1.core.kv_cache_utils").check_enough_kv_cache_memory
    try:
        check(settings, specs, available)
    except ValueError as error:
        return str(error)
    return None


def configured(asked: dict[str, Any], *, folder: Path) -> Any:
    arguments = importlib.import_module("vllm.engine.arg_utils").EngineArgs
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(asked["config"]), encoding="utf-8")
    return arguments(
        model=str(folder),
        skip_tokenizer_init=True,
        load_format="dummy",
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=asked["max_model_len"],
        max_num_batched_tokens=asked["max_num_batched_tokens"],
        kv_cache_dtype=asked["cache_type"],
    ).create_engine_config()


def cache_specs(settings: Any) -> dict[str, Any]:
    """Of every layer of the model."""
    torch = importlib.import_module("torch")
    set_current = importlib.import_module("vllm.config").set_current_vllm_config
    loader = importlib.import_module("vllm.model_executor.model_loader.utils")
    default_type = importlib.import_module("vllm.utils.torch_utils").set_default_torch_dtype
    with set_current(settings):
        one_process(torch)
    settings.cache_config.block_size = BLOCK_TOKENS
    with default_type(torch.bfloat16), torch.device("meta"):
        loader.initialize_model(settings)
    specs_of = importlib.import_module("vllm.v1.worker.gpu.attn_utils").get_kv_cache_spec
    if settings.model_config.is_hybrid:
        align(settings)
        return dict(specs_of(settings))
    # A CPU's kernels want blocks of at least 32 tokens.
    return {name: replace(spec, block_size=BLOCK_TOKENS) for name, spec in specs_of(settings).items()}


def one_process(torch: Any) -> None:
    """Groups of one; those of experts exist only while a model with experts is configured, hence again each time."""
    state = importlib.import_module("vllm.distributed.parallel_state")
    if not torch.distributed.is_initialized():
        folder = tempfile.mkdtemp()
        state.init_distributed_environment(1, 0, f"file://{folder}/rendezvous", 0, "gloo")
    state.destroy_model_parallel()
    state.initialize_model_parallel(1, 1)


def align(settings: Any) -> None:
    """Blocks as large as a state, as on a GPU whose kernels take any multiple of 16 tokens."""
    multiple = importlib.import_module("vllm.v1.attention.backend").MultipleOf(BLOCK_TOKENS)
    platform = type(importlib.import_module("vllm.platforms").current_platform)
    own = platform._find_non_ssm_backends(settings)[0]
    sizes = staticmethod(lambda: [multiple])
    backend = type("Backend", (own,), {"get_supported_kernel_block_sizes": sizes})
    asked = classmethod(lambda _cls, _settings: [backend])
    type("Gpu", (platform,), {"_find_non_ssm_backends": asked})._align_hybrid_block_size(settings, backend)


if __name__ == "__main__":
    main()
