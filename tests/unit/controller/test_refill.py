"""A scaler that lost its memory goes on from what Prometheus remembers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from builders.clock import VirtualClock
from builders.fleet_signals import FleetSignals
from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import FleetSamples, PastSamples
from inference_fleet.adapters.resources import CONFIG_MAPS, INFERENCE_DEPLOYMENTS
from inference_fleet.controller import refill
from inference_fleet.controller.checkpoints import DATA_KEY
from inference_fleet.controller.fleet_metrics import fleet_metrics
from inference_fleet.controller.loop import Loop
from inference_fleet.controller.tick import Waiting
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Rule

KEY = (NAMESPACE, "llama")
NAME = "llama-scaler-memory"


Slow = Callable[..., None]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Have the past of a world answered after so many seconds."""

    def make(w: World, *, seconds: float) -> None:
        past = FleetSignals.past

        async def late(**words: Any) -> PastSamples:
            answer = await past(w.signals, **words)
            await w.clock.sleep(seconds)
            return answer

        monkeypatch.setattr(w.signals, "past", late)

    return make


async def served(w: World, *, seconds: float = 2400.0) -> Loop:
    """A deployment that has served under load; its operator is gone, and nothing of it was saved."""
    w.signals.recorded = []
    w.deploy()
    w.signals.load = {"llama": 40.0}
    async with w.running() as loop:
        await w.clock.advance(seconds)
    if saved := w.cluster.find(CONFIG_MAPS, NAME, NAMESPACE):
        w.cluster.remove(CONFIG_MAPS, saved)
    return loop


async def fewer(w: World, *, than: int) -> float:
    """Seconds until there are fewer replicas."""
    return await w.clock.advance_until(lambda: w.desired() < than, within=3600)


async def test_a_scaler_without_a_checkpoint_learns_the_last_half_hour_again() -> None:
    async with world() as w:
        former = (await served(w)).tick.scaled[KEY].memory
        async with w.running() as loop:
            memory = loop.tick.scaled[KEY].memory
            assert memory.started == pytest.approx(w.clock.now() - 1800, abs=60)
            assert memory.forecast.ticks == pytest.approx(120, abs=3)
            assert memory.forecast.last_demand == pytest.approx(former.forecast.last_demand, rel=0.1)
            assert memory.traffic.mean_output == pytest.approx(former.traffic.mean_output, rel=0.1)
            assert len(memory.needs) > 20


def without_a_pod(answer: tuple[float, FleetSamples]) -> tuple[float, FleetSamples]:
    at, fleet = answer
    return at, dataclasses.replace(fleet, pods=dict(sorted(fleet.pods.items())[1:]))


@pytest.mark.parametrize(
    ("first", "last"),
    [
        pytest.param(20, 19, id="a scrape in the midst"),
        pytest.param(None, 60, id="all until a quarter of an hour ago"),
        pytest.param(None, 0, id="all of it"),
    ],
)
async def test_a_pod_that_was_silent_within_the_half_hour_brings_no_load_of_its_past(
    first: int | None, last: int
) -> None:
    async with world() as w:
        former = (await served(w)).tick.scaled[KEY].memory
        serving, past = w.desired(), w.signals.recorded
        assert past is not None
        for place in range(0 if first is None else len(past) - first, len(past) - last):
            past[place] = without_a_pod(past[place])
        async with w.running() as loop:
            assert not loop.tick.waiting
            for _ in range(4):
                memory = loop.tick.scaled[KEY].memory
                # With all that it ever counted read as of one tick it would be 9 to 20, "9 wanted" for ten minutes.
                assert max(count for _, count in memory.needs) <= serving + 1
                assert memory.forecast.last_demand == pytest.approx(former.forecast.last_demand, rel=0.4)
                await w.clock.advance(15)


async def test_the_replay_decides_nothing_and_lowers_nothing_before_a_cold_start() -> None:
    async with world() as w:
        await served(w)
        serving = w.desired()
        assert serving >= 3
        w.signals.load = {"llama": 0.0}
        begun = w.clock.now()
        async with w.running() as loop:
            assert w.desired() == serving
            assert loop.tick.scaled[KEY].memory.last_down == begun
            assert await fewer(w, than=serving) >= 20


async def test_it_goes_down_sooner_than_a_scaler_that_knows_nothing() -> None:
    took = {}
    for remembers in (True, False):
        async with world() as w:
            await served(w)
            serving = w.desired()
            if not remembers:
                w.signals.recorded = None
            w.signals.load = {"llama": 4.0}
            async with w.running():
                took[remembers] = await fewer(w, than=serving)
    assert took[True] < took[False]


async def test_with_a_recent_checkpoint_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(600)

        async def fail(**_: Any) -> PastSamples:
            raise AssertionError("asked")

        monkeypatch.setattr(w.signals, "past", fail)
        async with w.running() as loop:
            assert loop.tick.scaled[KEY].memory.forecast.ticks > 30


async def test_a_checkpoint_of_an_hour_ago_goes_on_with_what_came_after_it() -> None:
    async with world() as w:
        w.signals.recorded = []
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running() as loop:
            await w.clock.advance(1200)
            await loop.checkpoints.save_all()
            old = w.cluster.find(CONFIG_MAPS, NAME, NAMESPACE)
            assert old is not None
            text = old["data"][DATA_KEY]
            begun = loop.tick.scaled[KEY].memory.started
            await w.clock.advance(3600)
        w.cluster.edit(CONFIG_MAPS, NAME, NAMESPACE, lambda obj: obj["data"].update({DATA_KEY: text}))
        async with w.running() as loop:
            memory = loop.tick.scaled[KEY].memory
            assert memory.started == begun
            assert memory.forecast.ticks == pytest.approx(80 + 120, abs=8)


@pytest.mark.parametrize("answer", ["a problem", "nothing", "nonsense"])
async def test_without_an_answer_the_scaler_holds_and_the_log_says_so(
    answer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as w:
        await served(w)
        serving = w.desired()

        async def past(*, moments: Any, **_: Any) -> PastSamples:
            if answer == "a problem":
                return PastSamples(problem="Prometheus cannot be asked")
            if answer == "nothing":
                return PastSamples(tuple((at, FleetSamples()) for at in moments))
            lies = dataclasses.replace(w.signals.recorded[-1][1], histograms=None)  # type: ignore[index, arg-type]
            return PastSamples(tuple((at, lies) for at in moments))

        monkeypatch.setattr(w.signals, "past", past)
        w.signals.load = {"llama": 0.0}
        with caplog.at_level(logging.INFO):
            async with w.running() as loop:
                assert loop.tick.scaled[KEY].memory.forecast.ticks == 0
                await w.clock.advance(60)
                assert w.desired() == serving
        assert {
            "a problem": "the last minutes cannot be asked for",
            "nothing": "0 of 1 scalers",
            "nonsense": "cannot be gone through again",
        }[answer] in caplog.text


async def test_the_first_tick_is_not_kept_waiting_and_takes_nothing_away(slow: Slow) -> None:
    async with world() as w:
        await served(w)
        serving = w.desired()
        slow(w, seconds=100.0)
        w.signals.load = {"llama": 0.0}
        begun = w.clock.now()
        async with w.running() as loop:
            assert loop.tick.last_tick is not None
            assert loop.tick.looked_at == begun
            await w.clock.advance(90)
            decision = loop.tick.scaled[KEY].decision
            assert w.desired() == serving
            assert decision.rule is Rule.HOLD
            assert "reads the last half hour back from Prometheus" in decision.message
            assert "until 08:45:00 at the latest" in decision.message
            await w.clock.advance(30)
            assert loop.tick.scaled[KEY].memory.forecast.ticks > 100
            assert "half hour" not in loop.tick.scaled[KEY].decision.message


async def test_who_waits_is_scaled_up_as_any_other(slow: Slow) -> None:
    async with world() as w:
        await served(w)
        serving = w.desired()
        slow(w, seconds=200.0)
        w.signals.load = {"llama": 80.0}
        async with w.running():
            assert await w.clock.advance_until(lambda: w.desired() > serving, within=60) < 60


async def test_an_old_checkpoint_does_not_lower_while_its_gap_is_still_asked_for(slow: Slow) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(2400)
        serving = w.desired()
        w.signals.recorded = []
        w.signals.load = {"llama": 4.0}
        await w.clock.advance(600)
        slow(w, seconds=250.0)
        async with w.running() as loop:
            assert KEY in loop.tick.waiting
            await w.clock.advance(240)
            assert w.desired() == serving


async def test_what_was_lived_while_it_waited_is_part_of_what_it_knows(slow: Slow) -> None:
    async with world() as w:
        await served(w)
        slow(w, seconds=40.0)
        async with w.running() as loop:
            await w.clock.advance(41)
            memory = loop.tick.scaled[KEY].memory
            assert memory.seen_at == loop.tick.looked_at
            assert memory.forecast.ticks == pytest.approx(120, abs=3)


async def test_it_ends_after_five_minutes_and_the_rest_learn_anew(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        await served(w)
        w.signals.recorded = None
        with caplog.at_level(logging.INFO):
            async with w.running() as loop:
                await w.clock.advance(refill.LONGEST_SECONDS - 1)
                assert KEY in loop.tick.waiting
                await w.clock.advance(2)
                assert not loop.tick.waiting
                assert loop.tick.scaled[KEY].memory.last_down == pytest.approx(w.clock.now(), abs=2)
        assert "0 of 1 scalers go on" in caplog.text


async def test_a_prometheus_that_comes_back_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await served(w)
        past = w.signals.past
        back = w.clock.now() + 60

        async def later(**words: Any) -> PastSamples:
            return await past(**words) if w.clock.now() >= back else PastSamples(problem="Prometheus cannot be asked")

        monkeypatch.setattr(w.signals, "past", later)
        async with w.running() as loop:
            assert KEY in loop.tick.waiting
            await w.clock.advance(61)
            assert loop.tick.scaled[KEY].memory.forecast.ticks > 100


async def test_all_have_their_turn_a_few_at_a_time_the_scarcest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refill, "MOST_DEPLOYMENTS", 2)
    async with world() as w:
        w.signals.recorded = []
        loads = {"a": 10.0, "b": 40.0, "c": 20.0, "d": 5.0, "e": 30.0}
        for name in loads:
            w.deploy(name, scaling={"mode": "Automatic", "minReplicas": 3, "maxReplicas": 3})
        w.signals.load = loads
        async with w.running():
            await w.clock.advance(1200)
        for name in loads:
            w.cluster.remove(CONFIG_MAPS, w.cluster.find(CONFIG_MAPS, f"{name}-scaler-memory", NAMESPACE) or {})
        asked = []
        past = w.signals.past

        async def noted(**words: Any) -> PastSamples:
            asked.append([name for _, name in words["of"]])
            return await past(**words)

        monkeypatch.setattr(w.signals, "past", noted)
        async with w.running() as loop:
            await w.clock.advance(20)
            assert [loop.tick.scaled[NAMESPACE, name].memory.forecast.ticks > 60 for name in loads] == [True] * 5
        assert asked == [["b", "e"], ["c", "a"], ["d"]]


async def test_one_with_more_pods_than_are_asked_about_at_once_is_asked_about_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refill, "MOST_PODS", 1)
    async with world() as w:
        await served(w)
        assert w.desired() >= 3
        asked = []
        past = w.signals.past

        async def noted(**words: Any) -> PastSamples:
            asked.append(len(words["moments"]))
            return await past(**words)

        monkeypatch.setattr(w.signals, "past", noted)
        loop = w.loop()
        loop._refill._pods_at_once = 1
        async with w.running(loop):
            assert loop.tick.scaled[KEY].memory.forecast.ticks == pytest.approx(120, abs=3)
        assert sum(asked) == refill.WINDOW_TICKS
        assert max(asked) <= refill.WINDOW_TICKS // 3


async def test_one_that_cannot_be_asked_about_does_not_stand_before_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refill, "MOST_DEPLOYMENTS", 1)
    async with world() as w:
        w.signals.recorded = []
        w.deploy("bad")
        w.deploy("good")
        w.signals.load = {"bad": 40.0, "good": 10.0}
        async with w.running():
            await w.clock.advance(1200)
        for name in ("bad", "good"):
            w.cluster.remove(CONFIG_MAPS, w.cluster.find(CONFIG_MAPS, f"{name}-scaler-memory", NAMESPACE) or {})
        past = w.signals.past

        async def refuses_one(**words: Any) -> PastSamples:
            if (NAMESPACE, "bad") in words["of"]:
                return PastSamples(problem="too many samples")
            return await past(**words)

        monkeypatch.setattr(w.signals, "past", refuses_one)
        async with w.running() as loop:
            await w.clock.advance(refill.RETRY_SECONDS + 1)
            assert set(loop.tick.waiting) == {(NAMESPACE, "bad")}


async def test_a_successor_is_told_of_the_last_minutes_too_when_it_ends_in_the_midst(slow: Slow) -> None:
    async with world() as w:
        await served(w)
        slow(w, seconds=1000.0)
        async with w.running():
            await w.clock.advance(60)
        # Its own few ticks are no memory that a successor could go on from.
        assert w.cluster.find(CONFIG_MAPS, NAME, NAMESPACE) is None
        slow(w, seconds=0.0)
        async with w.running() as loop:
            assert loop.tick.scaled[KEY].memory.forecast.ticks > 100


async def test_one_that_is_suspended_or_deleted_meanwhile_is_left_alone(slow: Slow) -> None:
    for change in ("suspended", "deleted"):
        async with world() as w:
            await served(w)
            slow(w, seconds=30.0)
            async with w.running() as loop:
                if change == "suspended":
                    w.edit(suspend=True)
                else:
                    w.cluster.remove(INFERENCE_DEPLOYMENTS, w.cluster.find(INFERENCE_DEPLOYMENTS, "llama", NAMESPACE))
                await w.clock.advance(40)
                assert not loop.tick.waiting
                assert KEY not in loop.tick.scaled


async def test_one_that_is_deleted_before_its_turn_does_not_end_the_others(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refill, "MOST_DEPLOYMENTS", 1)
    async with world() as w:
        w.signals.recorded = []
        w.signals.load = {"a": 40.0, "b": 20.0, "c": 10.0}
        for name in w.signals.load:
            w.deploy(name)
        async with w.running():
            await w.clock.advance(1200)
        for name in w.signals.load:
            w.cluster.remove(CONFIG_MAPS, w.cluster.find(CONFIG_MAPS, f"{name}-scaler-memory", NAMESPACE) or {})
        slow(w, seconds=5.0)
        async with w.running() as loop:
            w.cluster.remove(INFERENCE_DEPLOYMENTS, w.cluster.find(INFERENCE_DEPLOYMENTS, "b", NAMESPACE) or {})
            await w.clock.advance(16)
            assert not loop.tick.waiting
            assert loop.tick.scaled[NAMESPACE, "c"].memory.forecast.ticks > 60


async def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    async with world() as w:
        await served(w)
        loop = w.loop()
        async with w.running(loop):
            ahead = ScalerMemory(seen_at=w.clock.now() + 3600)
            loop.tick.waiting[KEY] = Waiting(loop.tick.scaled[KEY].uid, ahead, begun=0.0, until=0.0)
            await loop._refill.run()
            assert not loop.tick.waiting


async def test_work_in_slices_leaves_the_others_their_share() -> None:
    class Clock(VirtualClock):
        paused = 0.0

        async def sleep(self, seconds: float) -> None:
            self.paused += seconds
            self._time += seconds

    clock = Clock()
    slices = refill._Slices(clock)
    for _ in range(1000):
        clock._time += 0.001
        await slices.turn()
    assert clock.paused == pytest.approx(1.0 * (1 / refill.SHARE - 1), rel=0.02)


async def test_what_waits_is_a_metric(slow: Slow) -> None:
    async with world() as w:
        await served(w)
        slow(w, seconds=20.0)
        async with w.running() as loop:
            assert pending(loop) == [KEY]
            await w.clock.advance(21)
            assert pending(loop) == []


def pending(loop: Loop) -> list[tuple[str, ...]]:
    families = {family.name: family for family in fleet_metrics(loop.store, loop.tick, now=0.0)}
    return [tuple(sample.labels.values()) for sample in families["inference_fleet_replay_pending"].samples]
