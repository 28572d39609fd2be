"""llm-d's SLO-aware rule: latency at its 90 % quantile by its objective, with slow steps down.

Source: https://github.com/llm-d/llm-d/blob/main/docs/architecture/autoscaling/slo-aware.md. Saturation s = mean over
45 s of min(2, max(P90 / objective)) over one-minute rates, 0 without traffic; up above 0.55, with credit for replicas
that still start; down below 0.40; then an HPA: up by 100 % or 4 pods a minute after 30 s, down by one pod per 120 s
after 180 s. The quantile is the measured one; their benchmark used a predicted one, which reacts a little earlier.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import METRIC_FIRST, METRIC_PACE, Histogram, Scrape, Sight
from inference_fleet.simulation.policies.policy import PolicyKind, clamped

RATE_WINDOW_SECONDS: Final = 60.0
QUANTILE: Final = 0.9
MOST_STRESS: Final = 2.0
SMOOTHED_OVER: Final = 3
UP_WINDOW_SECONDS: Final = 30.0
UP_PERIOD_SECONDS: Final = 60.0
UP_PODS: Final = 4
DOWN_WINDOW_SECONDS: Final = 180.0
DOWN_PERIOD_SECONDS: Final = 120.0


def recommended(replicas: int, stress: float, *, ready: int, up: float, down: float) -> int:
    """n + ceil(n (s c / up - 1)) above `up`, n - floor(n (1 - s / down)) below `down`, else n; c = ready / n.

    4 replicas, all ready, s 1.1, up 0.55 -> 8; with 2 of the 4 ready the credit halves the ask -> 4.
    """
    credit = ready / replicas if 0 < ready < replicas else 1.0
    if stress > up:
        return replicas + math.ceil(round(replicas * (stress * credit / up - 1), 9))
    if stress < down:
        return replicas - math.floor(round(replicas * (1 - stress / down), 9))
    return replicas


def histogram_quantile(quantile: float, *, before: Sequence[Histogram], after: Sequence[Histogram]) -> float | None:
    """Prometheus's: linear within the bucket; the last finite edge beyond it; None without requests in between."""
    edges = after[0].edges
    counts = [
        sum(histogram.counts[place] for histogram in after) - sum(histogram.counts[place] for histogram in before)
        for place in range(len(edges) + 1)
    ]
    total = sum(counts)
    if total <= 0:
        return None
    rank, below = quantile * total, 0
    for place, (low, high) in enumerate(itertools.pairwise((0.0, *edges))):
        if below + counts[place] >= rank and counts[place] > 0:
            return low + (high - low) * (rank - below) / counts[place]
        below += counts[place]
    return edges[-1]


class SloAware:
    """Steps by how near the tail of the latencies is to the promise."""

    def __init__(self, limits: Limits, *, up: float, down: float) -> None:
        self._limits = limits
        self._up, self._down = up, down
        self._scrapes: list[Scrape] = []
        self._stress: list[float] = []
        self._wishes: list[tuple[float, int]] = []
        self._sizes: list[tuple[float, int]] = []

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One tick."""
        first, *others = sight.observation.variants
        current = first.desired
        stress = self._observe(sight)
        self._stress = [*self._stress, stress][-SMOOTHED_OVER:]
        wish = recommended(
            max(1, current), sum(self._stress) / len(self._stress), ready=first.ready, up=self._up, down=self._down
        )
        return (self.settle(clamped(wish, self._limits), current=current, now=sight.now), *(0 for _ in others))

    def settle(self, wish: int, *, current: int, now: float) -> int:
        """Up to the least wish of 30 s, at most doubling or 4 a minute; down to the most of 180 s, one per 120 s."""
        self._wishes = [(t, n) for t, n in (*self._wishes, (now, wish)) if now - t <= DOWN_WINDOW_SECONDS]
        self._sizes = [(t, n) for t, n in (*self._sizes, (now, current)) if now - t <= DOWN_PERIOD_SECONDS]
        up = min(n for t, n in self._wishes if now - t <= UP_WINDOW_SECONDS)
        if up > current:
            lowest = min(n for t, n in self._sizes if now - t <= UP_PERIOD_SECONDS)
            return max(current, min(up, max(2 * lowest, lowest + UP_PODS)))
        down = max(n for _, n in self._wishes)
        if down < current:
            highest = max(n for _, n in self._sizes)
            return min(current, max(down, highest - 1))
        return current

    def _observe(self, sight: Sight) -> float:
        scrape = sight.scrape
        self._scrapes = [s for s in self._scrapes if scrape.time - s.time <= RATE_WINDOW_SECONDS + 1.0]
        if not self._scrapes or self._scrapes[-1].time < scrape.time:
            self._scrapes.append(scrape)
        before = self._scrapes[0]
        first = histogram_quantile(QUANTILE, before=before.first_token, after=scrape.first_token)
        pace = histogram_quantile(QUANTILE, before=before.inter_token, after=scrape.inter_token)
        shares = [
            value / objective.threshold_seconds
            for objective in self._limits.objectives
            for metric, value in ((METRIC_FIRST, first), (METRIC_PACE, pace))
            if objective.metric == metric and value is not None
        ]
        return min(MOST_STRESS, max(shares, default=0.0))


def _build(limits: Limits, parameters: Mapping[str, float]) -> SloAware:
    return SloAware(limits, up=parameters["up"], down=parameters["down"])


LLM_D_SLO_AWARE = PolicyKind(
    name="llm-d-slo-aware",
    source="llm-d, SLO-aware autoscaling",
    defaults={"up": 0.55, "down": 0.40},
    build=_build,
    grid=tuple(
        {"up": up, "down": down}
        for up, down in ((0.45, 0.3), (0.55, 0.4), (0.7, 0.5), (0.8, 0.6), (0.9, 0.7), (1.0, 0.8))
    ),
)
