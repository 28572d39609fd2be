"""A scaler that lost its memory goes on from what Prometheus remembers."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import FleetSamples, PastSamples
from inference_fleet.adapters.resources import CONFIG_MAPS
from inference_fleet.controller import refill
from inference_fleet.controller.checkpoints import DATA_KEY
from inference_fleet.controller.loop import Loop

KEY = (NAMESPACE, "llama")
NAME = "llama-scaler-memory"


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

        async def past(*, moments: Any, promised: Any) -> PastSamples:
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


async def test_there_is_an_end_to_the_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await served(w)
        asked = []
        past, monotonic = w.signals.past, w.clock.monotonic

        async def slow(**words: Any) -> PastSamples:
            asked.append(words["moments"])
            monkeypatch.setattr(w.clock, "monotonic", lambda: monotonic() + 4.0 * len(asked))
            return await past(**words)

        monkeypatch.setattr(w.signals, "past", slow)
        async with w.running() as loop:
            # The newest part is there.
            assert len(asked) == 1
            assert asked[0][-1] == pytest.approx(w.clock.now(), abs=1)
            assert loop.tick.scaled[KEY].memory.forecast.ticks == pytest.approx(refill.PART_TICKS, abs=2)
