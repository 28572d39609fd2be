"""A rise that has just begun."""

from __future__ import annotations

import pytest

from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.rise import FEWEST_TICKS, MOST_GROWTH, UNTIL_SECONDS, Rise

PER_REPLICA = 2.0


def after(rates: list[float], *, demands: list[float] | None = None, seconds: float = 15.0) -> Rise:
    rise = Rise()
    for rate, demand in zip(rates, demands or [rate / PER_REPLICA for rate in rates], strict=True):
        rise = rise.learned(demand, arrivals=rate, seconds=seconds)
    return rise


def ramp(ticks: int, *, begin: float, per_second: float, seconds: float = 15.0) -> list[float]:
    """Requests per second in the middle of each tick."""
    return [begin + per_second * seconds * (tick + 0.5) for tick in range(ticks)]


@pytest.mark.parametrize("ticks", [4, 8, 40])
def test_a_ramp_is_drawn_out_straight(ticks: int) -> None:
    rise = after(ramp(ticks, begin=3.0, per_second=0.1))
    in_50_seconds = (3.0 + 0.1 * (15 * ticks + 50)) / PER_REPLICA
    assert rise.ahead(50.0) == pytest.approx(in_50_seconds, rel=0.05)


def test_a_ramp_that_was_there_from_the_first_tick_is_seen_within_four() -> None:
    assert after(ramp(4, begin=0.0, per_second=0.3, seconds=5.0), seconds=5.0).ahead(50.0) > 0


def test_a_rise_is_believed_up_to_three_times_what_is_there() -> None:
    # One that began after ten minutes of little: what was seen is longer than the rise.
    rise = after([1.0] * 40 + ramp(12, begin=1.0, per_second=0.5))
    now = (1.0 + 0.5 * 180) / PER_REPLICA
    assert rise.ahead(1e6) == pytest.approx(MOST_GROWTH * now, rel=0.1)


def test_a_rise_is_drawn_out_no_further_than_it_was_seen() -> None:
    rise = after(ramp(4, begin=3.0, per_second=0.1))
    assert rise.ahead(60.0) == rise.ahead(145.0) > rise.ahead(50.0)


def test_a_difference_that_chance_explains_is_no_rise() -> None:
    assert after([1.0] * 8 + [1.2]).ahead(100.0) == 0.0


def test_nothing_that_falls_or_stays_is_a_rise() -> None:
    assert after([10.0] * 20).ahead(100.0) == 0.0
    assert after([10.0] * 8 + [5.0] * 2).ahead(100.0) == 0.0
    assert after([0.0] * 8).ahead(100.0) == 0.0
    assert Rise().ahead(100.0) == 0.0


def test_replicas_that_fill_up_are_no_rise() -> None:
    even = after([10.0] * 8, demands=[0.5 * tick for tick in range(8)])
    assert even.ahead(100.0) == 0.0
    rates = ramp(8, begin=10.0, per_second=0.05)
    filling = after(rates, demands=[0.5 * (tick + 0.5) for tick in range(8)])
    now = 0.5 * 8
    growth = 1 + 0.05 * 100 / (10.0 + 0.05 * 120)
    assert filling.ahead(100.0) == pytest.approx(now * growth, rel=0.05)


def test_a_load_that_rises_while_demand_does_not_asks_for_no_more() -> None:
    assert after(ramp(8, begin=1.0, per_second=0.1), demands=[3.0] * 8).ahead(100.0) == 0.0


def test_too_few_ticks_are_no_line() -> None:
    assert after(ramp(FEWEST_TICKS - 1, begin=0.0, per_second=1.0)).ahead(100.0) == 0.0


def test_later_in_life_the_regression_knows_better() -> None:
    ticks = int(UNTIL_SECONDS / 15)
    assert after([2.0] * ticks + [20.0] * 4).ahead(100.0) == 0.0


def test_a_checkpoint_of_the_former_averages_begins_anew() -> None:
    text = ScalerMemory.empty().to_json().replace('"rise":{', '"rise":{"short_demand":2.0,"age":600.0,')
    memory = ScalerMemory.from_json(text)
    assert memory is not None
    assert memory.rise == Rise()
