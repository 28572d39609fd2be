"""How requests are judged and summed up."""

from __future__ import annotations

import pytest

from inference_fleet.load.judgement import Fate, Objectives, Outcome, Percentiles, percentiles, summarise

_OBJECTIVES = Objectives(time_to_first_token_seconds=1.0, inter_token_latency_seconds=0.075)


def outcome(fate: Fate = Fate.COMPLETED, first: float | None = 0.5, cadence: float | None = 0.03) -> Outcome:
    return Outcome(
        arrival_seconds=1.0,
        sent_seconds=1.01,
        ended_seconds=3.0,
        fate=fate,
        time_to_first_token_seconds=first,
        inter_token_latency_seconds=cadence,
    )


@pytest.mark.parametrize(
    ("case", "met"),
    [
        (outcome(), True),
        (outcome(first=1.0, cadence=0.075), True),  # at the threshold is met
        (outcome(first=1.01), False),
        (outcome(cadence=0.076), False),
        (outcome(cadence=None), True),  # one token has no cadence
        (outcome(fate=Fate.CUT), False),  # however fast it was until then
        (outcome(fate=Fate.FAILED, first=None, cadence=None), False),
    ],
)
def test_a_request_meets_both_thresholds_or_misses(case: Outcome, met: bool) -> None:
    assert _OBJECTIVES.met_by(case) is met


def test_attainment_is_of_all_sent_requests() -> None:
    outcomes = [outcome(), outcome(), outcome(first=9.0), outcome(fate=Fate.FAILED, first=None, cadence=None)]
    summary = summarise(outcomes, _OBJECTIVES)
    assert (summary.sent, summary.completed, summary.failed, summary.cut) == (4, 3, 1, 0)
    assert summary.attainment_percent == 50.0  # of the completed it would be 66.7
    assert summary.time_to_first_token_seconds.p95 == 9.0
    assert summary.send_lag_seconds.p99 == pytest.approx(0.01)


def test_nothing_sent_has_no_attainment() -> None:
    summary = summarise([], _OBJECTIVES)
    assert summary.attainment_percent is None
    assert summary.time_to_first_token_seconds == Percentiles(p50=None, p95=None, p99=None)


def test_percentiles_are_nearest_rank() -> None:
    assert percentiles(float(n) for n in range(1, 101)) == Percentiles(p50=50.0, p95=95.0, p99=99.0)
    assert percentiles([None, 7.0]) == Percentiles(p50=7.0, p95=7.0, p99=7.0)
