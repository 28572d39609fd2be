"""What arrives is felt over the time that a request is under way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_fleet.scaling.felt_load import LEAST_SECONDS, MOST_SECONDS, NOTHING_FELT, FeltLoad
from inference_fleet.scaling.memory import ScalerMemory


def after(demands: list[float], *, service_seconds: float) -> float:
    felt = NOTHING_FELT
    for demand in demands:
        felt = felt.learned(demand=demand, compute=0.5 * demand, service_seconds=service_seconds, seconds=15.0)
    assert felt.compute == pytest.approx(0.5 * felt.demand)
    return felt.demand


def test_the_first_tick_is_felt_as_it_is() -> None:
    assert after([3.0], service_seconds=100.0) == 3.0


def test_a_steady_demand_is_felt_as_it_is() -> None:
    assert after([3.0] * 50, service_seconds=100.0) == pytest.approx(3.0)


def test_work_that_comes_in_one_tick_is_felt_over_the_time_it_is_under_way() -> None:
    burst = [2.0] * 20 + [10.0]
    assert after(burst, service_seconds=150.0) == pytest.approx(2.0 + 8.0 * 0.0952, rel=0.01)
    assert after(burst, service_seconds=30.0) == pytest.approx(2.0 + 8.0 * 0.3935, rel=0.01)


def test_short_requests_are_felt_as_the_mean_of_about_two_ticks() -> None:
    burst = [2.0] * 20 + [10.0]
    assert after(burst, service_seconds=1.0) == after(burst, service_seconds=LEAST_SECONDS)
    assert 6.0 <= after(burst, service_seconds=1.0) <= 6.5


def test_answers_of_an_hour_do_not_make_the_load_late_by_an_hour() -> None:
    rise = [2.0] * 20 + [10.0] * 40
    assert after(rise, service_seconds=3600.0) == after(rise, service_seconds=MOST_SECONDS)
    assert after(rise, service_seconds=3600.0) > 8.5


def test_a_long_gap_forgets_what_was_felt() -> None:
    later = FeltLoad(2.0, 1.0).learned(demand=10.0, compute=4.0, service_seconds=20.0, seconds=60.0)
    assert later == (pytest.approx(9.6, rel=0.01), pytest.approx(3.85, rel=0.01))


def test_what_is_felt_survives_a_restart_and_a_damaged_one_is_no_memory() -> None:
    memory = replace(ScalerMemory.empty(), felt=FeltLoad(2.5, 1.5))
    assert ScalerMemory.from_json(memory.to_json()) == memory
    assert ScalerMemory.from_json(replace(memory, felt=FeltLoad(-2.5, 1.5)).to_json()) is None
