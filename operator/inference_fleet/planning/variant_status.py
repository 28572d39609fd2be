"""`status.variants[]`: whether a variant can run, its pods, what its engine starts with, how long starts take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from inference_fleet.api.conditions import Condition, ConditionType, Reason, set_condition
from inference_fleet.api.refusal import Advice, Refusal
from inference_fleet.engine.engine_plan import MemoryReport
from inference_fleet.planning.acceptance import Acceptance, VariantAcceptance
from inference_fleet.planning.judgement import LONGEST_MESSAGE
from inference_fleet.planning.pool_writes import VariantRollout
from inference_fleet.planning.pools import Pool
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.workload.labels import ROLE_BOTH

# Refusals or warnings that are told; the definition of the kind takes four times as many.
MOST_REMARKS: Final = 16


def variant_status(
    variant: VariantAcceptance,
    *,
    acceptance: Acceptance,
    pools: Sequence[Pool],
    rollout: VariantRollout | None,
    desired: int,
    snapshot: Snapshot,
    now: float,
) -> dict[str, Any]:
    """The entry of a variant of the spec in force. acceptance: of the spec as it stands; pools: the variant's own."""
    former = _former(variant.name, snapshot)
    entry: dict[str, Any] = {
        "name": variant.name,
        "conditions": [_accepted(variant.name, acceptance, former=former, snapshot=snapshot, now=now)],
        "desiredReplicas": desired,
        "pools": [_pool(pool) for pool in pools if pool.replicas or pool.pods or pool.terminating],
    }
    if rollout is not None:
        serving = [pool for pool in pools if pool.ready]
        entry["updateRevision"] = rollout.revision
        entry["currentRevision"] = serving[0].revision if serving else rollout.revision
    if variant.refusals:
        entry["refusals"] = [remark(refusal) for refusal in variant.refusals[:MOST_REMARKS]]
    if variant.engine is not None:
        entry["resolved"] = _resolved(variant, said=snapshot.reported_lengths.get(variant.name), former=former)
    if variant.memory is not None:
        entry["memory"] = _memory(variant.memory)
    if startup := _startup(pools) or former.get("startup"):
        entry["startup"] = startup
    return entry


def remark(told: Refusal | Advice) -> dict[str, str]:
    """A refusal or a warning as status tells it."""
    return {key: value for key, value in vars(told).items() if value is not None}


def read_conditions(status: Mapping[str, Any]) -> list[Condition]:
    """The conditions of a status that can be read."""
    found = []
    for entry in status.get("conditions") or ():
        try:
            found.append(Condition.model_validate(entry))
        except ValueError:
            continue
    return found


def _former(name: str, snapshot: Snapshot) -> Mapping[str, Any]:
    """What status said of the variant last; empty if nothing."""
    for entry in (snapshot.deployment.get("status") or {}).get("variants") or ():
        if isinstance(entry, Mapping) and entry.get("name") == name:
            return entry
    return {}


def _accepted(
    name: str, acceptance: Acceptance, *, former: Mapping[str, Any], snapshot: Snapshot, now: float
) -> dict[str, Any]:
    """Whether the spec as it stands may use the variant: a refused one does not stop its siblings."""
    present = next((each for each in acceptance.variants if each.name == name), None)
    refusals = present.refusals if present else ()
    reason = Reason(refusals[0].reason) if refusals else Reason.SPEC_NOT_ACCEPTED
    words = "; ".join(refusal.text() for refusal in refusals) or "the spec is refused: see its own condition"
    if present is not None and not refusals and acceptance.accepted:
        reason, words = Reason.ACCEPTED, "its settings make sense for this vLLM version and these accelerators"
    wanted = Condition.model_validate(
        {
            "type": ConditionType.ACCEPTED.value,
            "status": "True" if reason is Reason.ACCEPTED else "False",
            "reason": reason.value,
            "message": words[:LONGEST_MESSAGE],
            "observedGeneration": int(snapshot.deployment["metadata"].get("generation") or 0),
            "lastTransitionTime": "",
        }
    )
    old = [condition for condition in read_conditions(former) if condition.type == wanted.type]
    (condition,) = set_condition(old[:1], wanted, now=now)
    return condition.model_dump(by_alias=True)


def _pool(pool: Pool) -> dict[str, Any]:
    return {
        "role": ROLE_BOTH,
        "revision": pool.revision,
        "replicas": pool.replicas,
        "ready": pool.ready,
        "starting": pool.starting,
        "terminating": pool.terminating,
        "unschedulable": pool.unschedulable,
    }


def _resolved(variant: VariantAcceptance, *, said: int | None, former: Mapping[str, Any]) -> dict[str, Any]:
    """said: the longest sequence its engines fitted to their memory; what they said last counts while none is heard."""
    engine = variant.engine
    assert engine is not None
    effective = engine.effective
    fitted = said or (former.get("resolved") or {}).get("maxModelLen")
    found = {
        "image": engine.image,
        "version": engine.version,
        "devicesPerReplica": engine.devices_per_replica,
        "maxModelLen": str(effective.max_model_len or fitted or "auto"),
        "maxNumSeqs": effective.max_num_seqs,
        "maxNumBatchedTokens": effective.max_num_batched_tokens,
        "gpuMemoryUtilizationPercent": effective.gpu_memory_utilization_percent,
        "shapeSource": engine.shape_source,
        "kvCacheTokens": engine.kv_cache_tokens,
    }
    return {key: value for key, value in found.items() if value is not None}


def _memory(report: MemoryReport) -> dict[str, Any]:
    """The estimate of one device; what is not known is left out."""
    found = {
        "verdict": report.verdict,
        "deviceBytes": report.device_bytes,
        "budgetBytes": report.budget_bytes,
        "weightsBytes": report.weights_bytes,
        "draftModelBytes": report.draft_model_bytes,
        "activationBytes": report.activation_bytes,
        "cudaGraphBytes": report.cuda_graph_bytes,
        "runtimeBytes": report.runtime_bytes,
        "kvCacheBytes": report.kv_cache_bytes,
        "kvCacheTokens": report.kv_cache_tokens,
        "message": report.cheapest_fix,
    }
    return {key: value for key, value in found.items() if value is not None}


def _startup(pools: Sequence[Pool]) -> dict[str, int]:
    """Over the pods that there are; empty if none has started."""
    pods = [pod for pool in pools for pod in pool.pods]
    starts = sorted(pod.cold_start_seconds for pod in pods if pod.cold_start_seconds is not None)
    if not starts:
        return {}
    return {"p50Seconds": _quantile(starts, 50), "p95Seconds": _quantile(starts, 95), "samples": len(starts)}


def _quantile(starts: Sequence[float], percent: int) -> int:
    """The smallest that so many are not above: of 10 20 30 40, 50 % -> 20."""
    return round(starts[math.ceil(percent * len(starts) / 100) - 1])
