"""The share of misses at a relative load."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.scaling.violation_curve import (
    BINS,
    CLUMP,
    FIRST_CENTRE,
    PRIOR_FLOOR,
    PRIOR_KNEE,
    PRIOR_REQUESTS,
    RATIO,
    SHARPER_ODDS,
    WIDTHS,
    ViolationCurve,
    isotonic,
)


def at(curve: ViolationCurve, load: float) -> float:
    return curve.curve().at(math.log(load))


def learned(curve: ViolationCurve, load: float, *, requests: float, misses: float, unit: float = 1.0) -> ViolationCurve:
    return curve.learned(load=load, requests=requests, misses=misses, seconds=15.0, unit=unit)


def test_a_curve_that_has_seen_nothing_breaks_near_the_nominal_load() -> None:
    assert at(ViolationCurve(), 0.5) < 0.001
    assert 0.1 < at(ViolationCurve(), 1.0) < 0.5
    assert at(ViolationCurve(), 1.5) > 0.9


def test_misses_seen_at_a_load_are_believed_at_it_and_above() -> None:
    curve = learned(ViolationCurve(), 0.5, requests=4000, misses=2000)
    # Half of them were late; that the loads above were never late so far is believed a little too.
    assert at(curve, 0.5) > 0.15
    assert at(curve, 0.7) > 0.15
    assert at(curve, 0.2) < 0.01


def test_none_seen_at_a_load_is_believed_below_it_too() -> None:
    curve = learned(ViolationCurve(), 1.1, requests=100_000, misses=0)
    assert at(curve, 1.0) < 0.01  # the prior alone says 0.29


def test_misses_that_no_load_explains_are_the_floor() -> None:
    curve = ViolationCurve()
    for place in range(28):
        curve = learned(curve, 0.15 * 1.12**place, requests=4000, misses=80)
    assert curve.curve().floor == pytest.approx(0.02, rel=0.15)


def test_fuller_replicas_are_not_expected_to_miss_less_than_calm_ones_were_seen_to() -> None:
    """3 % are late on calm replicas: the loads above that were not seen do not pull what was seen down."""
    curve = ViolationCurve()
    for load in (0.2, 0.3, 0.4):
        curve = learned(curve, load, requests=4000, misses=120)
    curve = learned(curve, 0.58, requests=400, misses=34)
    assert at(curve, 0.7) >= at(curve, 0.58) > 0.04
    assert at(curve, 0.3) == pytest.approx(0.03, rel=0.05)


def test_where_fewer_are_late_than_expected_the_next_load_is_expected_to_be_better() -> None:
    """A large fleet is led from 0.65 to 0.73 and on to 0.82, and no further than full replicas."""
    none = ViolationCurve()
    once = learned(none, 0.655, requests=400_000, misses=200)
    assert at(once, 0.733) < 0.5 * at(none, 0.733)
    twice = learned(once, 0.733, requests=400_000, misses=200)
    assert at(twice, 0.821) < 0.3 * at(none, 0.821)
    assert at(twice, 1.15) > 0.65


@pytest.mark.parametrize(("requests", "misses"), [(4_000, 2), (40_000, 400), (400_000, 200)])
def test_the_prior_is_the_mean_over_its_widths_by_how_likely_they_make_all_that_was_seen(
    requests: float, misses: float
) -> None:
    """The same as a sum over all bins and widths, no bin left out and none standing for others."""
    curve = ViolationCurve()
    for load in (0.3, 0.5, 0.58, 0.73, 1.0, 2.6):
        curve = learned(curve, load, requests=requests, misses=misses)
    calm = (curve.calm[1] + PRIOR_REQUESTS * PRIOR_FLOOR) / (curve.calm[0] + PRIOR_REQUESTS)
    priors, likely = [], []
    for width in WIDTHS:
        loads = [FIRST_CENTRE * RATIO**place for place in range(BINS)]
        prior = [1 / (1 + (load / PRIOR_KNEE) ** (-1 / width)) for load in loads]
        prior = [min(max(share, PRIOR_FLOOR), 1 - PRIOR_FLOOR) for share in prior]
        log = 0.0 if width == WIDTHS[0] else math.log(SHARPER_ODDS)
        for share, seen, missed in zip(prior, curve.requests, curve.misses, strict=True):
            late = max(0.0, missed - (calm - PRIOR_FLOOR) * seen)
            log += (late * math.log(share) + (seen - late) * math.log(1 - share)) / CLUMP
        priors.append(prior)
        likely.append(log)
    weights = [math.exp(log - max(likely)) for log in likely]
    expected = [
        max(calm, sum(weight * share for weight, share in zip(weights, column, strict=True)) / sum(weights))
        for column in zip(*priors, strict=True)
    ]
    totals = [seen + PRIOR_REQUESTS for seen in curve.requests]
    shares = [
        (missed + PRIOR_REQUESTS * share) / total
        for missed, share, total in zip(curve.misses, expected, totals, strict=True)
    ]
    assert curve.curve().shares == pytest.approx(isotonic(shares, totals), rel=1e-9)


def test_as_many_late_as_expected_leave_the_loads_above_as_they_were() -> None:
    none = ViolationCurve()
    usual = learned(learned(none, 0.655, requests=400_000, misses=1100), 0.733, requests=100_000, misses=1040)
    assert at(usual, 0.821) == pytest.approx(at(none, 0.821), rel=0.25)


def test_few_requests_say_little_of_loads_that_were_not_seen() -> None:
    few = learned(ViolationCurve(), 0.655, requests=1000, misses=0)
    assert at(few, 0.821) == pytest.approx(at(ViolationCurve(), 0.821), rel=0.1)


def test_what_is_late_at_any_load_says_nothing_of_how_full_replicas_may_be() -> None:
    """3 % are late on calm replicas and as many on fuller ones: as if 0.05 % were, the prior's least."""
    clean = learned(learned(ViolationCurve(), 0.3, requests=400_000, misses=200), 0.655, requests=400_000, misses=200)
    late = learned(
        learned(ViolationCurve(), 0.3, requests=400_000, misses=12_000), 0.655, requests=400_000, misses=12_000
    )
    assert at(late, 0.92) == pytest.approx(max(0.03, at(clean, 0.92)), rel=0.05)


def test_a_new_unit_of_load_forgets_most_of_what_was_seen() -> None:
    curve = learned(ViolationCurve(), 0.5, requests=4000, misses=2000)
    same = learned(curve, 0.5, requests=0, misses=0, unit=1.1)
    other = learned(curve, 0.5, requests=0, misses=0, unit=1.3)
    assert sum(same.requests) == pytest.approx(4000, rel=0.01)
    assert sum(other.requests) == pytest.approx(400, rel=0.01)


rows = st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 1e6)), min_size=1, max_size=40)


@given(rows)
def test_an_isotonic_series_ascends_and_keeps_the_weighted_mean(values: list[tuple[float, float]]) -> None:
    heights, weights = [v for v, _ in values], [w for _, w in values]
    fitted = isotonic(heights, weights)
    assert len(fitted) == len(values)
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(fitted))
    mean = sum(h * w for h, w in values) / sum(weights)
    assert sum(f * w for f, w in zip(fitted, weights, strict=True)) / sum(weights) == pytest.approx(mean, abs=1e-6)


@given(st.lists(st.tuples(st.floats(1e-9, 50), st.floats(0, 1e5), st.floats(0, 2e5)), max_size=40))
def test_a_curve_ascends_between_zero_and_one_whatever_was_seen(ticks: list[tuple[float, float, float]]) -> None:
    curve = ViolationCurve()
    for load, requests, misses in ticks:
        curve = learned(curve, load, requests=requests, misses=misses)
    shares = curve.curve().shares
    assert all(0 <= a <= b + 1e-9 <= 1 + 1e-8 for a, b in itertools.pairwise(shares))
