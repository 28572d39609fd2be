"""The whole status of an object, and the events its changes are worth. Changes on transitions only, never ages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.api.conditions import ConditionType, Reason
from inference_fleet.api.counted import counted
from inference_fleet.api.inference_deployment import Rollout
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
from inference_fleet.planning.study import Study
from inference_fleet.planning.variant_status import MOST_REMARKS, read_conditions, remark, variant_status
from inference_fleet.planning.wishes import scaling_status
from inference_fleet.planning.writes import EventNote
from inference_fleet.scaling.types import Decision, Mode
from inference_fleet.workload.labels import scale_selector

# Conditions whose changes are told as events. The others move with them, or are seen in `status.scaling`.
TOLD_CONDITIONS: Final = (
    ConditionType.ACCEPTED,
    ConditionType.READY,
    ConditionType.CAPACITY_AVAILABLE,
    ConditionType.STALLED,
)
# A condition that is False for one of these passes by itself: its event is no warning.
PASSING_REASONS: Final = (Reason.STARTING, Reason.ROLLING_OUT, Reason.LOADING)
# Nodes that one message names.
TOLD_NODES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a reconcile came to, before it is told. Empty: nothing was ever accepted.

    wish: the decision acted on. measured: whether it comes from a tick, which has looked at the load. stale: variants
    whose pods would be rendered differently now, with the new rendering's hash; update_id: what to ask for it by.
    """

    record: Record | None = None
    wish: Decision | None = None
    measured: bool = False
    rollouts: Sequence[VariantRollout] = ()
    stale: Mapping[str, str] | None = None
    update_id: str | None = None
    events: tuple[EventNote, ...] = ()
    suspended: bool = False


def status_body(snapshot: Snapshot, studied: Study, *, outcome: Outcome, now: float) -> dict[str, Any]:
    """The whole `status` of the object, as it should be now (unix seconds)."""
    former: Mapping[str, Any] = snapshot.deployment.get("status") or {}
    facts = _facts(snapshot, studied, outcome, former, now=now)
    told = {"observedGeneration": facts.generation, "conditions": _conditions(facts, former, now=now)}
    if outcome.suspended:
        return {**former, **told}
    body: dict[str, Any] = {
        **told,
        **_serving(snapshot, studied, ready=facts.ready),
        **_accepted(former, outcome, facts),
        **_scaling(former, studied, outcome, needed=facts.needed, now=now),
        **_variants(snapshot, studied, outcome, facts, now=now),
    }
    return {key: value for key, value in body.items() if value not in (None, {})}


def _serving(snapshot: Snapshot, studied: Study, *, ready: int) -> dict[str, Any]:
    """What stands in the cluster, and where it is called."""
    metadata = snapshot.deployment["metadata"]
    force = studied.force
    port = force.spec.routing.service.port if force and force.spec else ENGINE_PORT
    return {
        "replicas": sum(len(pool.pods) for pool in studied.pools),
        "readyReplicas": ready,
        "selector": scale_selector(str(metadata["name"])),
        "warnings": [remark(advice) for advice in (force or studied.acceptance).all_warnings[:MOST_REMARKS]],
        "endpoint": {"url": f"http://{metadata['name']}.{metadata['namespace']}.svc:{port}"},
    }


def _accepted(former: Mapping[str, Any], outcome: Outcome, facts: Facts) -> dict[str, Any]:
    """The accepted spec, how far it is rolled out, and what waits to be asked for."""
    found: dict[str, Any] = {}
    if outcome.record is not None:
        found["acceptedRevision"] = outcome.record.name
        found["rollout"] = {"completedRevision": outcome.record.name} if facts.rolled_out else former.get("rollout")
    if outcome.update_id:
        found["updateAvailable"] = {"id": outcome.update_id, "message": facts.updates}
    return found


def _scaling(former: Mapping[str, Any], studied: Study, outcome: Outcome, *, needed: int, now: float) -> dict[str, Any]:
    if outcome.wish is None or studied.limits is None:
        return {}
    current = sum(pool.replicas for pool in studied.pools)
    scaling = scaling_status(
        former.get("scaling") or {}, outcome.wish, mode=studied.limits.mode, current=current, now=now
    )
    return {
        "scaling": {**scaling, "provenReplicas": needed},
        "objectives": _objectives(former, outcome, now=now),
    }


def _variants(snapshot: Snapshot, studied: Study, outcome: Outcome, facts: Facts, *, now: float) -> dict[str, Any]:
    """The variants of the spec in force one by one, with what they cost and amount to together."""
    force = studied.force
    if force is None:
        return {}
    variants = [
        variant_status(
            variant,
            acceptance=studied.acceptance,
            pools=[pool for pool in studied.pools if pool.variant == variant.name],
            rollout=next((r for r in outcome.rollouts if r.acceptance.name == variant.name), None),
            desired=outcome.wish.of(variant.name) if outcome.wish else 0,
            snapshot=snapshot,
            now=now,
        )
        for variant in force.variants
    ]
    return {
        "variants": variants,
        "cost": _cost(force, studied.pools),
        "summary": _summary(force, studied.pools, facts),
    }


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
        bad = entry["status"] == "False" and entry["reason"] not in PASSING_REASONS
        kind = "Warning" if bad or entry["type"] == ConditionType.STALLED else "Normal"
        if entry["type"] in TOLD_CONDITIONS:
            events.append(EventNote(kind, entry["reason"], f"{entry['type']}={entry['status']}: {entry['message']}"))
    old_history, history = [(each.get("scaling") or {}).get("history") or [] for each in (former, body)]
    if history and history[:1] != old_history[:1]:
        last = history[0]
        change = f"{last['from']} -> {counted(last['to'], 'replica')} ({last['rule']})"
        events.append(EventNote("Normal", Reason.SCALED, f"{change}: {last['message']}"))
    return tuple(events)


def _warning_key(warning: Mapping[str, Any]) -> tuple[Any, ...]:
    # Not by the message, in which numbers may change.
    return (warning.get("path"), warning.get("reason"), warning.get("variant"))


def _facts(snapshot: Snapshot, studied: Study, outcome: Outcome, former: Mapping[str, Any], *, now: float) -> Facts:
    acceptance, force, pools = studied.acceptance, studied.force, studied.pools
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
    return Facts(
        generation=int(snapshot.deployment["metadata"].get("generation") or 0),
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
        overdue=spec is not None and _overdue(newest, spec.rollout, now=now),
        mode=studied.limits.mode if studied.limits else Mode.AUTOMATIC,
        decision=outcome.wish if outcome.measured else None,
        updates=_update_words(outcome),
        suspended=outcome.suspended,
        refused_write=snapshot.refused_write,
    )


def _overdue(newest: Sequence[Pool], rollout: Rollout, *, now: float) -> bool:
    """Whether a newest revision has had its time, and still not one pod of it serves."""
    deadline = rollout.progress_deadline_seconds
    return any(pool.replicas and not pool.ready and now - pool.created >= deadline for pool in newest)


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
    more = ", ..." if len(nodes) > TOLD_NODES else ""
    where = f" (on node {', '.join(nodes[:TOLD_NODES])}{more})" if nodes else ""
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
