"""The operator is killed at each write of a scale-up, before it happened and after it: the end is always the same."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, stop, world
from inference_fleet.adapters.ports import Resource
from inference_fleet.adapters.resources import CHILDREN, INFERENCE_DEPLOYMENTS, PODS, REPLICA_SETS

# A scale-up of a new deployment writes its record, four shared children, a pool, status (several times), a raise.
MOST_WRITES = 40
LOAD = {"llama": 40.0}


async def scale_up(w: World) -> None:
    """From nothing to the end of a scale-up under a steady load."""
    w.deploy()
    w.signals.load = LOAD


async def rest(w: World) -> None:
    """Until nothing has been written for five minutes, half an hour at most."""
    for _ in range(6):
        before = len(w.counted_writes())
        await w.clock.advance(300)
        if len(w.counted_writes()) == before:
            return
    raise AssertionError("never came to rest")


def end_state(w: World) -> str:
    """Specs of all children, pods by owner; names of pods and versions apart."""
    objects: list[Any] = []
    for resource in CHILDREN:
        if resource != PODS:
            objects.extend(
                (resource.kind, obj["metadata"]["name"], obj.get("spec"), obj.get("data"))
                for obj in w.cluster.all(resource)
            )
    objects.append(("Pods", Counter(pod["metadata"]["ownerReferences"][0]["name"] for pod in w.pods.living())))
    status = w.status()
    objects.append((status["replicas"], status["readyReplicas"], status["acceptedRevision"], w.condition("Ready")))
    return json.dumps(objects, sort_keys=True)


def creates_and_deletes(w: World) -> Counter[tuple[str, str, str]]:
    """What was made and unmade, by name."""
    return Counter(
        (write.verb, write.plural, write.name) for write in w.counted_writes() if write.verb in ("create", "delete")
    )


@pytest.fixture(scope="module")
def undisturbed() -> tuple[str, Counter[tuple[str, str, str]], int, int]:
    """End state, creates and deletes, writes and pods of a run in which nothing happens."""

    async def run() -> tuple[str, Counter[tuple[str, str, str]], int, int]:
        async with world() as w:
            async with w.running():
                await scale_up(w)
                await rest(w)
            return end_state(w), creates_and_deletes(w), len(w.counted_writes()), w.pods.created

    return asyncio.run(run())


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_kill_at_any_write_of_a_scale_up_ends_alike(
    moment: str, undisturbed: tuple[str, Counter[tuple[str, str, str]], int, int]
) -> None:
    state, made, writes, pods = undisturbed
    assert 5 < writes <= MOST_WRITES
    for number in range(1, writes + 1):
        async with world() as w:
            killed = await run_killed(w, number, moment)
            assert killed, f"write {number} never came"
            async with w.running():
                await rest(w)
            case = f"killed {moment} write {number}"
            assert end_state(w) == state, case
            assert creates_and_deletes(w) == made, case
            assert w.pods.created == pods, f"{case}: {w.pods.created} pods were made, not {pods}"


async def run_killed(w: World, number: int, moment: str) -> bool:
    """Run until the operator's write `number`, and kill it there."""
    seen = 0
    dead = asyncio.Event()

    def may(verb: str, resource: Resource, name: str, *, now: str) -> None:
        nonlocal seen
        if dead.is_set():
            # A dead process writes nothing more, whatever its tasks would still like to do.
            raise asyncio.CancelledError("dead")
        if resource.plural in ("events", "leases", "configmaps") or now != moment:
            return
        seen += 1
        if seen == number:
            dead.set()
            raise asyncio.CancelledError("killed")

    w.cluster.before = partial(may, now="before")
    w.cluster.after = partial(may, now="after")
    task = asyncio.create_task(w.loop().run())
    await w.clock.settle()
    await scale_up(w)
    for _ in range(1800):
        if dead.is_set():
            break
        await w.clock.advance(1)
    await stop(task)
    w.cluster.before = w.cluster.after = lambda verb, resource, name: None
    assert w.cluster.find(INFERENCE_DEPLOYMENTS, "llama", NAMESPACE) is not None
    assert len(w.cluster.all(REPLICA_SETS)) <= 1
    return dead.is_set()
