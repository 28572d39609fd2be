"""One object's trouble is its own."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from builders.operator_world import world
from inference_fleet.adapters import ports
from inference_fleet.controller import reconciler, tick
from inference_fleet.controller.reconciler import WRITING_RUNS_IN_A_ROW
from inference_fleet.planning.plan import Plan, plan, study
from inference_fleet.planning.snapshot import Snapshot


def failing_for(name: str, work: Any) -> Any:
    def wrapped(snapshot: Snapshot, *words: Any, **named: Any) -> Any:
        if snapshot.deployment["metadata"]["name"] == name:
            raise KeyError("a fault of ours")
        return work(snapshot, *words, **named)

    return wrapped


async def test_an_object_that_cannot_be_planned_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciler, "plan", failing_for("bad", plan))
    monkeypatch.setattr(tick, "study", failing_for("bad", study))
    async with world() as w:
        w.deploy("bad")
        w.deploy("good")
        async with w.running(workers=1) as loop:
            await w.clock.advance(120)
            assert w.condition("Ready", "good") == "True Serving"
            assert w.status("bad") == {"observedGeneration": -1}, "nobody could look at it"
            assert loop.queue.failures(("chat", "bad")) > 3
            # And it is tried ever more seldom: every 0.2 s it would have been 600 times.
            assert loop.queue.retries < 20


async def test_an_object_whose_status_never_settles_is_slowed_down(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = itertools.count()

    def restless(snapshot: Snapshot, decision: Any, now: float) -> Plan:
        return Plan(status={"replicas": next(counter)})

    monkeypatch.setattr(reconciler, "plan", restless)
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance(600)
            assert WRITING_RUNS_IN_A_ROW < next(counter) < 100


async def test_a_throttled_object_waits_as_long_as_it_is_told() -> None:
    async with world() as w:
        tries: list[float] = []

        def throttle(verb: str, resource: ports.Resource, name: str) -> None:
            if verb == "create" and resource.plural == "replicasets":
                tries.append(w.clock.monotonic())
                raise ports.Throttled("slow down", retry_after_seconds=30)

        w.cluster.before = throttle
        async with w.running(tick_seconds=60, resync_seconds=3600):
            w.deploy()
            await w.clock.advance(50)
            assert len(tries) == 2
            assert tries[1] - tries[0] == 30


async def test_what_the_server_refuses_is_told_on_the_object_and_tried_again() -> None:
    async with world() as w:
        w.deploy()

        def refuse(verb: str, resource: ports.Resource, name: str) -> None:
            if resource.plural == "networkpolicies" or (verb == "create" and resource.plural == "services"):
                raise ports.Forbidden("quota of services is used up", status=403)

        w.cluster.before = refuse
        async with w.running():
            await w.clock.advance(120)
            assert len(w.pods.ready()) == 1  # the pods do not wait for the Service
            reasons = [event["reason"] for event in w.cluster.objects["events"].values()]
            assert "WriteRefused" in reasons
            w.cluster.before = lambda verb, resource, name: None
            await w.clock.advance(600)
            assert len(w.cluster.objects["services"]) == 2
