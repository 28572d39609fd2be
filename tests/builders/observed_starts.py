"""Start-ups that somebody logged, as intents of ours: what the memory check says of them beside what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case
from inference_fleet.engine.checks import parallelism
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
# The one card's neighbour: not in any log.
_DEVICE_GIB["RTX 4090 24GB"] = _DEVICE_GIB["RTX 3090 24GB"]
_UNKNOWN_DEVICE_GIB = 31.0
# Until 0.16 profiling took so much more (Qwen3-14B: 5.64 GiB in 0.16, 2.23 in 0.17).
_OLD_PEAK_GIB = 3.4
_OLD_MINORS = range(8, 17)
# Those that our activations and graphs were fitted on: nothing newer was logged with its parts.
_FITTED = ("0.17.0", "0.18.0", "0.19.0")
_USUAL_PERCENT = 90
# V0 profiled a step as long as the longest sequence; beyond this length it cut prompts into chunks of so many tokens.
_V0_LONGEST_STEP_TOKENS = 32_768
_V0_LEAST_TOKENS = 2048
_V0_CHUNK_TOKENS = 512
# What a settings check without a pod can refuse beside memory.
_RULES = (parallelism.attention_heads, parallelism.key_value_heads, parallelism.vocabulary, parallelism.layers)
Outcome = Literal["starts", "does not start"]


@dataclass(frozen=True, kw_only=True)
class ObservedStart:
    """One logged start: the log's numbers and our report on the same settings."""

    log: Mapping[str, Any]
    case: Case
    report: MemoryReport
    refused_by_rule: bool

    @property
    def name(self) -> str:
        return f"{self.log['id']} {self.log['model']}"

    @property
    def happened(self) -> Outcome:
        return "starts" if self.log["outcome"] == "ok" else "does not start"

    @property
    def foretold(self) -> Outcome:
        """From the settings alone, with what is known of the release's profile. `Tight`, which warns, is a start."""
        refused = self.refused_by_rule or self.report.verdict == "Refused"
        return "does not start" if refused or self._old_peak_takes_the_cache() else "starts"

    @property
    def foretold_on_this_device(self) -> Outcome:
        """As vLLM itself decides, if the log says how much of the device was free: not less than the share."""
        free, total = self.log.get("freeMemoryAtStartGib"), self.log.get("gpuTotalMemoryGib")
        held = free is not None and total is not None and free < total * self.log["gpuMemoryUtilization"]
        return "does not start" if held else self.foretold

    @property
    def fitted_release(self) -> bool:
        return self.log.get("vllmVersion") in _FITTED

    @property
    def old_profile(self) -> bool:
        """A release of the V1 engine whose profiling took more than those we estimate for."""
        if self.log.get("engine") == "V0":
            return False
        minor = str(self.log.get("vllmVersion", "")).split(".")[1:2]
        return int(minor[0]) in _OLD_MINORS if minor else str(self.log.get("month", "")).startswith("2025")

    def _old_peak_takes_the_cache(self) -> bool:
        """Those releases took the graphs from outside their share, and more for the profiled step."""
        report = self.report
        if not self.old_profile or report.kv_cache_bytes is None or report.kv_bytes_per_token is None:
            return False
        left = report.kv_cache_bytes + (report.cuda_graph_bytes or 0) - _OLD_PEAK_GIB * GIBIBYTE
        return left < report.kv_bytes_per_token * self.log.get("maxModelLen", 16)


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
        # Without a length in the log: one block.
        "maxModelLen": log.get("maxModelLen", 16),
        "kvCache": {"kvCacheDtype": log.get("kvCacheDtype"), "gpuMemoryUtilizationPercent": min(99, percent)},
        "batching": {
            "maxNumSeqs": log.get("maxNumSeqs"),
            "maxNumBatchedTokens": log.get("maxNumBatchedTokens") or _v0_step_tokens(log),
            # Before 0.26 windows kept one step's tokens, whatever ran ahead.
            "asyncScheduling": False,
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
    by_rule = any(isinstance(finding, Refusal) for rule in _RULES for finding in rule(case))
    return ObservedStart(log=log, case=case, report=memory_report(case), refused_by_rule=by_rule)


def _v0_step_tokens(log: Mapping[str, Any]) -> int | None:
    length = log.get("maxModelLen")
    if log.get("engine") != "V0" or length is None:
        return None
    return _V0_CHUNK_TOKENS if length > _V0_LONGEST_STEP_TOKENS else max(length, _V0_LEAST_TOKENS)


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
