"""What would make a model fit that does not, the cheapest change first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inference_fleet.api.intent import overlay, plain
from inference_fleet.api.refusal import Refusal
from inference_fleet.api.schema_rules import WITHOUT_RULES
from inference_fleet.api.vllm_engine import VllmEngine
from inference_fleet.engine.case import Case, Check
from inference_fleet.engine.checks import cache, parallelism
from inference_fleet.engine.checks.quantization import quantization
from inference_fleet.engine.engine_plan import MemoryReport
from inference_fleet.engine.memory import memory_report, safe_max_model_len

# Shorter sequences than this help nobody.
_SHORTEST_TOKENS = 1024
# From compute capability 8.9 on a device reads fp8 by itself.
_FP8_CAPABILITY = 89
_FULL_SHARE_PERCENT = 92
# What a change must not run into.
_CHECKS: tuple[Check, ...] = (
    quantization,
    cache.cache_type,
    parallelism.devices_of_a_node,
    parallelism.attention_heads,
    parallelism.key_value_heads,
    parallelism.vocabulary,
    parallelism.experts,
)


@dataclass(frozen=True, kw_only=True)
class MemoryFix:
    """A setting and what comes of it."""

    setting: str
    report: MemoryReport


def memory_fixes(case: Case) -> Iterator[MemoryFix]:
    """Changes after which it fits, or at least might: shorter sequences, a smaller cache, weights, more devices."""
    for setting, change in _changes(case):
        laid = overlay(plain(case.engine), change)
        changed = case.with_engine(VllmEngine.model_validate(laid, context=WITHOUT_RULES))
        report = memory_report(changed)
        if report.verdict in ("Fits", "Tight") and not _refused(changed):
            yield MemoryFix(setting=setting, report=report)


def cheapest_fix(case: Case) -> str | None:
    """The first of them, in words; None if nothing that this operator can set helps."""
    fix = next(memory_fixes(case), None)
    return fix.setting if fix else None


def _refused(case: Case) -> bool:
    return any(isinstance(finding, Refusal) for check in _CHECKS for finding in check(case))


def _changes(case: Case) -> Iterator[tuple[str, Mapping[str, object]]]:
    report = memory_report(case)
    longest = safe_max_model_len(case, report)
    if longest < _SHORTEST_TOKENS:
        longest = report.largest_max_model_len or 0
    if longest >= _SHORTEST_TOKENS:
        yield f"maxModelLen {longest}", {"maxModelLen": longest}
    if case.limits.gpu_memory_utilization_percent < _FULL_SHARE_PERCENT:
        share = {"kvCache": {"gpuMemoryUtilizationPercent": _FULL_SHARE_PERCENT}}
        yield f"gpuMemoryUtilizationPercent {_FULL_SHARE_PERCENT}", share
    cache: Mapping[str, object] = {}
    if _reads_fp8(case) and (case.engine.kv_cache is None or case.engine.kv_cache.kv_cache_dtype in (None, "auto")):
        cache = {"kvCache": {"kvCacheDtype": "fp8"}}
        yield "kvCacheDtype fp8", cache
    method = _online_method(case)
    if method is not None:
        weights = {"quantization": {"method": method}}
        yield f"quantization {method}", weights
        if cache:
            yield f"quantization {method} with kvCacheDtype fp8", {**weights, **cache}
    yield from _more_devices(case)


def _more_devices(case: Case) -> Iterator[tuple[str, Mapping[str, object]]]:
    devices, others = case.tensor_parallel_size, case.processes // case.tensor_parallel_size
    heads = (case.facts.num_attention_heads if case.facts else None) or 0
    while (devices := devices * 2) * others <= case.accelerator.devices_per_node:
        if heads % devices == 0:
            yield f"tensorParallelSize {devices}", {"parallelism": {"tensorParallelSize": devices}}


def _reads_fp8(case: Case) -> bool:
    return case.platform == "ROCm" or (case.capability is not None and case.capability >= _FP8_CAPABILITY)


def _online_method(case: Case) -> str | None:
    """Quantization while loading, for a checkpoint that is not quantized yet."""
    method = case.version.quantization.get("fp8_per_tensor")
    if method is None or case.engine.quantization or (case.facts and case.facts.quantization_method):
        return None
    if case.platform in method.unsupported or not _reads_fp8(case):
        return None
    return method.method
