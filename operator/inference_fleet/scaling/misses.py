"""Requests and broken promises of one tick, from histograms that are totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from inference_fleet.engine.metrics import OBJECTIVE_FAMILIES
from inference_fleet.scaling.types import HistogramSample, ObjectiveLimit, Observation

FIRST_TOKEN: Final = "TimeToFirstToken"  # noqa: S105 - a metric
PACE: Final = "InterTokenLatency"


class Totals(NamedTuple):
    """One objective's histogram at the last tick: requests within the judged edge, and all. since: when they began."""

    good: float
    total: float
    since: float = 0.0


class Counted(NamedTuple):
    """One objective's tick: requests that were judged by it, and misses of them. whole: no histogram was missing."""

    objective: ObjectiveLimit
    requests: float
    misses: float
    whole: bool


class Misses(NamedTuple):
    """Of one tick. requests: that were judged; misses: of them, those with an objective broken (at most all).

    An objective that allows more misses than the strictest counts for as much less.
    """

    requests: float
    misses: float


HistogramTotals = tuple[tuple[str, Totals], ...]


def counted(
    former: HistogramTotals, observation: Observation, objectives: Sequence[ObjectiveLimit]
) -> tuple[tuple[Counted, ...], HistogramTotals]:
    """The tick's requests by objective, and the totals for the next tick.

    Totals that began anew, or fell, say nothing for one tick.
    """
    before = dict(former)
    now: dict[str, Totals] = {}
    counts = []
    for objective in objectives:
        requests, misses, whole = 0.0, 0.0, True
        for variant in observation.variants:
            sample = judged(variant.histograms, objective)
            if sample is None:
                whole = whole and variant.ready == 0
                continue
            key = _key(variant.name, objective.metric, sample.edge_seconds)
            now[key] = Totals(sample.good, sample.total, sample.since)
            old = before.get(key)
            if old is None or old.since != sample.since or sample.total < old.total or sample.good < old.good:
                whole = False
                continue
            requests += sample.total - old.total
            misses += max(0.0, (sample.total - old.total) - (sample.good - old.good))
        counts.append(Counted(objective, requests, misses, whole))
    return tuple(counts), tuple(sorted(now.items())) if now else former


def broken_promises(counts: Sequence[Counted], *, rejected: float) -> Misses | None:
    """Misses of any of these objectives, None if the histograms cannot say. Rejected requests were missed."""
    if not counts or not all(count.whole for count in counts):
        return None
    strictest = min([1 - count.objective.target for count in counts])
    requests = {FIRST_TOKEN: 0.0, PACE: 0.0}
    missed = 0.0
    for count in counts:
        missed += count.misses * (strictest / (1 - count.objective.target))
        metric = count.objective.metric
        requests[metric] = max(requests.get(metric, 0.0), count.requests)
    judged_requests = (requests[FIRST_TOKEN] or requests[PACE]) + rejected
    return Misses(judged_requests, min(judged_requests, missed + rejected))


def unjudged(observation: Observation, objectives: Sequence[ObjectiveLimit]) -> str:
    """Words on histograms that are missing though their engines answer and have served; empty if none is.

    A scrape configuration that drops buckets looks like this: the load is known, and nothing of what is late.
    """
    for variant in observation.variants:
        told = [sample.metric for sample in variant.histograms]
        missing = [objective.metric for objective in objectives if objective.metric not in told]
        if missing and variant.ready and any(pod.finished_requests for pod in variant.pods):
            family = OBJECTIVE_FAMILIES[missing[0]]
            return f"Prometheus has no {family}_bucket of {variant.name}: which requests are late is not known"
    return ""


def judged(histograms: Iterable[HistogramSample], objective: ObjectiveLimit) -> HistogramSample | None:
    """The histogram an objective is counted at: its threshold's edge or the next stricter one, else the first."""
    metric, threshold = objective.metric, objective.threshold_seconds * (1 + 1e-9)
    within: HistogramSample | None = None
    beyond: HistogramSample | None = None
    for sample in histograms:
        if sample.metric != metric:
            continue
        if sample.edge_seconds > threshold:
            if beyond is None or sample.edge_seconds < beyond.edge_seconds:
                beyond = sample
        elif within is None or sample.edge_seconds > within.edge_seconds:
            within = sample
    return within or beyond


# Asked for every tick, the same for days.
@lru_cache(maxsize=4096)
def _key(variant: str, metric: str, edge_seconds: float) -> str:
    return f"{variant} {metric} {edge_seconds:g}"
