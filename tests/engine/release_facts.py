"""Run by the engine environment's Python: what an installed vLLM says of itself beyond its command line, as JSON."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any, get_args
from unittest import mock

GIBIBYTE = 2**30
# Around each step of the defaults by device memory: (GiB, compute capability, name).
DEVICES = (
    (180, (10, 0), "NVIDIA B200"),
    (160, (10, 0), "at the step"),
    (159, (9, 0), "below it"),
    (70, (9, 0), "at the step"),
    (69, (9, 0), "below it"),
    (80, (8, 0), "NVIDIA A100-SXM4-80GB"),
    (119, (12, 1), "NVIDIA GB10"),
    (1, (7, 5), "small"),
)


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    report = {
        "batchDefaults": [list(batch_defaults(*device)) for device in DEVICES],
        "batchDefaultsCPU": [list(batch_defaults_of_a_cpu(processes)) for processes in (1, 2)],
        "quantization": quantization(),
        "platforms": {name: supported(name) for name in ("rocm", "xpu")},
        "speculative": speculative(),
        "kvCacheTypes": kv_cache_types(),
        "eplb": bounds("vllm.config.parallel", "EPLBConfig"),
        "compilationModes": [mode.value for mode in importlib.import_module("vllm.config").CompilationMode],
    }
    answers.write(json.dumps(report) + "\n")


def batch_defaults(gibibytes: int, capability: tuple[int, int], name: str) -> tuple[int, int]:
    arguments = importlib.import_module("vllm.engine.arg_utils")
    platform = mock.Mock()
    platform.get_device_total_memory.return_value = gibibytes * GIBIBYTE
    platform.get_device_name.return_value = name
    platform.is_device_capability.side_effect = lambda wanted: wanted == capability
    platform.is_tpu.return_value = platform.is_cpu.return_value = False
    with mock.patch.object(arguments, "current_platform", platform):
        return of_a_server(arguments.EngineArgs.get_batch_defaults(1))


def batch_defaults_of_a_cpu(processes: int) -> tuple[int, int]:
    return of_a_server(importlib.import_module("vllm.engine.arg_utils").EngineArgs.get_batch_defaults(processes))


def of_a_server(defaults: Any) -> tuple[int, int]:
    server = importlib.import_module("vllm.usage.usage_lib").UsageContext.OPENAI_API_SERVER
    tokens, sequences = defaults
    return tokens[server], sequences[server]


def quantization() -> dict[str, Any]:
    module = importlib.import_module("vllm.model_executor.layers.quantization")
    online = importlib.import_module("vllm.model_executor.layers.quantization.online.base").OnlineQuantizationConfig
    found = {}
    for name in module.QUANTIZATION_METHODS:
        method = module.get_quantization_config(name)
        found[name] = {
            "minimumCapability": method.get_min_capability(),
            "activationTypes": types(method),
            "deprecated": name in module.DEPRECATED_QUANTIZATION_METHODS,
        }
    return {"methods": found, "onlineActivationTypes": types(online)}


def types(method: Any) -> list[str]:
    try:
        found = method.get_supported_act_dtypes()
    except TypeError:
        # Most are class methods; the others do not look at themselves.
        found = method.get_supported_act_dtypes(method)
    return sorted(str(each).removeprefix("torch.") for each in found)


def supported(platform: str) -> list[str]:
    """The list in the platform's source: importing it needs its devices."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "platforms" / f"{platform}.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "supported_quantization":
            assert node.value is not None
            found: list[str] = ast.literal_eval(node.value)
            return found
    raise SystemExit(f"platforms/{platform}.py lists no quantization methods")


def speculative() -> dict[str, Any]:
    module = importlib.import_module("vllm.config.speculative")
    registry = importlib.import_module("vllm.model_executor.models.registry")
    return {
        "methods": sorted(flat(module.SpeculativeMethod)),
        "keys": sorted(module.SpeculativeConfig.__pydantic_fields__),
        "architectures": sorted(registry._SPECULATIVE_DECODING_MODELS),
        "furtherLayers": further_layers(module),
    }


class Checkpoint:
    """As much of a config.json as tells whether a model has layers that predict further tokens."""

    def __init__(self, model_type: str, architecture: str) -> None:
        self.model_type = model_type
        self.architectures = [architecture]
        self.num_nextn_predict_layers = self.mtp_num_hidden_layers = self.hc_count = 1
        self.layer_types: list[str] = []
        self.mtp_config = {"num_nextn_predict_layers": 1}

    @property
    def text_config(self) -> Checkpoint:
        return self

    def get_text_config(self) -> Checkpoint:
        return self

    def update(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def further_layers(module: Any) -> dict[str, bool]:
    """Of every class of a language model that transformers knows: whether this vLLM finds such layers in it."""
    names = importlib.import_module("transformers.models.auto.modeling_auto").MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    kinds = flat(module.MTPModelTypes)
    found: dict[str, bool] = {}
    for model_type, classes in names.items():
        for architecture in (classes,) if isinstance(classes, str) else classes:
            changed = module.SpeculativeConfig.hf_config_override(Checkpoint(model_type, architecture))
            found[architecture] = found.get(architecture, False) or changed.model_type in kinds
    return found


def flat(literal: Any) -> set[str]:
    found: set[str] = set()
    for each in get_args(literal):
        found |= {each} if isinstance(each, str) else flat(each)
    return found


def kv_cache_types() -> list[str]:
    module = importlib.import_module("vllm.config.cache")
    return sorted(flat(module.CacheDType))


def bounds(module: str, name: str) -> dict[str, dict[str, float]]:
    fields = getattr(importlib.import_module(module), name).__pydantic_fields__
    return {
        field: {key: getattr(each, key) for each in about.metadata for key in ("ge", "gt") if hasattr(each, key)}
        for field, about in fields.items()
    }


if __name__ == "__main__":
    main()
