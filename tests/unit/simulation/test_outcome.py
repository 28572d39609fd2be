"""What a run came to: who is counted, what is good, what it cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.outcome import direction_changes, measure, met, worst_window
from inference_fleet.simulation.request_log import Arrival, Arrivals, RequestLog
from inference_fleet.simulation.scenario import LLAMA_8B_L4, Scenario, Workload, objectives_of

DEAR = VariantModel(name="dear", engine=LLAMA_8B_L4, cost_per_hour=3.0)


def scenario_of(arrivals: Arrivals) -> Scenario:
    return Scenario(
        workload=Workload("w", "0", arrivals),
        variants=(DEAR,),
        objectives=objectives_of(first_seconds=1.0, pace_seconds=0.2, target=0.99),
    )


def served(arrivals: Arrivals, *, until: float) -> Fleet:
    fleet = Fleet([DEAR], RequestLog(arrivals), settings=FleetSettings(), start=[2], seed=0)
    fleet.advance(until)
    return fleet


def test_a_request_is_good_if_it_finished_and_kept_both_promises() -> None:
    log = RequestLog(Arrival(0.0, 10, 11) for _ in range(4))
    log.first_token[:] = [0.9, 1.1, 0.9, 0.9]
    # Ten tokens after the first: 0.15 s each, 0.15 s, 0.25 s, never.
    log.finish[:] = [2.4, 2.6, 3.4, math.nan]
    assert met(log, scenario_of(Arrivals.of([Arrival(0.0, 10, 11)]))).tolist() == [True, False, False, False]


def test_a_single_token_has_no_pace_to_miss() -> None:
    log = RequestLog([Arrival(0.0, 10, 1)])
    log.first_token[:] = log.finish[:] = [0.5]
    assert met(log, scenario_of(Arrivals.of([Arrival(0.0, 10, 1)]))).tolist() == [True]


def test_the_warm_up_counts_neither_for_the_promise_nor_for_the_cost() -> None:
    # One prompt of the first ten minutes is far too long for the promise; an hour follows.
    arrivals = Arrivals.of([Arrival(30.0, 60_000, 5), *(Arrival(60.0 * minute, 10, 5) for minute in range(1, 60))])
    wanted = [(60.0 * minute, 9 if minute < 10 else 2) for minute in range(61)]
    outcome = measure(served(arrivals, until=3600.0), scenario_of(arrivals), wanted=wanted, horizon=3600.0)
    assert outcome.sent == outcome.completed == 50
    assert outcome.attainment_percent == 100.0
    # Two replicas for fifty minutes at 3 an hour.
    assert outcome.replica_hours == pytest.approx(2 * 50 / 60)
    assert outcome.cost == pytest.approx(5.0)
    assert outcome.mean_replicas == pytest.approx(2.0)
    assert (outcome.peak_replicas, outcome.scale_events) == (2, 0)


def test_what_never_finished_has_failed_and_missed() -> None:
    arrivals = Arrivals.of([Arrival(0.0, 10, 5), Arrival(100.0, 10, 5)])
    outcome = measure(served(arrivals, until=50.0), scenario_of(arrivals), wanted=[], horizon=120.0)
    assert (outcome.sent, outcome.completed, outcome.failed) == (2, 1, 1)
    assert outcome.attainment_percent == 50.0


def test_the_worst_ten_minutes_are_those_of_windows_with_enough_requests() -> None:
    arrivals = np.arange(0.0, 3600.0, 10.0)
    good = np.ones(len(arrivals), dtype=bool)
    good[120:135] = False  # 1200 to 1350 s: 15 of the 60 requests of a window
    assert worst_window(arrivals, good, seconds=600.0) == pytest.approx(75.0)
    # A lone request that misses two hours later is a window of its own, and too small to say anything.
    assert worst_window(np.append(arrivals, 10_800.0), np.append(good, False), seconds=600.0) == pytest.approx(75.0)
    assert math.isnan(worst_window(arrivals[:20], good[:20], seconds=600.0))
    assert math.isnan(worst_window(arrivals[:0], good[:0], seconds=600.0))


def test_a_window_is_whole_and_a_shorter_trace_is_one() -> None:
    arrivals = np.arange(0.0, 7200.0, 10.0)
    good = np.ones(len(arrivals), dtype=bool)
    good[-36:] = False  # the last six minutes
    assert worst_window(arrivals, good, seconds=3600.0) == pytest.approx(90.0, abs=0.2)
    assert worst_window(arrivals[-60:], good[-60:], seconds=3600.0) == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("counts", "changes"), [((2, 4, 4, 3, 5), 2), ((1, 2, 3), 0), ((3,), 0), ((), 0), ((5, 4, 4, 5), 1)]
)
def test_directions_change_when_a_series_turns(counts: tuple[int, ...], changes: int) -> None:
    assert direction_changes(counts) == changes
