"""A pod that ends before it ever served is not given the time of a full drain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builders.world import World
from inference_fleet.api.conditions import timestamp
from inference_fleet.planning.pools import read_pools
from inference_fleet.planning.short_grace import never_was_ready, short_graces


def conditions(world: World, *, ready: str, ready_since: float = 0.0) -> list[dict[str, Any]]:
    def condition(kind: str, status: str, since: float) -> dict[str, Any]:
        return {"type": kind, "status": status, "lastTransitionTime": timestamp(world.now - 100 + since)}

    return [condition("Initialized", "True", 0.0), condition("Ready", ready, ready_since)]


def ending(world: World, seen: Sequence[dict[str, Any]], *, remaining: float = 600.0) -> tuple[Any, ...]:
    (pod,) = world.of("Pod")
    pod["status"]["conditions"] = list(seen)
    pod["metadata"]["deletionTimestamp"] = timestamp(world.now + remaining)
    snapshot = world.snapshot()
    return short_graces(snapshot, read_pools(snapshot), now=world.now)


def settled() -> World:
    world = World()
    world.settle()
    return world


def test_a_pod_that_never_was_ready_ends_soon() -> None:
    world = settled()
    (write,) = ending(world, conditions(world, ready="False"))
    assert write.grace_period_seconds == 30
    assert write.uid == world.of("Pod")[0]["metadata"]["uid"]


def test_it_is_asked_for_once() -> None:
    world = settled()
    assert ending(world, conditions(world, ready="False"), remaining=30) == ()


def test_a_pod_that_serves_is_drained_in_full() -> None:
    world = settled()
    assert ending(world, conditions(world, ready="True", ready_since=60)) == ()


def test_a_pod_that_served_once_is_drained_in_full() -> None:
    world = settled()
    assert ending(world, conditions(world, ready="False", ready_since=60)) == ()


def test_a_pod_that_does_not_end_is_left_alone() -> None:
    world = settled()
    (pod,) = world.of("Pod")
    pod["status"]["conditions"] = conditions(world, ready="False")
    snapshot = world.snapshot()
    assert short_graces(snapshot, read_pools(snapshot), now=world.now) == ()


def test_a_pod_of_another_owner_is_left_alone() -> None:
    world = settled()
    world.of("Pod")[0]["metadata"]["ownerReferences"][0]["uid"] = "another"
    assert ending(world, conditions(world, ready="False")) == ()


def test_what_cannot_be_told_counts_as_having_served() -> None:
    assert not never_was_ready({"metadata": {}, "status": {}})
    assert not never_was_ready({"metadata": {}})
    unreadable = [{"type": kind, "status": "False", "lastTransitionTime": "soon"} for kind in ("Ready", "Initialized")]
    assert not never_was_ready({"metadata": {}, "status": {"conditions": unreadable}})
