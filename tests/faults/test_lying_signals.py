"""Whatever Prometheus does, no replica is taken away because of it, and the object says that it is not believed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest

from builders.operator_world import world
from inference_fleet.adapters.ports import FleetSamples
from inference_fleet.scaling.types import PodSample


def every_pod(**lie: float | None) -> Callable[[FleetSamples], FleetSamples]:
    def twist(honest: FleetSamples) -> FleetSamples:
        return FleetSamples(pods={key: dataclasses.replace(sample, **lie) for key, sample in honest.pods.items()})

    return twist


def old(sample: PodSample) -> PodSample:
    assert sample.sample_time is not None
    return dataclasses.replace(sample, sample_time=sample.sample_time - 600, running=0.0)


LIES: dict[str, Callable[[FleetSamples], FleetSamples]] = {
    "absent": lambda honest: FleetSamples(problem="Prometheus cannot be asked"),
    "empty": lambda honest: FleetSamples(),
    "running unknown": every_pod(running=None),
    "nan": every_pod(running=math.nan, waiting=math.nan),
    "negative": every_pod(running=-5.0),
    "no sample time": every_pod(sample_time=None),
    "no counters": every_pod(generation_tokens=None, running=0.0),
    "old": lambda honest: FleetSamples(pods={key: old(sample) for key, sample in honest.pods.items()}),
    "one pod of many": lambda honest: FleetSamples(pods=dict(list(every_pod(running=0.0)(honest).pods.items())[:1])),
}


@pytest.mark.parametrize("lie", LIES, ids=lambda name: name.replace(" ", "-"))
async def test_a_prometheus_that_cannot_be_believed_never_lowers(lie: str) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(600)
            before = w.desired()
            assert before >= 3
            assert w.condition("ScalingActive") == "True SignalsFresh"
            w.signals.twist = LIES[lie]
            least = before
            for _ in range(120):
                await w.clock.advance(30)
                least = min(least, w.desired())
            assert least == before  # an hour of silence read as no load would have been the minimum, 1
            if lie != "one pod of many":
                assert w.condition("ScalingActive") == "False SignalsUnknown"
            w.signals.twist = lambda honest: honest
            w.signals.load = {"llama": 1.0}
            # The lie took effect on the count alone: honest signals lower it as ever.
            await w.clock.advance_until(lambda: w.desired() == 1, within=3600)


async def test_a_restart_without_prometheus_keeps_the_count() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(600)
        before = w.desired()
        assert before >= 3
        w.signals.twist = LIES["absent"]
        async with w.running():
            await w.clock.advance(3600)
            assert w.desired() == before


async def test_where_prometheus_answers_again_and_the_engines_do_not_the_status_says_so_at_once() -> None:
    def told() -> tuple[str, str]:
        status = w.status()
        (active,) = [condition for condition in status["conditions"] if condition["type"] == "ScalingActive"]
        return active["message"], status["scaling"]["lastDecision"]["message"]

    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(600)
            w.signals.twist = LIES["absent"]
            await w.clock.advance(60)
            assert all("Prometheus cannot be asked" in words for words in told())
            w.signals.twist = LIES["empty"]
            await w.clock.advance(30)
            assert all("pods are silent" in words for words in told())
