"""What a run came to: the promise, the latencies, the cost."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

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
    attainment_percent: float
    worst_ten_minutes_percent: float
    first_token: Percentiles
    inter_token: Percentiles
    replica_hours: float
    cost: float
    mean_replicas: float
    peak_replicas: int
    scale_events: int
    direction_changes: int


def met(log: RequestLog, scenario: Scenario) -> list[bool]:
    """Per request: whether it finished and kept both promises. A token too late anywhere is a miss."""
    first, pace = scenario.threshold_first, scenario.threshold_pace
    return [
        not math.isnan(log.finish[request])
        and log.time_to_first_token(request) <= first
        and log.inter_token_latency(request) <= pace
        for request in range(len(log))
    ]


def measure(fleet: Fleet, scenario: Scenario, *, wanted: Sequence[tuple[float, int]], horizon: float) -> Outcome:
    """Judge a finished run. wanted: (time, replicas asked for) at every tick. horizon: until when cost counts."""
    log, start = fleet.log, scenario.warm_up
    good = met(log, scenario)
    first = bisect_left(log.arrival, start)
    counted = range(first, len(log))
    completed = [request for request in counted if not math.isnan(log.finish[request])]
    seconds = [fleet.replica_seconds(place, start=start, end=horizon) for place in range(len(fleet.variants))]
    hours = sum(seconds) / SECONDS_PER_HOUR
    counts = [count for time, count in wanted if time >= start]
    return Outcome(
        sent=len(counted),
        completed=len(completed),
        failed=len(counted) - len(completed),
        attainment_percent=100 * sum(good[first:]) / len(counted) if counted else math.nan,
        worst_ten_minutes_percent=worst_window(log.arrival[first:], good[first:]),
        first_token=_percentiles([log.time_to_first_token(request) for request in completed]),
        inter_token=_percentiles(
            [log.inter_token_latency(request) for request in completed if log.output_tokens[request] > 1]
        ),
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


def worst_window(arrivals: Sequence[float], good: Sequence[bool]) -> float:
    """Least share (percent) of promises kept in any ten minutes with enough requests; NaN without one."""
    if not arrivals:
        return math.nan
    kept = [0]
    for one in good:
        kept.append(kept[-1] + one)
    worst = math.nan
    begin = arrivals[0]
    while begin <= arrivals[-1]:
        low, high = bisect_left(arrivals, begin), bisect_left(arrivals, begin + WINDOW_SECONDS)
        if high - low >= FEWEST_IN_WINDOW:
            share = 100 * (kept[high] - kept[low]) / (high - low)
            worst = share if math.isnan(worst) else min(worst, share)
        begin += WINDOW_STEP_SECONDS
    return worst


def direction_changes(counts: Sequence[int]) -> int:
    """How often a series that went one way goes the other: 2 4 4 3 5 -> 2."""
    moves = [b - a for a, b in itertools.pairwise(counts) if a != b]
    return sum(1 for a, b in itertools.pairwise(moves) if (a > 0) != (b > 0))


def _percentiles(values: list[float]) -> Percentiles:
    values.sort()
    return Percentiles(*(_nearest_rank(values, share) for share in (0.50, 0.95, 0.99)))


def _nearest_rank(ordered: Sequence[float], share: float) -> float:
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
