"""Pods that nodes refuse: said with the node, removed but for the last few, and no matter once another serves."""

from __future__ import annotations

from typing import Any

from builders.operator_world import World, world
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS


def condition(w: World, kind: str) -> dict[str, Any]:
    (found,) = w.cluster.all(INFERENCE_DEPLOYMENTS)
    return next(dict(one) for one in found["status"]["conditions"] if one["type"] == kind)


def status_writes(w: World) -> int:
    return sum(write.subresource == "status" for write in w.counted_writes())


async def test_a_node_that_refuses_every_pod_is_named_and_its_pods_do_not_pile_up() -> None:
    async with world() as w:
        w.pods.refuses = True
        w.deploy(scaling={"mode": "Manual"}, replicas=2)
        async with w.running():
            await w.clock.advance(60)
            assert w.pods.created > 20, "the fault took no effect"
            ready = condition(w, "Ready")
            assert (ready["status"], ready["reason"]) == ("False", "RefusedByNode")
            assert "fewer healthy devices" in ready["message"]
            assert "node node" in ready["message"]

            told = status_writes(w)
            await w.clock.advance(120)
            # Left to themselves there would be more than a hundred by now.
            assert len(w.pods.fallen()) <= 5
            # Every two seconds a pod falls; a count or a pod's name in the words would be a write each time.
            assert status_writes(w) - told <= 1

            w.pods.refuses = False
            await w.clock.advance(120)
            assert condition(w, "Ready")["status"] == "True"
            rested = len(w.counted_writes())
            await w.clock.advance(600)
            assert len(w.counted_writes()) == rested


async def test_a_single_fall_is_told_until_its_replacement_serves() -> None:
    async with world() as w:
        w.pods.refuses = True
        w.deploy(scaling={"mode": "Manual"}, replicas=1)
        async with w.running():
            await w.clock.advance(0.5)
            w.pods.refuses = False
            await w.clock.advance(4)
            assert len(w.pods.fallen()) == 1, "the fault took no effect"
            assert condition(w, "Ready")["reason"] == "RefusedByNode"
            await w.clock.advance(60)
            assert condition(w, "Ready")["status"] == "True"
            # What fell is left to be looked at.
            assert len(w.pods.fallen()) == 1
