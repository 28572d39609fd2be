"""The whole status of an object, and the events its changes are worth. Changes on transitions only, never ages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_fleet.api.conditions import ConditionType, Reason, timestamp
from inference_fleet.api.counted import counted
from inference_fleet.api.names import ENGINE_PORT
from inference_fleet.planning.acceptance import Acceptance
from inference_fleet.planning.attainment_status import told_objectives
from inference_fleet.planning.fallen_pods import Fallen
from inference_fleet.planning.judgement import Facts, judge
from inference_fleet.planning.limits import replica_cost
from inference_fleet.planning.pool_writes import VariantRollout
from inference_fleet.planning.pools import PodView, Pool
from inference_fleet.planning.record import Record
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.variant_status import MOST_REMARKS, read_conditions, remark, variant_status
from inference_fleet.planning.wishes import scaling_status
from inference_fleet.planning.writes import EventNote
from inference_fleet.scaling.types import Decision, Limits, Mode
from inference_fleet.workload.labels import scale_selector
from inference_fleet.workload.rollout import PoolTarget


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reconcile came to, before it is told. Empty: nothing was ever accepted."""

    record: Record | None = None
    wish: Decision | None = None
    measured: bool = False
    rollouts: Sequence[VariantRollout] = ()
    targets: Sequence[PoolTarget] = ()
    stale: Mapping[str, str] | None = None
    update_id: str | None = None
    events: tuple[EventNote, ...] = ()
    suspended: bool = False


def status_body(
    snapshot: Snapshot,
    *,
    acceptance: Acceptance,
    force: Acceptance | None,
    pools: Sequence[Pool],
    limits: Limits | None,
    outcome: Outcome,
    now: float,
) -> dict[str, Any]:
    """The status as it should be now."""
    former: Mapping[str, Any] = snapshot.deployment.get("status") or {}
    metadata = snapshot.deployment["metadata"]
    generation = int(metadata.get("generation") or 0)
    refused = snapshot.refused_write
    facts = _facts(generation, acceptance, force, pools, limits, outcome, former, refused_write=refused, now=now)
    if outcome.suspended:
        kept = {key: value for key, value in former.items() if key not in ("conditions", "observedGeneration")}
        conditions = _conditions(facts, former, now=now)
        return {**kept, "observedGeneration": generation, "conditions": conditions}
    body: dict[str, Any] = {"observedGeneration": generation, "conditions": _conditions(facts, former, now=now)}
    body["replicas"] = sum(len(pool.pods) for pool in pools)
    body["readyReplicas"] = facts.ready
    body["selector"] = scale_selector(str(metadata["name"]))
    body["warnings"] = [remark(advice) for advice in (force or acceptance).all_warnings[:MOST_REMARKS]]
    body["endpoint"] = {"url": f"http://{metadata['name']}.{metadata['namespace']}.svc:{_port(force)}"}
    if outcome.record is not None:
        body["acceptedRevision"] = outcome.record.name
        rollout = {"completedRevision": outcome.record.name} if facts.rolled_out else dict(former.get("rollout") or {})
        if rollout:
            body["rollout"] = rollout
    if outcome.update_id:
        body["updateAvailable"] = {"id": outcome.update_id, "message": facts.updates}
    if outcome.wish is not None and limits is not None:
        current = sum(pool.replicas for pool in pools)
        body["scaling"] = scaling_status(
            former.get("scaling") or {},
            outcome.wish,
            mode=limits.mode,
            current=current,
            now=timestamp(now),
            time_text=timestamp,
        )
        body["scaling"]["provenReplicas"] = facts.needed
        body["objectives"] = _objectives(former, outcome, now=now)
    if force is not None:
        body["variants"] = [
            variant_status(
                variant,
                acceptance=acceptance,
                pools=[pool for pool in pools if pool.variant == variant.name],
                rollout=next((r for r in outcome.rollouts if r.acceptance.name == variant.name), None),
                desired=outcome.wish.of(variant.name) if outcome.wish else 0,
                snapshot=snapshot,
                now=now,
            )
            for variant in force.variants
        ]
        body["cost"] = _cost(force, pools)
        body["summary"] = _summary(force, pools, facts)
    return {key: value for key, value in body.items() if value not in (None, {})}


def _objectives(former: Mapping[str, Any], outcome: Outcome, *, now: float) -> list[Any] | None:
    told = former.get("objectives") or []
    if outcome.wish is None or not outcome.measured:
        return told or None
    return told_objectives(told, outcome.wish.attainments, now=now) or None


def transitions(former: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[EventNote, ...]:
    """One event per condition whose status or reason changed, one per warning that is new, one per change of the count.

    What the former status says has been told: also by an operator that has ended since.
    """
    told = {_warning_key(warning) for warning in former.get("warnings") or ()}
    events = [
        EventNote("Warning", warning["reason"], f"{warning['path']}: {warning['message']}")
        for warning in body.get("warnings") or ()
        if _warning_key(warning) not in told
    ]
    before = {entry.get("type"): entry for entry in former.get("conditions") or ()}
    for entry in body["conditions"]:
        old = before.get(entry["type"], {})
        if (old.get("status"), old.get("reason")) == (entry["status"], entry["reason"]):
            continue
        bad = entry["status"] == "False" and entry["reason"] not in _PASSING
        kind = "Warning" if bad or entry["type"] == ConditionType.STALLED else "Normal"
        if entry["type"] in _TOLD:
            events.append(EventNote(kind, entry["reason"], f"{entry['type']}={entry['status']}: {entry['message']}"))
    old_last = (former.get("scaling") or {}).get("lastDecision") or {}
    last = (body.get("scaling") or {}).get("lastDecision") or {}
    if last and last["to"] != old_last.get("to", last["from"]):
        change = f"{last['from']} -> {counted(last['to'], 'replica')} ({last['rule']})"
        events.append(EventNote("Normal", Reason.SCALED, f"{change}: {last['message']}"))
    return tuple(events)


def _warning_key(warning: Mapping[str, Any]) -> tuple[Any, ...]:
    # Not by the message, in which numbers may change.
    return (warning.get("path"), warning.get("reason"), warning.get("variant"))


_TOLD = (ConditionType.ACCEPTED, ConditionType.READY, ConditionType.CAPACITY_AVAILABLE, ConditionType.STALLED)
_PASSING = (Reason.STARTING, Reason.ROLLING_OUT, Reason.LOADING)


def _facts(
    generation: int,
    acceptance: Acceptance,
    force: Acceptance | None,
    pools: Sequence[Pool],
    limits: Limits | None,
    outcome: Outcome,
    former: Mapping[str, Any],
    *,
    refused_write: str | None,
    now: float,
) -> Facts:
    current = {(rollout.acceptance.name, rollout.revision) for rollout in outcome.rollouts}
    newest = [pool for pool in pools if (pool.variant, pool.revision) in current]
    superseded = [pool for pool in pools if (pool.variant, pool.revision) not in current and pool.replicas]
    ready = sum(pool.ready for pool in pools)
    recorded = (former.get("scaling") or {}).get("desiredReplicas")
    desired = outcome.wish.total if outcome.wish else int(recorded or 0)
    needed = _proven(former, desired=desired, ready=ready)
    completed = (former.get("rollout") or {}).get("completedRevision")
    accepted_name = outcome.record.name if outcome.record else None
    done = accepted_name is not None and completed == accepted_name and not superseded
    rolled_out = done or (
        bool(outcome.record)
        and not superseded
        and sum(pool.ready for pool in newest) >= (max(1, needed) if desired else 0)
    )
    if outcome.suspended:
        rolled_out = completed is not None and completed == former.get("acceptedRevision")
    lacking, lacking_reason = _lacking(pools)
    failing, words = _trouble(newest)
    spec = force.spec if force else None
    deadline = spec.rollout.progress_deadline_seconds if spec else 3600
    return Facts(
        generation=generation,
        refusals=acceptance.all_refusals,
        spec_accepted=acceptance.accepted,
        refused_variants=tuple(variant.name for variant in acceptance.variants if variant.refusals),
        serves_accepted=force is not None,
        desired=desired,
        ready=ready,
        needed=needed,
        rolled_out=rolled_out,
        rollout_words=_rollout_words(sum(pool.ready for pool in newest), desired=desired),
        paused=bool(spec and spec.rollout.paused),
        lacking=lacking,
        lacking_reason=lacking_reason,
        failing=failing,
        failing_words=words,
        loading=sum(pod.loading for pool in newest for pod in pool.pods),
        overdue=any(pool.replicas and not pool.ready and now - pool.created >= deadline for pool in newest),
        mode=limits.mode if limits else Mode.AUTOMATIC,
        decision=outcome.wish if outcome.measured else None,
        updates=_update_words(outcome),
        suspended=outcome.suspended,
        refused_write=refused_write,
    )


def _trouble(newest: Sequence[Pool]) -> tuple[Reason | None, str]:
    """What keeps pods of the newest revisions from getting ready, or took them away: the reason, with words."""
    fallen = [one for pool in newest for one in pool.recent_falls]
    broken = [pod for pool in newest if not pool.keeps_falling for pod in pool.pods if pod.failing]
    if broken:
        return broken[0].failing, _failing_words(broken)
    return (fallen[-1].reason, _fallen_words(fallen)) if fallen else (None, "")


def _fallen_words(fallen: Sequence[Fallen]) -> str:
    """No name of a pod, and no count: both change with every fall of a row, and each change is a write."""
    nodes = sorted({one.node for one in fallen if one.node})
    where = f" (on node {', '.join(nodes[:3])}{', ...' if len(nodes) > 3 else ''})" if nodes else ""
    return f"pods of the newest revision end for good, others are made: {fallen[-1].words}{where}"


def _failing_words(pods: Sequence[PodView]) -> str:
    """The fact about the first of them, and where it is."""
    first = pods[0]
    who = "1 pod of the newest revision does" if len(pods) == 1 else f"{len(pods)} pods of the newest revision do"
    where = f"pod {first.name} on node {first.node}" if first.node else f"pod {first.name}"
    return f"{who} not start: {first.failing_words} ({where})"


def _proven(former: Mapping[str, Any], *, desired: int, ready: int) -> int:
    """Replicas that have served at once: while a raise is under way what served before it is what must serve."""
    recorded = (former.get("scaling") or {}).get("provenReplicas")
    return min(desired, max(recorded if isinstance(recorded, int) else 0, ready))


def _rollout_words(ready: int, *, desired: int) -> str:
    verb = "serves" if desired == 1 else "serve"
    return f"{ready} of {counted(desired, 'replica')} of the newest revision {verb}"


def _lacking(pools: Sequence[Pool]) -> tuple[str | None, Reason]:
    for pool in pools:
        if pool.quota:
            return f"the API server refuses pods of {pool.variant}: {pool.quota}", Reason.QUOTA_EXCEEDED
    waiting = [(pool, pod) for pool in pools for pod in pool.pods if pod.unschedulable]
    if not waiting:
        return None, Reason.WAITING_FOR_DEVICES
    pool, pod = waiting[0]
    words = f"{counted(len(waiting), 'replica')} {'waits' if len(waiting) == 1 else 'wait'}"
    return f"{words} ({pool.variant}): {pod.unschedulable}", Reason.WAITING_FOR_DEVICES


def _update_words(outcome: Outcome) -> str | None:
    if not outcome.update_id or not outcome.stale:
        return None
    return (
        f"pods of {', '.join(sorted(outcome.stale))} would be rendered differently now; to apply it annotate the object"
        f" with inferencefleet.io/apply-update={outcome.update_id}"
    )


def _conditions(facts: Facts, former: Mapping[str, Any], *, now: float) -> list[dict[str, Any]]:
    old = read_conditions(former)
    return [condition.model_dump(by_alias=True) for condition in judge(facts, former=old, now=now)]


def _cost(force: Acceptance, pools: Sequence[Pool]) -> dict[str, Any]:
    """What the pods that exist cost now; without a price of every class there is none."""
    total = 0.0
    currency = "USD"
    for variant in force.variants:
        count = sum(len(pool.pods) for pool in pools if pool.variant == variant.name)
        price = replica_cost(variant)
        if price is None:
            return {}
        assert variant.accelerator is not None
        currency = variant.accelerator.cost.currency if variant.accelerator.cost else currency
        total += price * count
    return {"perHour": f"{total:.2f}", "currency": currency}


def _summary(force: Acceptance, pools: Sequence[Pool], facts: Facts) -> dict[str, Any]:
    first = force.variants[0] if force.variants else None
    devices = 0
    for variant in force.variants:
        per_replica = variant.engine.devices_per_replica if variant.engine else 0
        devices += per_replica * sum(len(pool.pods) for pool in pools if pool.variant == variant.name)
    quantization = first.intent.engine.quantization.method if first and first.intent.engine.quantization else "none"
    return {
        "model": first.intent.model.display_name if first else "",
        "replicas": f"{facts.ready}/{facts.desired}",
        "devices": devices,
        "version": first.intent.engine.version if first else "",
        "quantization": quantization,
    }


def _port(force: Acceptance | None) -> int:
    return force.spec.routing.service.port if force and force.spec else ENGINE_PORT
