"""What a run came to: the promise, the latencies, the cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.fleet import Fleet
from inference_fleet.simulation.request_log import RequestLog
from inference_fleet.simulation.scenario import Scenario

SECONDS_PER_HOUR: Final = 3600.0
WINDOW_SECONDS: Final = 600.0
WINDOW_STEP_SECONDS: Final = 60.0
# A window with fewer requests says nothing about its share of misses.
FEWEST_IN_WINDOW: Final = 30


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a latency, in seconds; NaN if nothing was measured."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Measured from the end of the warm-up to the last arrival; percentages of 100."""

    sent: int
    completed: int
    failed: int
    tokens: int
    """Prompt and written tokens of the completed requests."""
    attainment_percent: float
    worst_ten_minutes_percent: float
    worst_hour_percent: float
    worst_window_percent: float
    """Of the shortest window that an objective names."""
    first_token: Percentiles
    inter_token: Percentiles
    replica_hours: float
    cost: float
    mean_replicas: float
    peak_replicas: int
    scale_events: int
    direction_changes: int


def met(log: RequestLog, scenario: Scenario) -> Any:
    """Per request: whether it finished and kept both promises, the one on its pace by its mean time per token."""
    every = slice(None)
    return (
        ~np.isnan(log.finish)
        & (log.time_to_first_token(every) <= scenario.threshold_first)
        & (log.inter_token_latency(every) <= scenario.threshold_pace)
    )


def measure(fleet: Fleet, scenario: Scenario, *, wanted: Sequence[tuple[float, int]], horizon: float) -> Outcome:
    """Judge a finished run. wanted: (time, replicas asked for) at every tick. horizon: until when cost counts."""
    log, start = fleet.log, scenario.warm_up
    good = met(log, scenario)
    first = int(np.searchsorted(log.arrival, start))
    counted = len(log) - first
    completed = first + np.flatnonzero(~np.isnan(log.finish[first:]))
    seconds = [fleet.replica_seconds(place, start=start, end=horizon) for place in range(len(fleet.variants))]
    hours = sum(seconds) / SECONDS_PER_HOUR
    counts = [count for time, count in wanted if time >= start]
    return Outcome(
        sent=counted,
        completed=len(completed),
        failed=counted - len(completed),
        tokens=int(log.input_tokens[completed].sum(dtype=np.int64) + log.output_tokens[completed].sum(dtype=np.int64)),
        attainment_percent=100 * int(good[first:].sum()) / counted if counted else math.nan,
        worst_ten_minutes_percent=worst_window(log.arrival[first:], good[first:], seconds=WINDOW_SECONDS),
        worst_hour_percent=worst_window(log.arrival[first:], good[first:], seconds=SECONDS_PER_HOUR),
        worst_window_percent=worst_window(log.arrival[first:], good[first:], seconds=scenario.window_seconds),
        first_token=_percentiles(log.time_to_first_token(completed)),
        inter_token=_percentiles(log.inter_token_latency(completed[log.output_tokens[completed] > 1])),
        replica_hours=hours,
        cost=sum(
            used / SECONDS_PER_HOUR * variant.cost_per_hour
            for used, variant in zip(seconds, fleet.variants, strict=True)
        ),
        mean_replicas=hours * SECONDS_PER_HOUR / (horizon - start) if horizon > start else 0.0,
        peak_replicas=max(counts, default=0),
        scale_events=sum(1 for a, b in itertools.pairwise(counts) if a != b),
        direction_changes=direction_changes(counts),
    )


def worst_window(arrivals: Any, good: Any, *, seconds: float) -> float:
    """Least share (percent) of promises kept in any so many seconds with enough requests; NaN without one.

    A trace that is shorter than that is one window.
    """
    if not len(arrivals):
        return math.nan
    kept = np.concatenate(([0], np.cumsum(good)))
    last = max(arrivals[0], arrivals[-1] - seconds + WINDOW_STEP_SECONDS)
    begins = np.arange(arrivals[0], last + 1e-9, WINDOW_STEP_SECONDS)
    low, high = np.searchsorted(arrivals, begins), np.searchsorted(arrivals, begins + seconds)
    enough = high - low >= FEWEST_IN_WINDOW
    if not enough.any():
        return math.nan
    return float((100 * (kept[high] - kept[low])[enough] / (high - low)[enough]).min())


def direction_changes(counts: Sequence[int]) -> int:
    """How often a series that went one way goes the other: 2 4 4 3 5 -> 2."""
    moves = [b - a for a, b in itertools.pairwise(counts) if a != b]
    return sum(1 for a, b in itertools.pairwise(moves) if (a > 0) != (b > 0))


def _percentiles(values: Any) -> Percentiles:
    values = np.sort(values)
    return Percentiles(*(_nearest_rank(values, share) for share in (0.50, 0.95, 0.99)))


def _nearest_rank(ordered: Any, share: float) -> float:
    if not len(ordered):
        return math.nan
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])
