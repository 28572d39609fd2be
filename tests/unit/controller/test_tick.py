"""What the tick keeps of an object, and when it may be acted on."""

from __future__ import annotations

import pytest

from builders.operator_world import NAMESPACE, world
from inference_fleet.controller import tick

KEY = (NAMESPACE, "llama")


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
