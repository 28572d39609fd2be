"""One step of bringing pools to where they should be: pure, and safe to repeat after a crash at any point.

Going up is limited by the surge, going down by capacity: no step takes more ready replicas than serve beyond what is
wanted. A new revision is tried beside the old one; without devices, or while it fails, the old one stays and follows
the load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Standing(StrEnum):
    """What a pool is to the accepted spec."""

    CURRENT = "Current"
    """The revision its variant should run."""
    SUPERSEDED = "Superseded"
    """An older revision of a variant that has a current one."""
    LEFT = "Left"
    """Of a variant that the spec no longer has."""
    KEPT = "Kept"
    """While the rollout is paused: it stays as it is beside the one of its variant that scales."""


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """A pool as it is. available: replicas ready for at least minReadySeconds; broken: replicas that cannot start."""

    variant: str
    revision: str
    standing: Standing
    replicas: int
    ready: int
    available: int
    broken: int = 0


@dataclass(frozen=True)
class PoolTarget:
    """How many replicas a pool shall have now, and why if that differs from what it has."""

    variant: str
    revision: str
    replicas: int
    reason: str = ""


def surge_of(max_surge: int | str, *, desired: int) -> int:
    """`maxSurge` in replicas, at least one; percentages of the desired count are rounded up."""
    if isinstance(max_surge, int):
        return max(1, max_surge)
    return max(1, -(-desired * int(max_surge.rstrip("%")) // 100))


def step(pools: Sequence[PoolState], *, desired: Mapping[str, int], surge: int, most: int) -> tuple[PoolTarget, ...]:
    """Targets of all pools, given oldest first. A variant in `desired` has one current pool, if only an empty one.

    surge: replicas of a variant beyond its desired ones; most: of all pools together.

    Examples (old, new, desired 4, surge 1): 4, 0 -> 4, 1; when the new one is available 3, 1 -> 3, 2; ... -> 0, 4.
    """
    goals = {key(pool): _goal(pool, pools, desired, surge=surge) for pool in pools}
    spare = sum(_serving(pool) for pool in pools) - sum(desired.values())
    targets = {}
    # Those that should not be here any more give way first.
    for pool in sorted(pools, key=lambda pool: _LEAVING_ORDER[pool.standing]):
        goal = goals[key(pool)]
        if goal >= pool.replicas:
            continue
        # The ReplicaSet takes replicas that are not ready first: only the rest costs capacity.
        wanted = pool.replicas - goal
        free = min(wanted, _free(pool, pools))
        granted = min(wanted - free, pool.ready, max(0, spare))
        spare -= granted
        targets[key(pool)] = pool.replicas - free - granted
    # What goes is still there when the others come.
    room = max(0, most - sum(pool.replicas for pool in pools))
    for pool in pools:
        raised = min(max(0, goals[key(pool)] - pool.replicas), room)
        room -= raised
        targets.setdefault(key(pool), pool.replicas + raised)
    return tuple(
        PoolTarget(
            pool.variant,
            pool.revision,
            targets[key(pool)],
            _reason(pool, targets[key(pool)]),
        )
        for pool in pools
    )


def paused_pools(pools: Sequence[PoolState]) -> tuple[PoolState, ...]:
    """The pools of a rollout that is paused: of each variant the one with most replicas scales, the rest is kept.

    Examples of a step from there (old, new, surge 1), paused at 3, 1: desired 4 -> stays so; desired 6 -> 5, 1.
    """
    result = []
    for pool in pools:
        family = [other for other in pools if other.variant == pool.variant and other.standing is not Standing.LEFT]
        if pool.standing is Standing.LEFT:
            result.append(pool)
            continue
        largest = max(family, key=lambda other: (_working(other), other.standing is Standing.CURRENT))
        result.append(replace(pool, standing=Standing.CURRENT if pool is largest else Standing.KEPT))
    return tuple(result)


_LEAVING_ORDER = {Standing.LEFT: 0, Standing.SUPERSEDED: 1, Standing.CURRENT: 2, Standing.KEPT: 3}


def key(pool: PoolState | PoolTarget) -> tuple[str, str]:
    """(variant, revision)."""
    return pool.variant, pool.revision


def _goal(pool: PoolState, pools: Sequence[PoolState], desired: Mapping[str, int], *, surge: int) -> int:
    """Where the pool is going, capacity not yet looked at."""
    wanted = desired.get(pool.variant, 0)
    others = [other for other in pools if other.variant == pool.variant and other is not pool]
    if pool.standing is Standing.KEPT:
        return pool.replicas
    # What cannot start is kept, too, and carries nothing.
    wanted = max(0, wanted - sum(_working(other) for other in others if other.standing is Standing.KEPT))
    if pool.standing is Standing.SUPERSEDED and pool is _proven(pools, variant=pool.variant):
        room = wanted + surge - sum(other.replicas for other in others)
        return max(min(wanted, pool.replicas), min(wanted, room))
    if pool.standing is not Standing.CURRENT:
        return 0
    held = sum(other.replicas for other in others if other.standing is Standing.SUPERSEDED)
    # A revision that cannot start is tried with the surge, not with a fleet of pods.
    if _stuck(pool) and _proven(pools, variant=pool.variant):
        return min(wanted, pool.replicas, surge)
    if wanted <= pool.replicas or held == 0:
        return wanted
    if pool.broken and not pool.available:
        return pool.replicas
    return max(pool.replicas, min(wanted, wanted + surge - held))


def _stuck(pool: PoolState) -> bool:
    """None of its replicas serves or is on its way."""
    return pool.standing is Standing.CURRENT and 0 < pool.replicas <= pool.broken


def _proven(pools: Sequence[PoolState], *, variant: str) -> PoolState | None:
    """The newest older pool that serves, while the new revision is stuck: it alone may gain replicas meanwhile."""
    family = [pool for pool in pools if pool.variant == variant]
    serving = [pool for pool in family if pool.standing is Standing.SUPERSEDED and pool.ready]
    return serving[-1] if serving and any(_stuck(pool) for pool in family) else None


def _serving(pool: PoolState) -> int:
    """Replicas whose service can be counted on: of a new revision only those that have proved it."""
    return pool.available if pool.standing is Standing.CURRENT else pool.ready


def _free(pool: PoolState, pools: Sequence[PoolState]) -> int:
    """Replicas that may go without a thought for capacity.

    An old revision's pods that are not ready may only be out for a moment: they go when the new one has proved itself.
    """
    if pool.standing is not Standing.SUPERSEDED:
        return pool.replicas - pool.ready
    proved = any(p.variant == pool.variant and p.standing is Standing.CURRENT and p.available for p in pools)
    return pool.replicas - pool.ready if proved else pool.broken


def _working(pool: PoolState) -> int:
    """Replicas that serve or may come to."""
    return pool.replicas - pool.broken


def _reason(pool: PoolState, target: int) -> str:
    if target == pool.replicas:
        return ""
    if target > pool.replicas:
        return f"{target} replicas are wanted" if pool.replicas or target else ""
    if pool.standing is Standing.LEFT:
        return "the spec no longer has this variant"
    if pool.standing is Standing.SUPERSEDED:
        return "a newer revision serves"
    return f"{target} replicas are enough"
