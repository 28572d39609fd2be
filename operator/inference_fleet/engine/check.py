"""Right or refused: a variant's intent against its vLLM version and its accelerator, before a pod exists.

A new check is a function of a `Case` in `checks/` and its name in `_CHECKS`.
"""

from __future__ import annotations

from dataclasses import replace

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.arguments import engine_arguments, engine_environment
from inference_fleet.engine.case import Case, Check
from inference_fleet.engine.checks import batching, cache, drafts, memory, model, parallelism, performance, speculation
from inference_fleet.engine.checks.extra_arguments import extra_arguments
from inference_fleet.engine.checks.faults import faults
from inference_fleet.engine.checks.quantization import quantization
from inference_fleet.engine.engine_plan import EnginePlan, EngineResult, MemoryReport, ShapeSource
from inference_fleet.engine.estimate import estimate
from inference_fleet.engine.failure_log import failure_logging
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.memory import memory_report
from inference_fleet.engine.memory_fixes import cheapest_fix
from inference_fleet.engine.model_catalogue import catalogued
from inference_fleet.engine.model_facts import ModelFacts, with_shape
from inference_fleet.engine.step_prior import step_time_prior
from inference_fleet.engine.versions import engine_version

# In the order in which people should read the findings.
_CHECKS: tuple[Check, ...] = (
    model.release,
    faults,
    model.image,
    model.source,
    model.remote_code,
    model.dtype,
    model.length,
    quantization,
    cache.cache_type,
    batching.tokens_per_step,
    batching.bounds,
    batching.scheduling_policy,
    speculation.method,
    drafts.draft,
    drafts.draft_architecture,
    speculation.depth,
    drafts.draft_vocabulary,
    drafts.draft_devices,
    speculation.depth_by_batch_size,
    speculation.async_scheduling,
    parallelism.devices_of_a_node,
    parallelism.attention_heads,
    parallelism.key_value_heads,
    parallelism.vocabulary,
    parallelism.layers,
    parallelism.experts,
    memory.fits,
    memory.shape_known,
    performance.weight_only,
    performance.speculation_at_full_batch,
    extra_arguments,
)


def check_variant(
    intent: VariantIntent,
    accelerator: AcceleratorClassSpec,
    *,
    accelerator_name: str,
    shape: ModelFacts | None = None,
) -> EngineResult:
    """What this variant comes to. Paths are relative to the merged intent: `engine.vllm.maxModelLen`.

    shape: facts of the model from its config.json. The intent's own win; the built-in catalogue comes last.
    """
    version = engine_version(intent.engine.version)
    if isinstance(version, Refusal):
        return EngineResult(refusals=(version,), warnings=(), plan=None)
    facts = with_shape(shape or catalogued(intent.model), intent.model.shape)
    case = Case(
        intent=intent,
        version=version,
        accelerator=accelerator,
        accelerator_name=accelerator_name,
        limits=effective_limits(intent.engine, version=version, accelerator=accelerator, shape=facts),
        facts=facts,
        shape_source=_shape_source(intent, shape=shape, facts=facts),
    )
    case = _with_fitting_length(case)
    findings = [finding for check in _CHECKS for finding in check(case)]
    refusals = tuple(finding for finding in findings if isinstance(finding, Refusal))
    warnings = tuple(finding for finding in findings if isinstance(finding, Advice))
    if not refusals:
        return EngineResult(refusals=(), warnings=warnings, plan=_plan(case))
    too_large = any(refusal.reason == Reason.DOES_NOT_FIT for refusal in refusals)
    return EngineResult(
        refusals=refusals,
        warnings=warnings,
        plan=None,
        memory=_with_fix(case, memory_report(case)) if too_large else None,
    )


def _with_fitting_length(case: Case) -> Case:
    """Where the user names no length and the model's own may not fit, the engine takes what does (`auto`)."""
    if case.engine.max_model_len is not None or memory_report(case).verdict not in ("Refused", "Tight"):
        return case
    return replace(case, limits=replace(case.limits, max_model_len=None))


def _shape_source(intent: VariantIntent, *, shape: ModelFacts | None, facts: ModelFacts | None) -> ShapeSource:
    if intent.model.shape is not None:
        return "spec"
    if shape is not None:
        return "config"
    return "catalogue" if facts is not None else "unknown"


def _with_fix(case: Case, report: MemoryReport) -> MemoryReport:
    return replace(report, cheapest_fix=cheapest_fix(case)) if report.verdict in ("Refused", "Tight") else report


def _plan(case: Case) -> EnginePlan:
    image = case.engine.image or case.version.image(case.platform)
    assert image is not None, "a missing image is refused before"
    report = _with_fix(case, memory_report(case))
    arguments = engine_arguments(case.intent, limits=case.limits)
    return EnginePlan(
        version=case.version.version,
        image=image,
        # The image's own entry point is `vllm serve`.
        command=(),
        args=arguments,
        env=engine_environment(case.intent),
        devices_per_replica=case.devices,
        effective=case.limits,
        shape_source=case.shape_source,
        memory=report,
        step_time=step_time_prior(case),
        kv_cache_tokens=report.kv_cache_tokens,
        estimate=estimate(case, report),
        logging=failure_logging(arguments),
    )
