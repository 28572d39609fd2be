"""Growth of the load over a cold start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scaling import Scaler, limits, variant
from inference_fleet.scaling.growth import growth
from inference_fleet.scaling.types import Rule

RISING = ((0.0, 4.0), (15.0, 6.0), (30.0, 8.0))


def test_a_rise_goes_on() -> None:
    assert growth(RISING, now=45.0, load=10.0, ahead_seconds=30.0) == pytest.approx(4.0)


def test_a_fall_is_no_growth() -> None:
    assert growth(tuple((time, 20 - load) for time, load in RISING), now=45.0, load=2.0, ahead_seconds=30.0) == 0.0


def test_too_few_points_say_nothing() -> None:
    assert growth(RISING[:2], now=45.0, load=10.0, ahead_seconds=30.0) == 0.0


def test_points_from_long_ago_say_nothing() -> None:
    assert growth(RISING, now=500.0, load=10.0, ahead_seconds=30.0) == 0.0


def test_a_single_step_is_no_trend() -> None:
    assert growth(((0.0, 4.0), (15.0, 4.0), (30.0, 4.0)), now=45.0, load=80.0, ahead_seconds=30.0) == 0.0


def test_a_burst_is_believed_up_to_a_doubling() -> None:
    assert growth(RISING, now=45.0, load=50.0, ahead_seconds=600.0) == 50.0


def test_growth_is_said_by_its_own_rule() -> None:
    scaler = Scaler(limits())
    for running in (2, 5, 8):
        scaler.tick(variant(at=scaler.now, ready=1, running=running))
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=11))
    assert (decision.total, decision.rule) == (2, Rule.FORECAST)
    assert decision.message.startswith("11 requests now, 15 in 20 s")


@given(
    st.lists(st.tuples(st.floats(0, 200), st.floats(0, 1e6)), max_size=50),
    st.floats(0, 1e6),
    st.floats(0, 1e4),
)
def test_growth_is_never_negative_and_bounded(loads: list[tuple[float, float]], load: float, ahead: float) -> None:
    assert 0.0 <= growth(tuple(loads), now=200.0, load=load, ahead_seconds=ahead) <= load
