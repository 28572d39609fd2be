"""Promises of an hour: the price follows the worst hour, and those of a day know nothing of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from builders.scaling import Scaler, limits, variant
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.price import MOST_PRICE, pure_price
from inference_fleet.scaling.types import Decision, HistogramSample, ObjectiveLimit
from inference_fleet.scaling.worst_window import NO_WINDOW, WorstWindow

HOUR = 3600.0
DAILY = ObjectiveLimit("first", "TimeToFirstToken", 1.0, 0.99)
HOURLY = DAILY._replace(window_seconds=HOUR)


def lived(*shares: float, window: WorstWindow = NO_WINDOW) -> WorstWindow:
    """After hours in which these shares of 36,000 requests were missed."""
    for share in shares:
        for _ in range(240):
            window = window.learned(misses=150 * share, requests=150.0, seconds=15.0, window_seconds=HOUR, target=0.99)
    return window


def price(window: WorstWindow) -> float:
    return pure_price(window.spent, target=0.99)


def test_a_bad_hour_makes_the_next_ones_dear_and_is_forgotten_within_a_day() -> None:
    calm = lived(0.001, 0.001)
    bad = lived(0.03, window=calm)
    assert price(calm) < price(bad) == MOST_PRICE
    assert price(lived(*[0.0] * 3, window=bad)) > price(calm)
    assert price(lived(*[0.0] * 30, window=bad)) == pytest.approx(price(lived(*[0.0] * 30, window=calm)), rel=0.01)


def test_a_quiet_hour_leaves_the_worst_one_as_it_was() -> None:
    bad = lived(0.0, 0.006)
    assert lived(0.0, window=bad).worst == pytest.approx(bad.worst * 0.959, rel=0.01)


def test_what_is_missed_in_the_first_hour_counts_while_it_lasts() -> None:
    young = WorstWindow().learned(misses=50, requests=100, seconds=15.0, window_seconds=HOUR, target=0.99)
    assert price(young) == MOST_PRICE
    assert young.worst == 0


def test_one_miss_of_a_few_requests_is_chance() -> None:
    window = NO_WINDOW.learned(misses=1, requests=20, seconds=15.0, window_seconds=HOUR, target=0.95)
    assert window.spent < 1.3
    none = NO_WINDOW.learned(misses=0, requests=0, seconds=15.0, window_seconds=HOUR, target=0.99)
    assert none.spent == pytest.approx(0.95)


def test_a_promise_of_a_day_keeps_no_window_and_forgets_one_that_was_shorter() -> None:
    assert lived(0.01).learned(misses=1, requests=9, seconds=15.0, window_seconds=24 * HOUR, target=0.99) == NO_WINDOW


def decisions(*objectives: ObjectiveLimit, late: float) -> tuple[list[Decision], ScalerMemory]:
    """An hour and a quarter of 90 requests a tick on two replicas, of which so many are late."""
    scaler = Scaler(limits(objectives=objectives))
    made = []
    for tick in range(1, 300):
        counts = {"good": tick * (90.0 - late), "total": tick * 90.0, "sample_time": scaler.now}
        histograms = tuple(HistogramSample(o.metric, edge_seconds=o.threshold_seconds, **counts) for o in objectives)
        seen = variant(at=scaler.now, ready=2, running=20.0, work=tick * 300.0, histograms=histograms)
        made.append(scaler.tick(seen))
    return made, scaler.memory


def spent(decision: Decision) -> float:
    return next(term.value for term in decision.terms if term.name == "errorBudgetSpent")


def test_an_hourly_promise_pays_for_the_hour_and_never_less_than_a_daily_one() -> None:
    for late, dearer in ((0.3, False), (0.9, True)):
        daily, hourly = decisions(DAILY, late=late)[0], decisions(HOURLY, late=late)[0]
        assert all(spent(hour) >= spent(day) for hour, day in zip(hourly, daily, strict=True))
        assert (spent(hourly[-1]) > 1.1 * spent(daily[-1])) is dearer


def test_the_default_decides_as_without_windows() -> None:
    daily, memory = decisions(DAILY, late=0.9)
    assert memory.started is not None
    assert spent(daily[-1]) == 100 * memory.budget.spent(target=0.99, age=daily[-1].time - memory.started)
    assert memory.worst_window == NO_WINDOW


def test_the_shortest_window_of_several_objectives_counts() -> None:
    pace = ObjectiveLimit("pace", "InterTokenLatency", 0.1, 0.99)
    _, hourly = decisions(DAILY, pace._replace(window_seconds=HOUR), late=0.9)
    _, shorter = decisions(DAILY._replace(window_seconds=2 * HOUR), pace._replace(window_seconds=HOUR), late=0.9)
    assert hourly.worst_window == shorter.worst_window != NO_WINDOW


def test_the_worst_hour_survives_a_restart_and_a_damaged_one_is_no_memory() -> None:
    _, memory = decisions(HOURLY, late=0.9)
    text = memory.to_json()
    back = ScalerMemory.from_json(text)
    assert back is not None
    assert back.worst_window == memory.worst_window != NO_WINDOW
    assert ScalerMemory.from_json(replace(memory, worst_window=WorstWindow(misses=-1.0)).to_json()) is None
