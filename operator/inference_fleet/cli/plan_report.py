"""`inference-fleet/plan/v1`: the verdict on specs as a JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.objective import Objective
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.cli.manifest_check import manifest_faults, with_faults
from inference_fleet.cli.plan_alternatives import Alternative, alternatives
from inference_fleet.engine.engine_plan import ESTIMATE_PROMPT_TOKENS, EnginePlan, Estimate, MemoryReport
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.planning.acceptance import Acceptance, VariantAcceptance, accept
from inference_fleet.planning.snapshot import Snapshot

SCHEMA_VERSION = "inference-fleet/plan/v1"
DEFAULT_NAMESPACE = "default"
_UNLIMITED = 1_000_000
# What a default image runs before its arguments.
ENTRY_POINT = ("vllm", "serve")

Document = Mapping[str, Any]


def plan_report(
    deployments: Sequence[Document],
    *,
    accelerator_classes: Mapping[str, Document],
    config: ModelFacts | None = None,
) -> dict[str, Any]:
    """The report on all deployments. Which namespaces a class is open to is not judged: labels are the cluster's.

    config: of their common model, from its config.json.
    """
    open_to_all = {name: _without_selector(each) for name, each in accelerator_classes.items()}
    results = [_result(deployment, open_to_all, config) for deployment in deployments]
    return {"schemaVersion": SCHEMA_VERSION, "results": results}


def _without_selector(accelerator_class: Document) -> Document:
    spec = accelerator_class.get("spec")
    if not isinstance(spec, Mapping):
        return accelerator_class
    return {**accelerator_class, "spec": {key: value for key, value in spec.items() if key != "namespaceSelector"}}


def _result(deployment: Document, classes: Mapping[str, Document], config: ModelFacts | None) -> dict[str, Any]:
    metadata = deployment.get("metadata")
    name = str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""
    namespace = str(metadata.get("namespace") or DEFAULT_NAMESPACE) if isinstance(metadata, Mapping) else ""
    spec = deployment.get("spec")
    if not name or not isinstance(spec, Mapping):
        path = "spec" if name else "metadata.name"
        verdict = Acceptance(spec=None, refusals=(Refusal(path, Reason.INVALID_SPEC, "is missing."),))
    else:
        verdict = accept(spec, Snapshot(deployment=deployment, accelerator_classes=classes), config=config)
    faults = manifest_faults(deployment, accelerator_classes=classes)
    return {
        "namespace": namespace,
        "name": name,
        "accepted": verdict.accepted and not faults,
        "refusals": [_remark(refusal) for refusal in with_faults(faults, verdict.all_refusals)],
        "warnings": [_remark(advice) for advice in verdict.all_warnings],
        "variants": [_variant(variant, spec=verdict.spec, config=config) for variant in verdict.variants],
        "cost": _cost(verdict),
    }


def _remark(remark: Refusal | Advice) -> dict[str, Any]:
    return {
        "path": remark.path,
        "variant": remark.variant,
        "reason": str(remark.reason),
        "message": remark.message,
        "suggestion": remark.suggestion,
    }


def _variant(
    variant: VariantAcceptance, *, spec: InferenceDeploymentSpec | None, config: ModelFacts | None
) -> dict[str, Any]:
    plan = variant.engine
    price = replica_price(variant)
    return {
        "name": variant.name,
        "acceleratorClassName": variant.intent.accelerator_class_name,
        "engineVersion": variant.intent.engine.version,
        "image": plan.image if plan else None,
        "command": list(command_line(plan)) if plan else [],
        "devicesPerReplica": plan.devices_per_replica if plan else None,
        "shapeSource": plan.shape_source if plan else "unknown",
        "effective": _effective(plan) if plan else None,
        "memory": _memory(variant.memory) if variant.memory else None,
        "estimate": _estimate(plan.estimate) if plan and plan.estimate else None,
        "alternatives": [_alternative(each) for each in alternatives(variant, config=config)],
        "objectives": [
            _goal(goal, plan.estimate if plan else None) for goal in (spec.objectives if spec else None) or ()
        ],
        "costPerHour": float(price) if price is not None else None,
        "currency": _currency(variant) if price is not None else None,
    }


def command_line(plan: EnginePlan) -> tuple[str, ...]:
    """The whole command as the container runs it."""
    return (*(plan.command or ENTRY_POINT), *plan.args)


def _effective(plan: EnginePlan) -> dict[str, Any]:
    limits = plan.effective
    return {
        "maxModelLen": limits.max_model_len,
        "maxNumSeqs": limits.max_num_seqs,
        "maxNumBatchedTokens": limits.max_num_batched_tokens,
        "gpuMemoryUtilizationPercent": limits.gpu_memory_utilization_percent,
    }


def _memory(memory: MemoryReport) -> dict[str, Any]:
    """Every key of the schema; null is what is not known before the engine runs."""
    return {
        "verdict": memory.verdict,
        "deviceBytes": memory.device_bytes,
        "budgetBytes": memory.budget_bytes,
        "weightsBytes": memory.weights_bytes,
        "kvCacheBytes": memory.kv_cache_bytes,
        "activationBytes": memory.activation_bytes,
        "cudaGraphBytes": memory.cuda_graph_bytes,
        "runtimeBytes": memory.runtime_bytes,
        "loraBytes": memory.lora_bytes,
        "draftModelBytes": memory.draft_model_bytes,
        "kvBytesPerToken": memory.kv_bytes_per_token,
        "kvCacheTokens": memory.kv_cache_tokens,
        "concurrencyAtMaxModelLen": memory.concurrency_at_max_model_len,
        "largestMaxModelLen": memory.largest_max_model_len,
        "cheapestFix": memory.cheapest_fix,
    }


def _alternative(alternative: Alternative) -> dict[str, Any]:
    estimate, plan = alternative.plan.estimate, alternative.plan
    assert estimate is not None, "only what can be estimated is one"
    found = _estimate(estimate)
    kept = ("boundBy", "interTokenLatencySeconds", "tokensPerSecond", "sequencesAtFull")
    return {"change": alternative.change, "kvCacheTokens": plan.kv_cache_tokens, **{key: found[key] for key in kept}}


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "boundBy": estimate.bound_by,
        "promptTokens": ESTIMATE_PROMPT_TOKENS,
        "timeToFirstTokenSeconds": round(estimate.time_to_first_token_seconds, 4),
        "interTokenLatencySeconds": {
            "atOne": round(estimate.inter_token_latency_at_one_seconds, 5),
            "atFull": round(estimate.inter_token_latency_at_full_seconds, 5),
        },
        "tokensPerSecond": {
            "atOne": round(estimate.tokens_per_second_at_one, 1),
            "atFull": round(estimate.tokens_per_second_at_full, 1),
        },
        "sequencesAtFull": estimate.full_sequences,
        "errorPercent": estimate.error_percent,
        "speculation": {
            "numSpeculativeTokens": estimate.speculative_tokens,
            "acceptedTokensToPay": {
                "atOne": round(estimate.accepted_to_pay_at_one, 2),
                "atFull": round(estimate.accepted_to_pay_at_full, 2),
            },
        },
    }


def _goal(objective: Objective, estimate: Estimate | None) -> dict[str, Any]:
    """An objective beside what one request alone would see."""
    alone = None
    if estimate is not None and objective.metric == "TimeToFirstToken":
        alone = estimate.time_to_first_token_seconds
    elif estimate is not None:
        alone = estimate.inter_token_latency_at_one_seconds
    return {
        "name": objective.name,
        "metric": objective.metric,
        "thresholdMilliseconds": objective.threshold_milliseconds,
        "metByIdleReplica": None if alone is None else alone * 1000 <= objective.threshold_milliseconds,
    }


def replica_price(variant: VariantAcceptance) -> Decimal | None:
    """What one replica costs for one hour; None without a price or a plan."""
    if variant.accelerator is None or variant.engine is None or variant.accelerator.cost_per_device_hour is None:
        return None
    return variant.accelerator.cost_per_device_hour * variant.engine.devices_per_replica


def _currency(variant: VariantAcceptance) -> str | None:
    cost = variant.accelerator.cost if variant.accelerator else None
    return cost.currency if cost else None


def _cost(verdict: Acceptance) -> dict[str, Any]:
    unknown: dict[str, Any] = {"minPerHour": None, "maxPerHour": None, "currency": None}
    usable = [variant for variant in verdict.variants if variant.engine is not None]
    prices = [replica_price(variant) for variant in usable]
    currencies = {_currency(variant) for variant in usable}
    if verdict.spec is None or not usable or None in prices or len(currencies) != 1:
        return unknown
    bounds = replica_bounds(verdict.spec)
    if bounds is None:
        return unknown
    least, most = bounds
    offers = [
        (price, _limits(verdict.spec, variant.name)) for price, variant in zip(prices, usable, strict=True) if price
    ]
    return {
        "minPerHour": float(_spend(sorted(offers), replicas=least)),
        "maxPerHour": float(_spend(sorted(offers, reverse=True), replicas=most)),
        "currency": currencies.pop(),
    }


Offer = tuple[Decimal, tuple[int, int]]


def _limits(spec: InferenceDeploymentSpec, name: str) -> tuple[int, int]:
    """Fewest and most replicas of a variant; its own limits bind in Automatic only."""
    variant = next(each for each in spec.variants if each.name == name)
    if spec.scaling.mode != "Automatic":
        return 0, _UNLIMITED
    return variant.min_replicas or 0, _UNLIMITED if variant.max_replicas is None else variant.max_replicas


def _spend(offers: Sequence[Offer], *, replicas: int) -> Decimal:
    """Each variant's fewest first, then the rest to the first offers that have room."""
    total = Decimal(0)
    left = replicas
    for price, (fewest, _) in offers:
        total += price * fewest
        left -= fewest
    for price, (fewest, most) in offers:
        taken = max(0, min(left, most - fewest))
        total += price * taken
        left -= taken
    return total


def replica_bounds(spec: InferenceDeploymentSpec) -> tuple[int, int] | None:
    """Fewest and most replicas: the scaler's bounds, or the number that somebody sets. None: the live count decides."""
    if spec.scaling.mode == "Automatic":
        return spec.scaling.min_replicas, spec.scaling.max_replicas
    return (spec.replicas, spec.replicas) if spec.replicas is not None else None
