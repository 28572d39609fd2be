"""The writes that bring pools to their targets: new ReplicaSets, counts, and marks on the pods that go first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.api.conditions import Reason
from inference_fleet.api.counted import counted
from inference_fleet.api.names import ANNOTATION_POD_DELETION_COST, LABEL_SERVING
from inference_fleet.planning.acceptance import VariantAcceptance
from inference_fleet.planning.children import owner_of, reference_to
from inference_fleet.planning.pools import PodView, Pool
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.writes import Create, Delete, EventNote, ObjectReference, Patch, Write
from inference_fleet.workload.replica_set import rendered_of, replica_set
from inference_fleet.workload.retire import RETIRING_COST, Retiree, retirement_order
from inference_fleet.workload.revision import revision_of
from inference_fleet.workload.rollout import PoolState, PoolTarget, Standing, key, paused_pools, step

# Empty ReplicaSets that are kept, so that a spec edited back finds its former pool.
KEPT_EMPTY_POOLS: Final = 2


@dataclass(frozen=True)
class VariantRollout:
    """One variant with the revision it should run. rendered: its ReplicaSet as it would be built now, or None."""

    acceptance: VariantAcceptance
    revision: str
    rendered: Mapping[str, Any] | None


def rollouts_of(
    snapshot: Snapshot, variants: Sequence[VariantAcceptance], pools: Sequence[Pool], *, updates: Mapping[str, str]
) -> tuple[VariantRollout, ...]:
    """The revision of every variant. A refused variant stays at the newest revision it has."""
    owner = owner_of(snapshot)
    found = []
    for variant in variants:
        if variant.engine is None or variant.accelerator is None:
            own = [pool for pool in pools if pool.variant == variant.name and pool.replicas > 0]
            if own:
                found.append(VariantRollout(variant, own[-1].revision, None))
            continue
        revision = salted_revision(
            revision_of(variant.intent, namespace=owner.namespace, name=owner.name), updates.get(variant.name)
        )
        rendered = replica_set(
            owner,
            intent=variant.intent,
            engine=variant.engine,
            accelerator=variant.accelerator,
            revision=revision,
            replicas=0,
        )
        found.append(VariantRollout(variant, revision, rendered))
    return tuple(found)


def salted_revision(revision: str, update: str | None) -> str:
    """The revision itself, or another one when a newer rendering of the same intent was asked for."""
    return hashlib.sha256(f"{revision}/{update}".encode()).hexdigest()[:10] if update else revision


def pool_targets(
    pools: Sequence[Pool],
    rollouts: Sequence[VariantRollout],
    *,
    desired: Mapping[str, int],
    surge: int,
    most: int,
    paused: bool,
    minimum_ready_seconds: float,
    now: float,
) -> tuple[PoolTarget, ...]:
    """Where every pool should be now, the ones that do not exist yet among them."""
    current = {(rollout.acceptance.name, rollout.revision) for rollout in rollouts}
    names = {rollout.acceptance.name for rollout in rollouts}
    rolling = {pool.variant for pool in pools if (pool.variant, pool.revision) not in current and pool.replicas}
    states = []
    for pool in pools:
        standing = Standing.CURRENT
        if (pool.variant, pool.revision) not in current:
            standing = Standing.SUPERSEDED if pool.variant in names else Standing.LEFT
        # Only a revision that replaces another has to prove itself.
        seconds = minimum_ready_seconds if pool.variant in rolling else 0.0
        states.append(
            PoolState(
                variant=pool.variant,
                revision=pool.revision,
                standing=standing,
                replicas=pool.replicas,
                ready=pool.ready,
                available=pool.available(minimum_seconds=seconds, now=now),
                broken=pool.unschedulable + pool.failing,
            )
        )
    known = {key(state) for state in states}
    for variant, revision in sorted(current - known):
        states.append(
            PoolState(variant=variant, revision=revision, standing=Standing.CURRENT, replicas=0, ready=0, available=0)
        )
    return step(paused_pools(states) if paused else states, desired=desired, surge=surge, most=most)


def pool_writes(
    snapshot: Snapshot, pools: Sequence[Pool], rollouts: Sequence[VariantRollout], targets: Sequence[PoolTarget]
) -> tuple[tuple[Write, ...], tuple[EventNote, ...]]:
    """Creations and raises first, then marks, then lowerings whose pods are marked, then what is long empty."""
    by_key = {(pool.variant, pool.revision): pool for pool in pools}
    rendered = {(r.acceptance.name, r.revision): r.rendered for r in rollouts}
    up: list[Write] = []
    marks: list[Write] = []
    down: list[Write] = []
    events: list[EventNote] = []
    for target in targets:
        pool = by_key.get(key(target))
        if pool is None:
            body = rendered.get(key(target))
            if target.replicas > 0 and body is not None:
                created = {**body, "spec": {**body["spec"], "replicas": target.replicas}}
                namespace = str(snapshot.deployment["metadata"]["namespace"])
                up.append(Create(reference_to(created, namespace=namespace), created, target.reason))
                name = created["metadata"]["name"]
                events.append(EventNote("Normal", Reason.CREATED, f"{name} with {counted(target.replicas, 'replica')}"))
            continue
        if target.replicas > pool.replicas:
            up.append(_count(snapshot, pool, target))
        victims = _victims(snapshot, pool, target.replicas)
        unmarked = [pod for pod in victims if not _marked(pod)]
        marks += [_mark(snapshot, pod) for pod in unmarked]
        marks += [_unmark(snapshot, pod) for pod in pool.pods if _marked(pod) and pod not in victims]
        if target.replicas < pool.replicas and not unmarked:
            down.append(_count(snapshot, pool, target))
    return (*up, *marks, *down, *_empty(snapshot, pools, current=set(rendered))), tuple(events)


def _count(snapshot: Snapshot, pool: Pool, target: PoolTarget) -> Patch:
    metadata = pool.replica_set["metadata"]
    return Patch(
        _replica_set_reference(snapshot, pool),
        {"spec": {"replicas": target.replicas}},
        metadata["uid"],
        metadata["resourceVersion"],
        target.reason,
        lowers=target.replicas < pool.replicas,
    )


def _victims(snapshot: Snapshot, pool: Pool, goal: int) -> tuple[PodView, ...]:
    """The pods that shall go: as many as there are too many."""
    surplus = max(0, len(pool.pods) - goal)
    if not surplus:
        return ()
    retirees = [
        Retiree(
            name=pod.name,
            scheduled=pod.unschedulable is None,
            ready=pod.ready_since is not None,
            load=snapshot.pod_loads.get(pod.name, 0.0),
            created=pod.created,
            marked=_marked(pod),
        )
        for pod in pool.pods
    ]
    order = retirement_order(retirees)[:surplus]
    return tuple(pod for pod in pool.pods if pod.name in order)


def _marked(pod: PodView) -> bool:
    metadata = pod.raw["metadata"]
    cost = (metadata.get("annotations") or {}).get(ANNOTATION_POD_DELETION_COST)
    return bool(cost == RETIRING_COST)


def _mark(snapshot: Snapshot, pod: PodView) -> Patch:
    return _patch_pod(snapshot, pod, cost=RETIRING_COST, serving="false", reason="it goes first")


def _unmark(snapshot: Snapshot, pod: PodView) -> Patch:
    return _patch_pod(snapshot, pod, cost=None, serving="true", reason="it stays after all")


def _patch_pod(snapshot: Snapshot, pod: PodView, *, cost: str | None, serving: str, reason: str) -> Patch:
    metadata = pod.raw["metadata"]
    namespace = str(snapshot.deployment["metadata"]["namespace"])
    return Patch(
        reference_to(pod.raw, namespace=namespace, kind="Pod", api_version="v1"),
        {"metadata": {"labels": {LABEL_SERVING: serving}, "annotations": {ANNOTATION_POD_DELETION_COST: cost}}},
        metadata["uid"],
        metadata["resourceVersion"],
        reason,
        lowers=serving == "false",
    )


def _empty(snapshot: Snapshot, pools: Sequence[Pool], *, current: set[tuple[str, str]]) -> tuple[Write, ...]:
    """ReplicaSets that have been replaced and have no pods, beyond the newest few of each variant."""
    writes: list[Write] = []
    for variant in sorted({pool.variant for pool in pools}):
        idle = [
            pool
            for pool in pools
            if pool.variant == variant
            and (pool.variant, pool.revision) not in current
            and not (pool.replicas or pool.pods or pool.terminating)
        ]
        for pool in idle[: max(0, len(idle) - KEPT_EMPTY_POOLS)]:
            metadata = pool.replica_set["metadata"]
            writes.append(
                Delete(
                    _replica_set_reference(snapshot, pool),
                    metadata["uid"],
                    metadata["resourceVersion"],
                    "it has been replaced and has no pods",
                )
            )
    return tuple(writes)


def _replica_set_reference(snapshot: Snapshot, pool: Pool) -> ObjectReference:
    namespace = str(snapshot.deployment["metadata"]["namespace"])
    return reference_to(pool.replica_set, namespace=namespace, kind="ReplicaSet", api_version="apps/v1")


def stale_renderings(pools: Sequence[Pool], rollouts: Sequence[VariantRollout]) -> dict[str, str]:
    """Variants whose pods would be rendered differently now, with the new rendering's hash."""
    stale = {}
    by_key = {(pool.variant, pool.revision): pool for pool in pools}
    for rollout in rollouts:
        pool = by_key.get((rollout.acceptance.name, rollout.revision))
        if pool is None or rollout.rendered is None:
            continue
        now = rendered_of(rollout.rendered)
        if now and rendered_of(pool.replica_set) != now:
            stale[rollout.acceptance.name] = now
    return stale
