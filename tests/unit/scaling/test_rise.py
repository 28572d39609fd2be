"""A rise that has just begun."""

from __future__ import annotations

import pytest

from inference_fleet.scaling.rise import UNTIL_SECONDS, Rise


def after(rates: list[float], *, per_replica: float = 2.0) -> Rise:
    rise = Rise()
    for rate in rates:
        rise = rise.learned(rate / per_replica, arrivals=rate, seconds=15.0)
    return rise


def test_a_ramp_is_drawn_out_straight() -> None:
    ramp = after([1.0 + 0.05 * 15 * tick for tick in range(8)])  # 0.05 requests per second more every second
    in_100_seconds = (1.0 + 0.05 * (15 * 7 + 100)) / 2.0
    assert ramp.ahead(100.0) == pytest.approx(in_100_seconds, rel=0.15)


def test_a_difference_that_chance_explains_is_no_rise() -> None:
    assert after([1.0] * 8 + [1.2]).ahead(100.0) == 0.0


def test_nothing_that_falls_or_stays_is_a_rise() -> None:
    assert after([10.0] * 20).ahead(100.0) == 0.0
    assert after([10.0] * 8 + [5.0] * 2).ahead(100.0) == 0.0
    assert Rise().ahead(100.0) == 0.0


def test_later_in_life_the_regression_knows_better() -> None:
    ticks = int(UNTIL_SECONDS / 15)
    assert after([2.0] * ticks + [20.0] * 4).ahead(100.0) == 0.0
