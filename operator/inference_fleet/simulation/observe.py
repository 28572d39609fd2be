"""What Prometheus would have shown of a simulated fleet: counters as totals, some seconds old, and nothing else.

Counters and gauges are scraped every five seconds; a tick sees a scrape that is 5, 10 or 15 s old, drawn anew each
time. Pod states come from the API server and have no delay. Output lengths, arrivals to come and the engine's true
step time are never shown.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inference_fleet.engine.metrics import thresholds_seconds
from inference_fleet.scaling.types import (
    HistogramSample,
    ObjectiveLimit,
    Observation,
    PodSample,
    VariantObservation,
)
from inference_fleet.simulation.fleet import Fleet
from inference_fleet.simulation.replica import Replica

SAMPLE_AGES_SECONDS: Final = (5.0, 10.0, 15.0)
# As many starts as the store keeps.
SHOWN_COLD_STARTS: Final = 20

METRIC_FIRST: Final = "TimeToFirstToken"
METRIC_PACE: Final = "InterTokenLatency"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Requests per bucket since the start, over all replicas there ever were; the last bucket is +Inf."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.counts)

    def at_most(self, edge: float) -> int:
        """Requests in the buckets up to this edge."""
        return sum(self.counts[: bisect_right(self.edges, edge)])


@dataclass(frozen=True, slots=True)
class RouterTotals:
    """What a gateway in front of the engines counts, for rules that read it. Prompt tokens of requests that came and
    of those that were answered a first token (or failed); requests that finished, and the tokens they were written.
    """

    arrived: int
    arrived_tokens: int
    answered_tokens: int
    finished: int
    written_tokens: int

    @property
    def backlog_tokens(self) -> int:
        """Prompt tokens on their way to a first token."""
        return max(0, self.arrived_tokens - self.answered_tokens)


@dataclass(frozen=True, slots=True)
class Scrape:
    """Everything scraped at one time (seconds of the trace). pods, first_token, inter_token: per variant, in order."""

    time: float
    pods: tuple[tuple[PodSample, ...], ...]
    first_token: tuple[Histogram, ...]
    inter_token: tuple[Histogram, ...]
    router: RouterTotals = RouterTotals(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a policy sees at a tick: the operator's own observation, and the full histograms for those that use them."""

    now: float
    observation: Observation
    scrape: Scrape


class Observer:
    """Scrapes a fleet and shows it later."""

    def __init__(self, fleet: Fleet, *, objectives: Sequence[ObjectiveLimit], seed: int) -> None:
        self._fleet = fleet
        self._objectives = tuple(objectives)
        self._chance = random.Random(f"{seed} sample age")  # noqa: S311 - repeatable, not secret
        self._first_edges = thresholds_seconds(METRIC_FIRST)
        self._pace_edges = thresholds_seconds(METRIC_PACE)
        variants = range(len(fleet.variants))
        self._first = [np.zeros(len(self._first_edges) + 1, dtype=np.int64) for _ in variants]
        self._pace = [np.zeros(len(self._pace_edges) + 1, dtype=np.int64) for _ in variants]
        self._seen_first = self._seen_finishes = self._seen_arrivals = self._seen_failures = 0
        self._arrived_tokens = self._answered_tokens = self._written_tokens = 0

    def draw_age(self) -> float:
        """How old the scrape of the next tick is, in seconds."""
        return self._chance.choice(SAMPLE_AGES_SECONDS)

    def scrape(self) -> Scrape:
        """Read every serving engine's metrics page now."""
        self._count_latencies()
        fleet = self._fleet
        return Scrape(
            time=fleet.now,
            pods=tuple(_samples(fleet, fleet.ready(place)) for place in range(len(fleet.variants))),
            first_token=tuple(Histogram(self._first_edges, tuple(counts.tolist())) for counts in self._first),
            inter_token=tuple(Histogram(self._pace_edges, tuple(counts.tolist())) for counts in self._pace),
            router=RouterTotals(
                self._seen_arrivals,
                self._arrived_tokens,
                self._answered_tokens,
                self._seen_finishes,
                self._written_tokens,
            ),
        )

    def show(self, scrape: Scrape) -> Sight:
        """What a tick now sees, if its newest scrape is this one."""
        fleet = self._fleet
        return Sight(
            now=fleet.now,
            observation=Observation(
                variants=tuple(self._variant(place, scrape) for place in range(len(fleet.variants)))
            ),
            scrape=scrape,
        )

    def _variant(self, place: int, scrape: Scrape) -> VariantObservation:
        fleet = self._fleet
        ready = fleet.ready(place)
        desired = fleet.desired(place)
        return VariantObservation(
            name=fleet.variants[place].name,
            desired=desired,
            ready=len(ready),
            starting=desired - len(ready),
            terminating=fleet.draining(place),
            ready_pods=tuple(replica.name for replica in ready),
            pods=scrape.pods[place],
            histograms=tuple(self._judged(objective, place, scrape) for objective in self._objectives),
            cold_start_seconds=tuple(fleet.cold_starts[place][-SHOWN_COLD_STARTS:]),
        )

    def _judged(self, objective: ObjectiveLimit, place: int, scrape: Scrape) -> HistogramSample:
        histogram = (scrape.first_token if objective.metric == METRIC_FIRST else scrape.inter_token)[place]
        edge = judged_edge(objective)
        return HistogramSample(
            metric=objective.metric,
            edge_seconds=edge,
            good=float(histogram.at_most(edge)),
            total=float(histogram.total),
            sample_time=scrape.time,
        )

    def _count_latencies(self) -> None:
        log = self._fleet.log
        answered = log.first_tokens[self._seen_first :]
        _count(self._first, self._first_edges, log.time_to_first_token(answered), log.variant[answered])
        self._seen_first += len(answered)
        self._answered_tokens += int(log.input_tokens[answered].sum())
        for request in log.failures[self._seen_failures :]:
            self._answered_tokens += int(log.input_tokens[request]) if np.isnan(log.first_token[request]) else 0
        self._seen_failures = len(log.failures)
        self._arrived_tokens += int(log.input_tokens[self._seen_arrivals : log.arrived].sum())
        self._seen_arrivals = log.arrived
        finished = log.finishes[self._seen_finishes :]
        _count(self._pace, self._pace_edges, log.inter_token_latency(finished), log.variant[finished])
        self._seen_finishes += len(finished)
        self._written_tokens += int(log.output_tokens[finished].sum())


def judged_edge(objective: ObjectiveLimit) -> float:
    """The bucket edge an objective is counted at: its threshold, or the next stricter edge."""
    metric = METRIC_FIRST if objective.metric == METRIC_FIRST else METRIC_PACE
    edges = thresholds_seconds(metric)
    return max((edge for edge in edges if edge <= objective.threshold_seconds), default=edges[0])


def _count(totals: Sequence[Any], edges: tuple[float, ...], latencies: Any, variants: Any) -> None:
    buckets = np.searchsorted(edges, latencies)
    for place, counts in enumerate(totals):
        counts += np.bincount(buckets[variants == place], minlength=len(counts))


def _samples(fleet: Fleet, replicas: Sequence[Replica]) -> tuple[PodSample, ...]:
    return tuple(
        PodSample(
            pod=replica.name,
            sample_time=fleet.now,
            running=running,
            waiting=waiting,
            kv_cache_usage=min(1.0, held / replica.engine.kv_cache_tokens),
            kv_cache_tokens=float(replica.engine.kv_cache_tokens),
            prompt_tokens=prompt,
            cached_prompt_tokens=0.0,
            generation_tokens=generated,
            finished_requests=finished,
            rejected_requests=rejected,
            steps=steps,
            inter_token_sum_seconds=seconds,
            inter_token_count=gaps,
        )
        for replica, (running, waiting, held, prompt, generated, finished, steps, seconds, gaps, rejected) in zip(
            replicas, fleet.shown(replicas), strict=True
        )
    )
