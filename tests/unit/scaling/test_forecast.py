"""Demand ahead, and how wrong such forecasts have been."""

from __future__ import annotations

import math
import random
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_fleet.scaling.forecast import FEATURES, MAXIMUM_ERRORS, Errors, Forecast, carried_over

LEAD = 150.0


def fed(demands: list[float], forecast: Forecast | None = None, *, start: float = 0.0) -> Forecast:
    forecast = forecast or Forecast()
    for number, demand in enumerate(demands):
        now = start + 15.0 * number
        forecast = forecast.learned(demand, felt=demand, seconds=15.0, lead_seconds=LEAD, now=now)
    return forecast


def quantile(forecast: Forecast, share: float) -> float:
    seen, outlook = 0.0, forecast.outlook()
    for error, weight in zip(outlook.errors, outlook.weights, strict=True):
        seen += weight
        if seen >= share:
            return error
    raise AssertionError


def test_a_constant_demand_is_forecast_as_it_is() -> None:
    assert fed([4.0] * 400).outlook().demand == pytest.approx(4.0, rel=0.02)


def test_a_scaler_that_knows_no_errors_expects_a_quarter_either_way() -> None:
    outlook = fed([4.0] * 20).outlook()
    assert min(outlook.errors) == pytest.approx(-0.24)
    assert max(outlook.errors) == pytest.approx(0.24, rel=0.05)


def test_its_error_is_told_as_the_usual_share_by_which_it_was_off() -> None:
    assert Forecast().error_ratio is None
    quarters = array("d", [math.log(1.25), -math.log(1.25)])
    off_by_a_quarter = replace(Forecast(), errors=Errors(array("d", [1.0, 2.0]), quarters))
    assert off_by_a_quarter.error_ratio == pytest.approx(0.25)


def test_a_steady_demand_makes_it_sure_and_a_noisy_one_makes_it_careful() -> None:
    chance = random.Random(2)
    steady = fed([4.0] * 600)
    noisy = fed([4.0 * math.exp(chance.gauss(0, 0.4)) for _ in range(900)])
    assert quantile(steady, 0.99) < 0.02
    assert quantile(noisy, 0.99) > 0.4


def test_a_crowd_that_replicas_stood_ready_for_is_no_error() -> None:
    steady = fed([3.0] * 400)
    due = 15.0 * 400

    def error_of(came: float, *, expected: float) -> float:
        later = steady.learned(came, felt=came, seconds=15.0, lead_seconds=LEAD, now=due, expected=expected)
        return later.errors.errors[-1]

    assert error_of(8.0, expected=0.0) == pytest.approx(math.log(8 / 3), abs=0.02)
    assert error_of(8.0, expected=10.0) == 0.0
    assert error_of(12.0, expected=10.0) == pytest.approx(math.log(12 / 10), abs=0.02)
    # Fewer than the forecast stood ready, or fewer requests came than it said: an error like any other.
    assert error_of(8.0, expected=2.0) == pytest.approx(math.log(8 / 3), abs=0.02)
    assert error_of(1.0, expected=10.0) == pytest.approx(math.log(1 / 3), abs=0.02)


def test_traffic_that_returns_to_its_mean_teaches_to_look_at_slow_averages() -> None:
    chance = random.Random(3)
    demands = [4.0 * (2.0 if chance.random() < 0.1 else 1.0) for _ in range(3000)]
    forecast = fed(demands)
    after_a_spike = fed([8.0] * 2, forecast, start=15.0 * 3000).outlook().demand
    assert after_a_spike < 5.5  # a fast average alone says more than 7


def test_a_climb_is_extrapolated_once_climbs_were_seen() -> None:
    wave = [4.0 * math.exp(0.7 * math.sin(2 * math.pi * tick / 240)) for tick in range(6000)]
    rising = fed(wave[:5760]).outlook().demand  # at 5760 the wave crosses its mean upwards
    assert rising > 4.2


def test_a_forecast_stays_below_three_times_what_was_seen() -> None:
    forecast = Forecast(weights=(5.0, 3.0, 3.0, 3.0, 3.0))
    assert fed([1.0, 2.0, 4.0], forecast).outlook().demand <= 12.0


def test_after_three_doublings_in_a_row_a_fourth_is_not_as_likely() -> None:
    steps = [float(2 ** (tick // 120)) for tick in range(480)]
    errors = fed(steps).outlook().errors
    plain = Forecast(top=1e9)  # one that has seen more than this before
    assert max(errors) < 0.9 * max(fed(steps, plain).outlook().errors)


def test_a_jump_is_carried_over_as_no_more_replicas_and_noise_as_a_share() -> None:
    one, four, six = math.log(1.0), math.log(4.0), math.log(6.0)
    assert math.exp(carried_over(math.log(3.0), four, to=six)) == pytest.approx(14 / 6)  # 6 -> 14; as a share 18
    assert math.exp(carried_over(math.log(3.0), one, to=six)) == pytest.approx(1.5)  # 8 is less than half as much again
    assert math.exp(carried_over(math.log(1.2), one, to=six)) == pytest.approx(1.2)  # noise: in replicas 1.03
    assert math.exp(carried_over(math.log(8 / 6), six, to=one)) == pytest.approx(8 / 6)  # 1 -> 1.33; as replicas 3
    assert math.exp(carried_over(math.log(2.5), four, to=six)) == pytest.approx(2.0)  # 6 -> 12; as a share 15
    assert carried_over(-0.5, one, to=six) == -0.5


def test_jumps_that_began_low_are_the_same_replicas_and_no_larger_share_at_a_large_load() -> None:
    # Jumps from 1 to 3; then a load that climbed slowly to 6, where none was ever seen.
    low = fed([3.0 if tick % 45 >= 38 else 1.0 for tick in range(120)])
    largest = max(low.outlook().errors)
    assert math.exp(largest) > 2.0
    high = replace(low, averages=tuple(6.0 * share for share in low.shares), top=100.0).outlook()
    assert high.demand == pytest.approx(6.0, rel=0.1)
    # From 6 to 9, not to 18.
    assert 1.25 < math.exp(max(high.errors)) < 1.6


def test_in_the_midst_of_a_crowd_no_second_one_is_expected_on_top() -> None:
    demands = [0.6 if tick % 160 < 140 else 6.0 for tick in range(800)]
    forecast = fed(demands)
    crowd = forecast.outlook()
    assert crowd.demand > 3.0
    worst = crowd.demand * math.exp(max(crowd.errors))
    assert worst < 15.0  # as shares the jumps from 0.6 to 6 would lead beyond 40
    quiet = fed([0.6] * 100, forecast, start=15.0 * 800).outlook()
    assert quiet.demand * math.exp(max(quiet.errors)) > 4.0


def test_a_gap_in_the_signals_is_not_an_error_of_the_forecast() -> None:
    forecast = fed([4.0] * 30)
    later = forecast.learned(40.0, felt=40.0, seconds=60.0, lead_seconds=LEAD, now=30 * 15.0 + 3600.0)
    assert later.errors == forecast.errors
    assert later.pending[0].due > 3600.0


def test_errors_are_remembered_for_three_hours() -> None:
    forecast = fed([4.0] * (MAXIMUM_ERRORS + 100))
    assert len(forecast.errors.errors) == MAXIMUM_ERRORS
    assert list(zip(*forecast.ordered, strict=True)) == sorted(zip(*forecast.errors, strict=True))


def test_the_covariance_of_what_was_learned_stays_symmetric() -> None:
    chance = random.Random(5)
    matrix = fed([4.0 * math.exp(chance.gauss(0, 0.4)) for _ in range(200)]).covariance
    rows = [matrix[FEATURES * row : FEATURES * (row + 1)] for row in range(FEATURES)]
    assert rows == list(zip(*rows, strict=True))
    assert len(set(matrix)) == FEATURES * (FEATURES + 1) / 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.02, 1000), min_size=1, max_size=120))
def test_whatever_comes_the_outlook_is_finite_and_its_weights_add_up(demands: list[float]) -> None:
    outlook = fed(demands).outlook()
    assert math.isfinite(outlook.log_demand)
    assert sum(outlook.weights) == pytest.approx(1.0)
    assert all(math.isfinite(error) for error in outlook.errors)
