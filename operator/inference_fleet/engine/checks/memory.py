"""Device memory: what certainly does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.memory import memory_report

_GIBIBYTE = 2**30


def weights_fit(case: Case) -> Iterator[Finding]:
    """The weights alone must be smaller than the share of the device that the engine may use."""
    report = memory_report(case)
    if report.verdict != "Refused" or report.weights_bytes is None or report.budget_bytes is None:
        return
    weights, budget = report.weights_bytes / _GIBIBYTE, report.budget_bytes / _GIBIBYTE
    percent = case.limits.gpu_memory_utilization_percent
    message = (
        f"the weights take at least {weights:.1f} GiB on each of {case.model_parallel_size} devices; the engine may use"
        f" {budget:.1f} GiB of one of AcceleratorClass {case.accelerator_name} ({percent} %)."
    )
    way_out = "Spread them over more devices (tensorParallelSize), quantize them, or use a class with more memory."
    yield Refusal("engine.vllm.parallelism.tensorParallelSize", Reason.DOES_NOT_FIT, message, way_out)
