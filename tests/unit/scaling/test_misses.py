"""Which requests missed a promise, by the engines' histograms."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference_fleet.scaling.misses import Counted, broken_promises, counted, judged
from inference_fleet.scaling.types import HistogramSample, ObjectiveLimit, Observation, VariantObservation

FIRST = ObjectiveLimit("first", "TimeToFirstToken", 1.0, 0.99)
PACE = ObjectiveLimit("pace", "InterTokenLatency", 0.05, 0.999)


def histogram(edge: float, *, good: float = 90.0, total: float = 100.0, metric: str = FIRST.metric) -> HistogramSample:
    return HistogramSample(metric, edge_seconds=edge, good=good, total=total, sample_time=0.0, since=0.0)


def test_a_promise_is_judged_at_its_threshold_or_the_next_stricter_edge() -> None:
    edges = [histogram(edge) for edge in (0.25, 0.75, 1.0, 2.5)]
    assert judged(edges, FIRST) == histogram(1.0)
    assert judged(edges[:2] + edges[3:], FIRST) == histogram(0.75)
    # A threshold in seconds may have been one in milliseconds.
    assert judged(edges, FIRST._replace(threshold_seconds=1.0 - 1e-12)) == histogram(1.0)
    assert judged(list(reversed(edges)), FIRST) == histogram(1.0)


def test_a_promise_below_all_edges_is_judged_at_the_first() -> None:
    edges = [histogram(2.5), histogram(1.5), histogram(5.0)]
    assert judged(edges, FIRST) == histogram(1.5)
    assert judged([histogram(1.0, metric=PACE.metric)], FIRST) is None


def test_a_variant_that_is_added_does_not_count_all_that_it_ever_served() -> None:
    def seen(*totals: float) -> Observation:
        return Observation(
            tuple(
                VariantObservation(name, desired=1, ready=1, histograms=(histogram(1.0, good=total - 5, total=total),))
                for name, total in zip("ab", totals, strict=False)
            )
        )

    _, before = counted((), seen(100.0), [FIRST])
    (one,), after = counted(before, seen(150.0), [FIRST])
    assert (one.requests, one.misses, one.whole) == (50.0, 0.0, True)
    (both,), _ = counted(after, seen(170.0, 9000.0), [FIRST])
    assert (both.requests, both.whole) == (20.0, False)
    # Where the engines began to count anew nothing is compared.
    began_anew = replace(
        seen(10.0).variants[0], histograms=(histogram(1.0, good=195.0, total=200.0)._replace(since=7.0),)
    )
    (anew,), _ = counted(before, Observation((began_anew,)), [FIRST])
    assert (anew.requests, anew.whole) == (0.0, False)


def test_a_request_that_misses_two_promises_is_missed_once() -> None:
    slow = FIRST._replace(metric="InterTokenLatency")
    counts = (Counted(FIRST, 100.0, 80.0, True), Counted(slow, 100.0, 80.0, True))
    assert broken_promises(counts, rejected=10.0) == (110.0, 110.0)
    # Which requests missed both the histograms do not say: below all of them they are added up.
    counts = (Counted(FIRST, 100.0, 30.0, True), Counted(slow, 100.0, 20.0, True))
    assert broken_promises(counts, rejected=10.0) == (110.0, 60.0)


def test_a_miss_of_the_laxer_promise_weighs_less() -> None:
    # 10 of 1,000 may miss the first and 1 of 1,000 the second: a miss of the first is a tenth of one of the second.
    counts = (Counted(FIRST, 100.0, 50.0, True), Counted(PACE, 100.0, 2.0, True))
    assert broken_promises(counts, rejected=0.0) == (100.0, pytest.approx(7.0))
