"""Requests and broken promises of one tick, from histograms that are totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.types import HistogramSample, ObjectiveLimit, Observation

FIRST_TOKEN: Final = "TimeToFirstToken"  # noqa: S105 - a metric
PACE: Final = "InterTokenLatency"


@dataclass(frozen=True)
class Totals:
    """One objective's histogram at the last tick: requests within the judged edge, and all."""

    good: float
    total: float


@dataclass(frozen=True)
class Misses:
    """Of one tick. requests: that were judged; misses: of them, those with an objective broken (at most all).

    An objective that allows more misses than the strictest counts for as much less.
    """

    requests: float
    misses: float


HistogramTotals = tuple[tuple[str, Totals], ...]


def read_misses(
    former: HistogramTotals, observation: Observation, objectives: Sequence[ObjectiveLimit], *, rejected: float
) -> tuple[Misses | None, HistogramTotals]:
    """The tick's misses, None if the histograms cannot say; and the totals for the next tick.

    Totals that fell (a pod is gone with its part) say nothing for one tick. Rejected requests were missed.
    """
    before = dict(former)
    now: dict[str, Totals] = {}
    strictest = min((1 - objective.target for objective in objectives), default=0.0)
    requests = {FIRST_TOKEN: 0.0, PACE: 0.0}
    missed = 0.0
    whole = bool(objectives)
    for objective in objectives:
        seen = 0.0
        for variant in observation.variants:
            sample = judged(variant.histograms, objective)
            if sample is None:
                whole = whole and variant.ready == 0
                continue
            key = f"{variant.name} {objective.metric} {sample.edge_seconds:g}"
            now[key] = Totals(sample.good, sample.total)
            old = before.get(key)
            if old is None or sample.total < old.total or sample.good < old.good:
                whole = False
                continue
            seen += sample.total - old.total
            bad = max(0.0, (sample.total - old.total) - (sample.good - old.good))
            missed += bad * (strictest / (1 - objective.target))
        requests[objective.metric] = max(requests.get(objective.metric, 0.0), seen)
    totals = tuple(sorted((dict(former) | now).items())) if not now else tuple(sorted(now.items()))
    if not whole:
        return None, totals
    judged_requests = (requests[FIRST_TOKEN] or requests[PACE]) + rejected
    return Misses(judged_requests, min(judged_requests, missed + rejected)), totals


def judged(histograms: Iterable[HistogramSample], objective: ObjectiveLimit) -> HistogramSample | None:
    """The histogram an objective is counted at: its threshold's edge or the next stricter one, else the first."""
    mine = [sample for sample in histograms if sample.metric == objective.metric]
    within = [sample for sample in mine if sample.edge_seconds <= objective.threshold_seconds * (1 + 1e-9)]
    if within:
        return max(within, key=lambda sample: sample.edge_seconds)
    return min(mine, key=lambda sample: sample.edge_seconds, default=None)
