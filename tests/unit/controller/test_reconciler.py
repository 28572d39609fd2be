"""One object's trouble is its own."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from builders.operator_world import world
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS
from inference_fleet.controller import reconciler, tick
from inference_fleet.controller.reconciler import WRITING_RUNS_IN_A_ROW
from inference_fleet.planning.plan import Plan, plan
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.study import study


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


async def test_a_status_is_not_written_over_an_object_that_has_changed_since_the_plan() -> None:
    async with world() as w:
        w.deploy(scaling={"mode": "Manual"}, replicas=2)
        async with w.running():
            await w.clock.advance(60)
            written: list[str] = []

            def note(verb: str, resource: ports.Resource, name: str) -> None:
                if verb == "apply" and resource.plural == "inferencedeployments":
                    written.append(str(w.cluster.find(resource, name, "chat")["spec"]["replicas"]))  # type: ignore[index]
                if verb == "patch" and resource.plural == "replicasets" and not written:
                    # The user changes the count while the plan for the former one is being carried out.
                    w.edit(replicas=4)

            w.cluster.before = note
            w.edit(replicas=3)
            await w.clock.advance(60)
            assert w.status()["scaling"]["desiredReplicas"] == 4
            assert w.desired() == 4


async def test_nothing_is_told_of_a_plan_that_was_made_on_an_old_view() -> None:
    async with world() as w:
        w.deploy(scaling={"mode": "Manual"}, replicas=1)
        async with w.running(resync_seconds=3600):
            await w.clock.advance(60)
            told: list[int] = []

            def conflict(verb: str, resource: ports.Resource, name: str) -> None:
                if verb == "apply" and resource.plural == "inferencedeployments":
                    told.append(1)
                if verb == "patch" and resource.plural == "replicasets":
                    raise ports.Conflict("it has changed", status=409)

            w.cluster.before = conflict
            w.edit(replicas=3)
            await w.clock.advance(5)
            assert told == []
            assert w.status()["scaling"]["desiredReplicas"] == 1


async def test_series_of_an_object_that_is_gone_are_gone() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running() as loop:
            await w.clock.advance(120)
            assert b'inference_fleet_scaling_decisions_total{inference_deployment="llama"' in loop.telemetry.page()
            (deployment,) = w.cluster.objects["inferencedeployments"].values()
            w.cluster.remove(INFERENCE_DEPLOYMENTS, deployment)
            await w.clock.advance(60)
            assert b'inference_deployment="llama"' not in loop.telemetry.page()
