"""Start-ups that somebody logged, as intents of ours: what the memory check says of them beside what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builders.intents import make_accelerator, make_intent
from inference_fleet.engine.case import Case
from inference_fleet.engine.engine_plan import MemoryReport
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.memory import memory_report
from inference_fleet.engine.model_catalogue import find_model
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.versions import EngineVersion, engine_version

GIBIBYTE = 2**30
_FILE = Path(__file__).parent.parent / "data" / "memory-observations.json"
# PyTorch's total where the log does not have it: of other logs, or the size by name less 3 %.
_DEVICE_GIB = {"H100 80GB": 79.18, "A100 80GB": 79.15, "RTX 3090 24GB": 23.58, "L40S 48GB": 44.4, "H20": 94.9}
_UNKNOWN_DEVICE_GIB = 31.0
# Until 0.16 profiling took so much more (Qwen3-14B: 5.64 GiB in 0.16, 2.23 in 0.17).
_OLD_PEAK_GIB = 3.4
_USUAL_PERCENT = 90


@dataclass(frozen=True, kw_only=True)
class ObservedStart:
    """One logged start: the log's numbers and our report on the same settings."""

    log: Mapping[str, Any]
    report: MemoryReport

    @property
    def name(self) -> str:
        return f"{self.log['id']} {self.log['model']}"

    @property
    def old_profile(self) -> bool:
        """A release whose profiling took more than those we estimate for."""
        minor = str(self.log.get("vllmVersion", "")).split(".")[1:2]
        return bool(minor) and int(minor[0]) < 17


@cache
def observed_starts() -> tuple[ObservedStart, ...]:
    return tuple(_start(log) for log in json.loads(_FILE.read_text(encoding="utf-8"))["observations"])


def _start(log: Mapping[str, Any]) -> ObservedStart:
    version = engine_version("0.33.0")
    assert isinstance(version, EngineVersion)
    facts, method = _as_quantized(log)
    percent = round(100 * log.get("gpuMemoryUtilization", _USUAL_PERCENT / 100))
    settings: dict[str, Any] = {
        "version": "0.33.0",
        "dtype": log.get("dtype"),
        "maxModelLen": log.get("maxModelLen", 1),
        "kvCache": {"kvCacheDtype": log.get("kvCacheDtype"), "gpuMemoryUtilizationPercent": min(99, percent)},
        "batching": {
            "maxNumSeqs": log.get("maxNumSeqs"),
            "maxNumBatchedTokens": log.get("maxNumBatchedTokens"),
        },
        "parallelism": {
            "tensorParallelSize": log["tensorParallelSize"],
            "pipelineParallelSize": log.get("pipelineParallelSize"),
        },
    }
    if method is not None:
        settings["quantization"] = {"method": method}
    device = log.get("gpuTotalMemoryGib") or _DEVICE_GIB.get(log.get("gpu", ""), _UNKNOWN_DEVICE_GIB)
    accelerator = make_accelerator(deviceMemory=f"{int(device * 1024)}Mi")
    intent = make_intent(engine={"vllm": settings})
    case = Case(
        intent=intent,
        version=version,
        accelerator=accelerator,
        accelerator_name="observed",
        limits=effective_limits(intent.engine, version=version, accelerator=accelerator, shape=facts),
        facts=facts,
        shape_source="catalogue",
    )
    return ObservedStart(log=log, report=memory_report(case))


def _as_quantized(log: Mapping[str, Any]) -> tuple[ModelFacts, str | None]:
    """The facts of the checkpoint that was run: a quantized one may have been logged under its base."""
    facts = find_model(log["model"])
    assert facts is not None, log["model"]
    method = log.get("quantization")
    if method is None or facts.quantization_method is not None:
        return facts, None
    if method == "fp8":
        return facts, "fp8_per_tensor"
    wide = method in ("compressed-tensors", "int8")
    update = {
        "quantization_method": method,
        "quantization_bits": 8 if wide else 4,
        "quantization_group_size": None if wide else 16 if method == "modelopt" else 128,
        "weights_bytes": None,
    }
    return facts.model_copy(update=update), None
