"""Device memory: what does not fit, and what nobody can say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.engine_plan import MemoryReport
from inference_fleet.engine.memory import draft_bytes, memory_report, weights_bytes
from inference_fleet.engine.memory_fixes import MemoryFix, memory_fixes

_GIBIBYTE = 2**30
# Ways out that a message names; more than that nobody reads.
_MOST_FIXES = 3
_LENGTH_PATH = "engine.vllm.maxModelLen"
_DEVICES_PATH = "engine.vllm.parallelism.tensorParallelSize"


def fits(case: Case) -> Iterator[Finding]:
    """Weights, overhead and one sequence of the longest length must fit into the engine's share of a device."""
    report = memory_report(case)
    if report.verdict == "Refused":
        yield _refusal(case, report)
    elif report.verdict == "Tight":
        length = case.limits.max_model_len or report.largest_max_model_len
        message = (
            f"{length} tokens may not fit: by estimate {_size(report.kv_cache_bytes)} of AcceleratorClass"
            f" {case.accelerator_name} are left for the KV cache, give or take 1 GiB."
        )
        yield Advice(_LENGTH_PATH, Reason.TIGHT_MEMORY, message, _way_out(case))


def shape_known(case: Case) -> Iterator[Finding]:
    """Without the model's shape nothing is refused, and nothing is promised."""
    if case.platform == "CPU" or memory_report(case).verdict != "Unknown":
        return
    cache = case.engine.kv_cache
    if cache is not None and cache.kv_cache_dtype not in (None, *case.version.kv_cache_types):
        # Nobody knows the size of a type that does not exist; that it does not is said elsewhere.
        return
    if case.facts is not None and weights_bytes(case) is not None and draft_bytes(case) is None:
        message = "the draft's size is not known: whether it all fits the device's memory is not checked."
        yield Advice("engine.vllm.speculative.model", Reason.SHAPE_UNKNOWN, message, "Set its shape.")
        return
    known = "is not in the built-in catalogue" if case.facts is None else "is not known well enough"
    message = f"the model's shape {known}: whether it fits the device's memory is not checked."
    way_out = "Set model.shape from its config.json, with parameters or weightsBytes."
    yield Advice("model", Reason.SHAPE_UNKNOWN, message, way_out)


def _refusal(case: Case, report: MemoryReport) -> Refusal:
    devices = case.model_parallel_size
    each = f"each of {devices} devices" if devices > 1 else "a device"
    share = f"{_size(report.budget_bytes)} of AcceleratorClass {case.accelerator_name}"
    percent = case.limits.gpu_memory_utilization_percent
    needed = report.weights_bytes or 0
    overhead = sum(
        part or 0
        for part in (report.activation_bytes, report.cuda_graph_bytes, report.runtime_bytes, report.draft_model_bytes)
    )
    length = case.limits.max_model_len
    if length is not None and report.kv_cache_bytes and report.kv_bytes_per_token:
        message = (
            f"{length} tokens need {_size(length * report.kv_bytes_per_token)} of KV cache for one sequence;"
            f" {_size(report.kv_cache_bytes)} are left on {each} of AcceleratorClass {case.accelerator_name} after"
            f" weights ({_size(needed)}) and overhead (about {_size(overhead)})."
        )
        return Refusal(_LENGTH_PATH, Reason.DOES_NOT_FIT, message, _way_out(case))
    beside = f" and the engine itself about {_size(overhead)}" if overhead else ""
    message = (
        f"the weights take {_size(needed)} on {each}{beside}; the engine may use {share} ({percent} %),"
        " which leaves no room for the KV cache."
    )
    return Refusal(_DEVICES_PATH, Reason.DOES_NOT_FIT, message, _way_out(case))


def _way_out(case: Case) -> str:
    fixes = list(islice(memory_fixes(case), _MOST_FIXES))
    if not fixes:
        return "Use a class with more memory or more devices in a node, or a smaller or quantized model."
    return f"What would fit: {'; '.join(_words(case, fix) for fix in fixes)}."


def _words(case: Case, fix: MemoryFix) -> str:
    longest = fix.report.largest_max_model_len
    if case.limits.max_model_len is None and longest:
        return f"{fix.setting} (sequences up to {longest} tokens)"
    return f"{fix.setting} (tight)" if fix.report.verdict == "Tight" else fix.setting


def _size(count: int | None) -> str:
    return f"{(count or 0) / _GIBIBYTE:.1f} GiB"
