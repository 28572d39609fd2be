"""What one tick's signals say together."""

from __future__ import annotations

from typing import Any

import pytest

from builders.scaling import limits, variant, variant_limits
from inference_fleet.scaling.lessons import Lessons, stands_ready, taught
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.preference import Preference
from inference_fleet.scaling.season import Season, Told
from inference_fleet.scaling.signals import read_signals
from inference_fleet.scaling.tick import Tick, tick_of
from inference_fleet.scaling.types import Observation

NOW = 1_000_000.0


def second_tick(**overrides: Any) -> tuple[ScalerMemory, Tick]:
    """The tick after a first look at the same engines, and the memory between the two."""
    bounds, memory = limits(), ScalerMemory(started=NOW - 3600.0)
    for now in (NOW - 15.0, NOW):
        seen = Observation((variant(at=now, work=now - NOW + 1000.0, **overrides),))
        load = read_signals(memory.pods, seen, seen_at=memory.seen_at, now=now)
        tick = tick_of(memory, seen, bounds, load, variants=(), now=now)
        if now < NOW:
            memory = ScalerMemory(started=memory.started, pods=load.pods, seen_at=now, learned_at=now)
    return memory, tick


def lessons(**overrides: Any) -> Lessons:
    return taught(*second_tick(**overrides))


def test_a_queue_is_served_by_all_replicas_that_are_ready() -> None:
    _, one = second_tick(ready=1, running=4.0, waiting=12.0)
    _, four = second_tick(ready=4, running=4.0, waiting=12.0)
    assert one.queue_seconds > 0
    assert four.queue_seconds == pytest.approx(one.queue_seconds / 4, rel=0.1)


def test_late_requests_of_a_queue_are_learned_at_the_load_that_would_work_it_off() -> None:
    queued, (_, tick) = lessons(ready=1, running=1.0, waiting=1e6), second_tick(ready=1, running=1.0, waiting=1e6)
    # In half a minute, besides what comes.
    assert queued.overload.booked == pytest.approx(tick.queue_seconds / 30, rel=0.01)
    assert queued.overload.booked > 10 * lessons(ready=1, running=1.0).overload.booked


def test_the_load_at_which_late_requests_are_learned_is_that_of_one_replica() -> None:
    one, four = lessons(ready=1, running=8.0), lessons(ready=4, running=8.0)
    assert one.overload.booked == pytest.approx(8 / 16 / 0.92, rel=0.01)
    assert four.overload.booked == pytest.approx(one.overload.booked / 4, rel=0.01)


def test_replicas_that_stood_ready_for_an_hour_are_counted_by_what_they_carry() -> None:
    _, tick = second_tick(ready=1, running=1.0)
    small, large = tick.carriers[0], tick.carriers[0]._replace(limits=variant_limits("large"), worth=4.0)
    tick = tick._replace(carriers=(small, large))
    asked = Season(told=(Told(tick.now - tick.lead, usual=1.0, season=2.0),))
    for main, ready in (("large", 8.0), ("a", 2.0), ("gone", 2.0)):
        assert stands_ready(ScalerMemory(season=asked, preference=Preference(main)), tick) == ready
    assert stands_ready(ScalerMemory(), tick) == 0.0
