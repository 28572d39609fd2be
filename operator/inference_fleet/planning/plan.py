"""One reconcile as a pure function of snapshot, decision and now: writes, status, events, when to look again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.names import ANNOTATION_APPLY_UPDATE, API_VERSION
from inference_fleet.planning.children import record_writes, reference_to, shared_children
from inference_fleet.planning.fallen_removals import fallen_removals
from inference_fleet.planning.pool_writes import (
    VariantRollout,
    pool_targets,
    pool_writes,
    rollouts_of,
    stale_renderings,
)
from inference_fleet.planning.record import record_for
from inference_fleet.planning.short_grace import short_graces
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.status_body import Outcome, status_body, transitions
from inference_fleet.planning.study import Study, study
from inference_fleet.planning.wishes import effective_decision, spec_replicas
from inference_fleet.planning.writes import Create, EventNote, Patch, Write
from inference_fleet.scaling.types import Decision, Mode
from inference_fleet.workload.rollout import PoolTarget, surge_of


@dataclass(frozen=True)
class Plan:
    """What one reconcile wants. status: the whole status, None if it is already so."""

    writes: tuple[Write, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[EventNote, ...] = ()
    requeue_after_seconds: float | None = None


def plan(snapshot: Snapshot, decision: Decision | None, now: float) -> Plan:
    """What to write for this object. `now`: unix seconds."""
    if snapshot.deployment["metadata"].get("deletionTimestamp"):
        # Owner references take the children along.
        return Plan()
    studied = study(snapshot, now=now)
    if (snapshot.deployment.get("spec") or {}).get("suspend") is True:
        return _report(snapshot, studied, Outcome(suspended=True), now=now)
    if studied.force is None or studied.force.spec is None or studied.record is None or studied.limits is None:
        return _report(snapshot, studied, Outcome(), now=now)

    spec, record, pools = studied.force.spec, studied.record, studied.pools
    wish = effective_decision(snapshot, decision, studied.limits, pools, now=now)
    rollouts = rollouts_of(snapshot, studied.force.variants, pools, updates=record.updates)
    stale = stale_renderings(pools, rollouts)
    update_id = _update_id(stale)
    if update_id and _asked_for(snapshot) == update_id and studied.acceptance.accepted:
        record = record_for(snapshot, studied.records, record.spec, updates={**record.updates, **stale})
        rollouts = rollouts_of(snapshot, studied.force.variants, pools, updates=record.updates)
        stale, update_id = {}, None
    targets = _targets(studied, rollouts, spec, wish, now=now)

    children, child_events = shared_children(snapshot, spec)
    scaled, pool_events = pool_writes(snapshot, pools, rollouts, targets)
    outcome = Outcome(
        record=record,
        wish=wish,
        measured=decision is not None,
        rollouts=rollouts,
        stale=stale,
        update_id=update_id,
        events=(*child_events, *pool_events),
    )
    reported = _report(snapshot, studied, outcome, now=now)
    first, later = _pods_first(children, scaled)
    writes = (*record_writes(snapshot, studied.records, record), *_seed(snapshot, wish, spec), *first)
    if first and not pools:
        # A new object: the rest comes in the next plan, behind the first ones of other new objects.
        return Plan(writes, reported.status, reported.events, requeue_after_seconds=0.0)
    writes = (*writes, *later, *short_graces(snapshot, pools, now=now), *fallen_removals(snapshot, pools))
    return Plan(writes, reported.status, reported.events, _look_again(studied, spec, now=now))


def _pods_first(children: Sequence[Write], scaled: Sequence[Write]) -> tuple[list[Write], list[Write]]:
    """Engines take minutes to start and Services an instant: what makes new pools, and all the rest.

    A pod without its service account is refused, so that one goes before all.
    """
    accounts = [write for write in children if write.reference.kind == "ServiceAccount"]
    pools = [write for write in scaled if isinstance(write, Create)]
    first = [*accounts, *pools]
    return first, [write for write in (*children, *scaled) if write not in first]


def _targets(
    studied: Study, rollouts: Sequence[VariantRollout], spec: InferenceDeploymentSpec, wish: Decision, *, now: float
) -> tuple[PoolTarget, ...]:
    surge = surge_of(spec.rollout.max_surge, desired=wish.total)
    assert studied.limits is not None
    allowed = studied.limits.max_replicas if studied.limits.mode is Mode.AUTOMATIC else 0
    return pool_targets(
        studied.pools,
        rollouts,
        desired=dict(wish.replicas),
        surge=surge,
        # A schedule may allow more than the bounds beside it.
        most=max(allowed, wish.total) + surge,
        paused=spec.rollout.paused,
        minimum_ready_seconds=spec.rollout.min_ready_seconds,
        now=now,
    )


def _report(snapshot: Snapshot, studied: Study, outcome: Outcome, *, now: float) -> Plan:
    body = status_body(snapshot, studied, outcome=outcome, now=now)
    former = snapshot.deployment.get("status") or {}
    if _same(former, body):
        # What has no new state to tell is not told again: events come once per transition.
        return Plan()
    return Plan(status=body, events=(*outcome.events, *transitions(former, body)))


def _seed(snapshot: Snapshot, wish: Decision, spec: InferenceDeploymentSpec) -> tuple[Write, ...]:
    """Manual and External without spec.replicas: written once from the live count, so that /scale has a value."""
    raw = snapshot.deployment.get("spec") or {}
    mode = spec.scaling.mode
    if mode == Mode.AUTOMATIC.value or spec_replicas(snapshot) is not None or raw.get("replicas") is not None:
        return ()
    metadata = snapshot.deployment["metadata"]
    reference = reference_to(
        snapshot.deployment,
        namespace=str(metadata["namespace"]),
        kind="InferenceDeployment",
        api_version=API_VERSION,
    )
    live = max(wish.total, spec.scaling.min_replicas if wish.total == 0 else 0)
    reason = f"scaling.mode is {mode} and spec.replicas is absent: seeded from the live count"
    return (Patch(reference, {"spec": {"replicas": live}}, metadata["uid"], metadata["resourceVersion"], reason),)


def _asked_for(snapshot: Snapshot) -> str | None:
    annotations = snapshot.deployment["metadata"].get("annotations") or {}
    value = annotations.get(ANNOTATION_APPLY_UPDATE)
    return str(value) if value else None


def _update_id(stale: Mapping[str, str]) -> str | None:
    if not stale:
        return None
    return hashlib.sha256(json.dumps(sorted(stale.items())).encode()).hexdigest()[:10]


def _look_again(studied: Study, spec: InferenceDeploymentSpec, *, now: float) -> float | None:
    """When something will have changed by time alone: a pod that has been ready long enough, or a deadline."""
    newest = max((pool.created for pool in studied.pools), default=now)
    times = [
        pod.ready_since + spec.rollout.min_ready_seconds
        for pool in studied.pools
        for pod in pool.pods
        if pod.ready_since is not None
    ]
    times += [newest + spec.rollout.progress_deadline_seconds]
    ahead = [time - now for time in times if time > now]
    return min(ahead) + 0.1 if ahead else None


def _same(former: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    return json.dumps(former, sort_keys=True) == json.dumps(body, sort_keys=True)
