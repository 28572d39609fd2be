"""Totals that nobody takes back, from the answers of one tick after another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from inference_fleet.adapters.histogram_totals import RETURNED_QUERY, HistogramTotals, Row
from inference_fleet.scaling.types import HistogramSample

VARIANT = ("chat", "llama", "a")
LABELS = {"namespace": "chat", "inference_deployment": "llama", "inference_variant": "a"}
PROMISED = (("TimeToFirstToken", 1.0),)
AT = 1_800_000_000.0


class Answers:
    """What Prometheus says at one tick: the sums of those that are there, and what has left them."""

    def __init__(self, now: tuple[float, float], left: tuple[float, float] = (0.0, 0.0), *, fails: str = "") -> None:
        self.now, self.left, self.fails = now, left, fails
        self.asked: list[str] = []

    def __call__(self, query: str, at: float) -> list[Row]:
        self.asked.append(query)
        departures = " unless " in query
        if self.fails == ("departures" if departures else "sums"):
            raise ValueError("no answer")
        if query == RETURNED_QUERY:
            return [({**LABELS, "pod": "p"}, 1.0)]
        good, total = self.left if departures else self.now
        rows = ({**LABELS, "le": "1.0"}, good), ({**LABELS, "le": "+Inf"}, total)
        return [row for row in rows if row[1] > 0]


def told(
    totals: HistogramTotals, answers: Answers, *, after: float, heard: Mapping[tuple[str, str], float] | None = None
) -> HistogramSample:
    (sample,) = totals.read(answers, at=AT + after, promised=PROMISED, heard=heard or {})[VARIANT]
    return sample


def test_what_left_the_sum_stays_in_the_total_for_good() -> None:
    totals = HistogramTotals()
    told(totals, Answers((90.0, 100.0)), after=0)
    told(totals, Answers((50.0, 60.0), left=(45.0, 50.0)), after=15)
    last = told(totals, Answers((55.0, 66.0)), after=30)
    assert (last.good, last.total) == (100.0, 116.0)


def test_what_left_is_asked_for_since_the_last_answer_to_the_millisecond() -> None:
    totals, answers = HistogramTotals(), Answers((9.0, 10.0))
    told(totals, answers, after=0)
    told(totals, answers, after=17.2504)
    assert ["offset 17250ms" in text for text in answers.asked] == [False, True, False]


@pytest.mark.parametrize("failing", ["departures", "sums"])
def test_an_answer_that_fails_leaves_the_totals_as_they_were(failing: str) -> None:
    totals = HistogramTotals()
    first = told(totals, Answers((90.0, 100.0)), after=0)
    with pytest.raises(ValueError, match="no answer"):
        told(totals, Answers((0.0, 0.0), left=(5.0, 5.0), fails=failing), after=15)
    answers = Answers((50.0, 60.0), left=(45.0, 50.0))
    last = told(totals, answers, after=30)
    assert "offset 30000ms" in answers.asked[0]
    assert (last.total - first.total, last.good - first.good, last.since) == (10.0, 5.0, first.since)


@pytest.mark.parametrize(("pause", "anew"), [(300.0, False), (300.1, True), (-1.0, True), (0.0, True)])
def test_after_a_long_pause_or_a_step_of_the_clock_totals_begin_anew(pause: float, anew: bool) -> None:
    totals = HistogramTotals()
    first = told(totals, Answers((90.0, 100.0)), after=10)
    answers = Answers((91.0, 101.0))
    last = told(totals, answers, after=10 + pause)
    assert any(" unless " in text for text in answers.asked) is not anew
    assert last.since == (AT + 10 + pause if anew else first.since)


def test_another_operator_begins_its_totals_anew() -> None:
    first = told(HistogramTotals(), Answers((90.0, 100.0)), after=0)
    assert told(HistogramTotals(), Answers((90.0, 100.0)), after=15).since != first.since


@pytest.mark.parametrize(("silent", "anew"), [(60.0, False), (180.0, True)])
def test_an_engine_that_was_silent_too_long_begins_its_variant_anew(silent: float, anew: bool) -> None:
    totals, answers = HistogramTotals(), Answers((90.0, 100.0))
    first = told(totals, answers, after=0, heard={("chat", "p"): AT - 5})
    for after in range(15, int(silent), 15):
        told(totals, answers, after=after)
    last = told(totals, answers, after=silent, heard={("chat", "p"): AT + silent - 5})
    assert (last.since != first.since) is anew
    assert (RETURNED_QUERY in answers.asked) is anew
    assert told(totals, answers, after=silent + 15).since == last.since


def test_a_new_engine_is_none_that_returned() -> None:
    totals, answers = HistogramTotals(), Answers((90.0, 100.0))
    told(totals, answers, after=0)
    told(totals, answers, after=15, heard={("chat", "p"): AT + 10})
    assert RETURNED_QUERY not in answers.asked


@pytest.mark.parametrize("lie", ["NaN", "many", None])
def test_an_edge_that_is_no_number_is_left_out(lie: str | None) -> None:
    def query(text: str, at: float) -> list[Any]:
        return [({**LABELS, "le": edge}, 5.0) for edge in (lie, "+Inf")]

    assert HistogramTotals().read(query, at=AT, promised=PROMISED, heard={}) == {}
