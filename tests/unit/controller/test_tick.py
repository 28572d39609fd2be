"""What the tick keeps of an object, and when it may be acted on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import pytest

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import FleetSamples, Object
from inference_fleet.adapters.resources import REPLICA_SETS
from inference_fleet.controller import tick
from inference_fleet.controller.work_queue import Key
from inference_fleet.scaling.types import Decision, HistogramSample

KEY = (NAMESPACE, "llama")


def raise_to(replica_set: Object, replicas: int) -> None:
    replica_set["spec"]["replicas"] = replicas


async def test_a_decision_made_before_an_object_was_suspended_is_not_acted_on_after_it() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running() as loop:
            await w.clock.advance(300)
            before = loop.tick.scaled[KEY].memory
            w.edit(suspend=True)
            await w.clock.advance(60)
            snapshot = loop.store.snapshot(KEY)
            assert snapshot is not None
            assert loop.tick.decision(KEY, snapshot) is None
            w.edit(suspend=False)
            await w.clock.advance(60)
            # What it has learned is no decision, and stays.
            assert loop.tick.scaled[KEY].memory.started == before.started
            assert w.condition("ScalingActive") == "True SignalsFresh"


async def test_an_object_that_cannot_be_scaled_holds_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(300)
            serving = w.desired()
            assert serving >= 3

            def fail(*_: object, **__: object) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(tick, "decide", fail)
            w.signals.load = {"llama": 0.0}
            await w.clock.advance(3600)
            assert w.desired() == serving
            assert w.condition("ScalingActive") == "False SignalsUnknown"


async def test_what_the_fleet_grants_is_acted_on_and_not_the_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_each(decisions: Mapping[Key, Decision]) -> Mapping[Key, Decision]:
        return {key: dataclasses.replace(wish, replicas=(("a", 1),)) for key, wish in decisions.items()}

    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        monkeypatch.setattr(tick, "allocate", one_each)
        async with w.running() as loop:
            await w.clock.advance(300)
            assert w.desired() == 1
            assert loop.tick.scaled[KEY].decision.recommended >= 3


async def test_the_memory_of_an_object_that_is_gone_is_forgotten() -> None:
    async with world() as w:
        w.deploy()
        async with w.running() as loop:
            await w.clock.advance(60)
            w.edit(suspend=True)
            await w.clock.advance(60)
            assert loop.tick.remembered
            (deployment,) = w.cluster.objects["inferencedeployments"].values()
            w.cluster.remove(tick.INFERENCE_DEPLOYMENTS, deployment)
            await w.clock.advance(60)
            assert not loop.tick.remembered


async def test_a_successor_of_the_same_name_does_not_follow_the_former_ones_decision() -> None:
    async with world() as w:
        w.deploy()
        async with w.running(tick_seconds=60) as loop:
            await w.clock.advance(70)
            (deployment,) = w.cluster.objects["inferencedeployments"].values()
            w.cluster.remove(tick.INFERENCE_DEPLOYMENTS, deployment)
            w.deploy()
            await w.clock.advance(5)
            assert KEY in loop.tick.scaled
            snapshot = loop.store.snapshot(KEY)
            assert snapshot is not None
            assert loop.tick.decision(KEY, snapshot) is None
            assert loop.tick.pod_loads(KEY) == {}


async def test_a_successor_of_the_same_name_has_learned_nothing() -> None:
    async with world() as w:
        w.deploy()
        async with w.running() as loop:
            await w.clock.advance(300)
            (deployment,) = w.cluster.objects["inferencedeployments"].values()
            w.cluster.remove(tick.INFERENCE_DEPLOYMENTS, deployment)
            w.deploy()
            born = w.clock.now()
            await w.clock.advance(30)
            started = loop.tick.scaled[KEY].memory.started
            assert started is not None
            assert started >= born


async def test_a_decision_lowers_once_and_not_again_what_somebody_has_raised_since() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running(tick_seconds=60):
            await w.clock.advance(600)
            before = w.desired()
            assert before >= 3
            w.signals.load = {"llama": 0.0}
            await w.clock.advance_until(lambda: w.desired() < before, within=3600)
            (pool,) = w.cluster.all(REPLICA_SETS)
            w.cluster.edit(REPLICA_SETS, pool["metadata"]["name"], NAMESPACE, lambda obj: raise_to(obj, before))
            await w.clock.advance(20)
            assert w.desired() == before  # until the next look


def silent(pod: str) -> Callable[[FleetSamples], FleetSamples]:
    return lambda honest: dataclasses.replace(honest, pods={k: v for k, v in honest.pods.items() if k[1] != pod})


def told(w: World) -> tuple[str, str]:
    """Of silent pods: by the condition, by the decision."""
    status = w.status()
    (active,) = [each for each in status["conditions"] if each["type"] == "ScalingActive"]
    return active["message"], status["scaling"]["lastDecision"]["message"]


async def test_a_silent_pod_is_named_by_condition_and_decision_and_so_is_the_next() -> None:
    async with world() as w:
        w.deploy(scaling={"mode": "Automatic", "minReplicas": 3, "maxReplicas": 6})
        w.signals.load = {"llama": 10.0}
        async with w.running(resync_seconds=86400):
            await w.clock.advance(600)
            pods = sorted(pod["metadata"]["name"] for pod in w.pods.ready())
            for pod in pods[:2]:
                w.signals.twist = silent(pod)
                await w.clock.advance(90)
                assert all(f"1 of 3 pods is silent: Prometheus has no sample of {pod}" in words for words in told(w))
                assert w.condition("ScalingActive") == "True SignalsFresh"
            w.signals.twist = lambda honest: honest
            await w.clock.advance(90)
            assert not any("silent" in words for words in told(w))


async def test_a_silent_pod_that_is_another_at_every_tick_is_no_write_at_every_tick() -> None:
    async with world() as w:
        w.deploy(scaling={"mode": "Automatic", "minReplicas": 3, "maxReplicas": 6})
        w.signals.load = {"llama": 10.0}
        async with w.running(resync_seconds=86400):
            await w.clock.advance(600)
            first, second, _ = sorted(pod["metadata"]["name"] for pod in w.pods.ready())
            w.signals.twist = silent(second)
            await w.clock.advance(60)
            since = len(w.cluster.writes)
            for _ in range(40):
                first, second = second, first
                w.signals.twist = silent(first)
                await w.clock.advance(15)
            # Told at once whenever it changes it would be forty.
            assert w.counted_writes(since) == []


async def test_histograms_that_go_missing_are_told_and_so_is_their_return() -> None:
    edge = HistogramSample("TimeToFirstToken", edge_seconds=1.0, good=9.0, total=9.0, sample_time=0.0)

    def whole(honest: FleetSamples) -> FleetSamples:
        return dataclasses.replace(honest, histograms={(*KEY, "a"): (edge,)})

    objective = {"name": "first", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"}
    async with world() as w:
        w.deploy(objectives=[objective])
        w.signals.load = {"llama": 10.0}
        w.signals.twist = whole
        async with w.running(resync_seconds=86400):
            await w.clock.advance(600)
            missing = "Prometheus has no vllm:time_to_first_token_seconds_bucket of a"
            assert missing not in told(w)[0]
            w.signals.twist = lambda honest: honest
            await w.clock.advance(30)
            assert missing in told(w)[0]
            w.signals.twist = whole
            await w.clock.advance(30)
            assert missing not in told(w)[0]


async def test_another_cause_of_unknown_signals_is_told_when_it_has_lasted_a_minute() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 10.0}
        async with w.running(resync_seconds=86400):
            await w.clock.advance(300)
            for cause in ("answers 503", "cannot be asked"):
                w.signals.twist = lambda _, cause=cause: FleetSamples(problem=cause)  # type: ignore[misc]
                await w.clock.advance(90)
                assert all(cause in words for words in told(w))
            since = len(w.cluster.writes)
            for tick in range(40):
                w.signals.twist = lambda _, cause=f"cause {tick % 2}": FleetSamples(problem=cause)  # type: ignore[misc]
                await w.clock.advance(15)
            assert w.counted_writes(since) == []
