"""What of an objective was kept over its window, a day unless it says otherwise."""

from __future__ import annotations

import pytest

from builders.scaling import Scaler, limits, variant
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Attainment, Decision, HistogramSample, ObjectiveLimit

FIRST = ObjectiveLimit("first", "TimeToFirstToken", 1.0, 0.99)
PACE = ObjectiveLimit("pace", "InterTokenLatency", 0.05, 0.999)
HOUR = 3600.0


class Traffic:
    """Engines that count: each tick so many requests, of which so many are late for the first token."""

    def __init__(self, *objectives: ObjectiveLimit, now: float = 277 * HOUR) -> None:
        self.objectives = objectives
        self.scaler = Scaler(limits(objectives=objectives), now=now)
        self.total = self.late = self.rejected = self.failed = 0.0

    def tick(
        self,
        *,
        requests: float = 0.0,
        late: float = 0.0,
        rejected: float = 0.0,
        failed: float = 0.0,
        lost: bool = False,
        since: float = 0.0,
    ) -> Decision:
        self.total, self.late, self.rejected = self.total + requests, self.late + late, self.rejected + rejected
        self.failed += failed
        histograms = tuple(
            HistogramSample(
                o.metric,
                edge_seconds=o.threshold_seconds,
                good=self.total - (self.late if o is FIRST else 0.0),
                total=self.total,
                sample_time=self.scaler.now,
                since=since,
            )
            for o in (self.objectives[:-1] if lost else self.objectives)
        )
        at = self.scaler.now
        counts = {"rejected": self.rejected, "failed": self.failed or None}
        return self.scaler.tick(variant(at=at, ready=1, running=2.0, histograms=histograms, **counts))

    def sleep(self, seconds: float) -> None:
        self.scaler.now += seconds


def of(decision: Decision, name: str) -> Attainment:
    return next(each for each in decision.attainments if each.objective == name)


def test_every_objective_has_its_own_share_and_its_own_budget() -> None:
    traffic = Traffic(FIRST, PACE)
    traffic.tick()
    decision = traffic.tick(requests=1000, late=4)
    assert of(decision, "first").share == pytest.approx(0.996)
    # 10 of 1,000 may be late, 4 were.
    assert of(decision, "first").budget_left == pytest.approx(0.6)
    assert of(decision, "pace").share == 1.0
    assert of(decision, "first").since == 277 * HOUR


def test_more_misses_than_the_budget_are_a_debt() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    assert of(traffic.tick(requests=100, late=3), "first").budget_left == pytest.approx(-2.0)


def test_a_rejected_request_misses_every_objective() -> None:
    traffic = Traffic(FIRST, PACE)
    traffic.tick()
    decision = traffic.tick(requests=90, rejected=10)
    assert {each.objective: round(each.share, 6) for each in decision.attainments} == {"first": 0.9, "pace": 0.9}


def test_a_request_that_failed_in_the_engine_misses_every_objective() -> None:
    traffic = Traffic(FIRST, PACE)
    traffic.tick()
    decision = traffic.tick(requests=95, failed=5)
    assert {each.objective: round(each.share, 6) for each in decision.attainments} == {"first": 0.95, "pace": 0.95}


def test_nothing_is_said_before_a_request_was_judged() -> None:
    traffic = Traffic(FIRST)
    traffic.tick(requests=500)  # totals of before the scaler looked
    assert traffic.tick().attainments == ()


def test_totals_that_began_anew_are_not_compared_with_those_before() -> None:
    traffic = Traffic(FIRST)
    traffic.tick(since=1.0)
    traffic.tick(requests=100, late=3, since=1.0)
    # More than before, and yet of other engines: nothing follows for one tick.
    traffic.tick(requests=500, late=100, since=2.0)
    assert of(traffic.tick(requests=100, late=1, since=2.0), "first").share == pytest.approx(0.98)


def test_misses_are_forgotten_after_a_day_and_not_before() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    traffic.tick(requests=100, late=50)
    traffic.sleep(22.9 * HOUR)
    assert of(traffic.tick(requests=100), "first").share == pytest.approx(0.75)
    traffic.sleep(1.1 * HOUR)
    assert of(traffic.tick(requests=100), "first").share == 1.0


def test_a_day_of_silence_leaves_nothing_to_say() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    traffic.tick(requests=100)
    traffic.sleep(25 * HOUR)
    assert traffic.tick().attainments == ()


def test_an_hourly_promise_is_counted_over_an_hour_and_beside_a_daily_one() -> None:
    hourly = PACE._replace(threshold_seconds=0.1, window_seconds=HOUR)
    traffic = Traffic(FIRST, hourly)
    traffic.tick()
    traffic.tick(requests=90, rejected=10)
    traffic.sleep(0.9 * HOUR)
    decision = traffic.tick(requests=100)
    assert {each.objective: round(each.share, 6) for each in decision.attainments} == {"first": 0.95, "pace": 0.95}
    assert of(decision, "pace").window_seconds == HOUR
    traffic.sleep(0.1 * HOUR)
    decision = traffic.tick(requests=100)
    assert of(decision, "pace").share == 1.0
    # The parts that are counted last two and a half minutes here, an hour there.
    assert of(decision, "pace").since % 150 == 0
    assert of(decision, "first").since % HOUR == 0
    assert of(decision, "first").share == pytest.approx(290 / 300)


def test_another_window_is_another_promise() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    traffic.tick(requests=100, late=50)
    traffic.scaler.limits = limits(objectives=(FIRST._replace(window_seconds=HOUR),))
    decision = traffic.tick(requests=100)
    assert (of(decision, "first").requests, of(decision, "first").share) == (100, 1.0)


def test_a_lost_histogram_counts_neither_for_nor_against_its_objective() -> None:
    traffic = Traffic(FIRST, PACE)
    traffic.tick()
    traffic.tick(requests=100)
    decision = traffic.tick(requests=50, rejected=5, lost=True)
    assert of(decision, "first").requests == 155
    # With the missing one read as no requests its five rejections would be five misses of five.
    assert of(decision, "pace").requests == 100


def test_another_threshold_is_another_promise() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    traffic.tick(requests=100, late=50)
    traffic.scaler.limits = limits(objectives=(FIRST._replace(threshold_seconds=2.0),))
    decision = traffic.tick(requests=100)
    assert (of(decision, "first").requests, of(decision, "first").share) == (100, 1.0)


def test_the_day_survives_a_restart_and_stays_small() -> None:
    traffic = Traffic(FIRST, PACE)
    for _ in range(200):
        traffic.sleep(HOUR / 2)
        traffic.tick(requests=100, late=1)
    text = traffic.scaler.memory.to_json()
    back = ScalerMemory.from_json(text)
    assert back is not None
    assert back.attained == traffic.scaler.memory.attained
    assert max(len(entry.hours) for entry in back.attained) == 24


def test_a_memory_with_more_misses_than_requests_is_damaged() -> None:
    traffic = Traffic(FIRST)
    traffic.tick()
    traffic.tick(requests=100, late=50)
    text = traffic.scaler.memory.to_json()
    assert '"requests":100.0,"misses":50.0}]}],"variants"' in text
    assert ScalerMemory.from_json(text.replace('"misses":50.0}]}],"variants"', '"misses":101.0}]}],"variants"')) is None


def test_histograms_that_are_missing_are_named_once_an_engine_has_served() -> None:
    traffic = Traffic(FIRST, PACE)
    assert traffic.tick(requests=10).unjudged == ""
    words = traffic.tick(requests=10, lost=True).unjudged
    assert words == "Prometheus has no vllm:request_time_per_output_token_seconds_bucket of a: " + (
        "which requests are late is not known"
    )
    assert traffic.tick(requests=10).unjudged == ""


def test_an_engine_that_has_served_nothing_or_does_not_answer_lacks_no_histogram() -> None:
    scaler = Scaler(limits(objectives=(FIRST,)))
    assert scaler.tick(variant(at=scaler.now, ready=2)).unjudged == ""
    silent = variant(at=scaler.now, ready=2, running=2.0, pods=())
    assert scaler.tick(silent).unjudged == ""
    assert scaler.tick(variant(at=scaler.now, ready=2, running=2.0)).unjudged
