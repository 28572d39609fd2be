"""Histograms as totals over all engines there ever were: none of them takes back what it counted when it goes.

Prometheus adds up what engines say now. When one goes, or starts again, its part leaves that sum, and what the others
have counted meanwhile may hide it. So a second query per histogram asks what has left the sum since the last answer,
and what has ever left is added to every sum: the differences of the totals are what was counted, by whomever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from inference_fleet.adapters.ports import PodKey, Promised, VariantKey
from inference_fleet.engine.metrics import OBJECTIVE_FAMILIES, judged_edge_seconds
from inference_fleet.scaling.types import HistogramSample

# An engine stays in the sum this long after its last sample. Long enough for a scrape that fails now and then and for
# samples that arrive late, short enough for a query over 50,000 series.
KEPT_SECONDS: Final = 120
# After a longer pause of the answers totals begin anew: what was counted in it belongs to no load that was seen.
LONGEST_PAUSE_SECONDS: Final = 300.0
# An engine that was silent this long is a new one when it speaks again.
REMEMBERED_SECONDS: Final = 24 * 3600.0

# Every query selects by this; who asks about some deployments alone puts other matchers in its place.
ALL_DEPLOYMENTS: Final = 'inference_deployment!=""'
_VARIANT: Final = "namespace, inference_deployment, inference_variant"
# Asked only when an engine speaks again after a long silence.
RETURNED_QUERY: Final = (
    f'count by ({_VARIANT}, pod) (vllm:num_requests_running{{{ALL_DEPLOYMENTS},inference_variant!=""}})'
)

Row = tuple[Mapping[str, str], float]
Query = Callable[[str, float], list[Row]]
_Edge = tuple[VariantKey, str, float]
"""(variant, metric, edge in seconds); an infinite edge counts all requests."""


def histogram_query(metric: str, edges_seconds: Iterable[float]) -> str:
    """What the engines of each variant say at these edges of their own, and of all requests.

    Added up by Prometheus, and not of every edge: by pod, 1,000 deployments of ten are 430,000 rows (60 MB, 2.3 s to
    read, 446 MB at the peak) in every tick.
    """
    return f"sum by ({_VARIANT}, le) ({_said(metric, _edges(edges_seconds))})"


def departures_query(metric: str, edges_seconds: Iterable[float], *, milliseconds: int) -> str:
    """What has left the sums of `histogram_query` since so long ago.

    All that was in them then, but of engines that still count on from there: of one that is gone, and of one that has
    started again and counts from zero.
    """
    all_requests = _edges(())
    then = _said(metric, _edges(edges_seconds), milliseconds=milliseconds)
    goes_on = f"{_said(metric, all_requests)} >= {_said(metric, all_requests, milliseconds=milliseconds)}"
    return f"sum by ({_VARIANT}, le) ({then} unless ignoring (le) ({goes_on})) > 0"


def number_of(text: Any) -> float:
    """NaN for whatever is no number; Prometheus writes NaN, +Inf and -Inf as words."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


class HistogramTotals:
    """Remembers what has left the sums, and since when each variant's totals are continuous."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._left: dict[_Edge, float] = {}
        self._begun = 0.0
        self._anew: dict[VariantKey, float] = {}
        self._heard: dict[PodKey, float] = {}

    def read(
        self, query: Query, *, at: float, promised: Collection[Promised], heard: Mapping[PodKey, float]
    ) -> dict[VariantKey, tuple[HistogramSample, ...]]:
        """The totals now. heard: when each pod that answers was scraped. Raises whatever `query` raises, and is then
        as if it had not been called.
        """
        # Whole milliseconds: the moment that was asked about then is the one that is compared with.
        at = round(at, 3)
        continuous = self._asked_at is not None and 0 < at - self._asked_at <= LONGEST_PAUSE_SECONDS
        left = dict(self._left) if continuous else {}
        begun = self._begun if continuous else at
        found: dict[VariantKey, list[HistogramSample]] = {}
        anew = self._returned(query, at=at, heard=heard) if continuous else {}
        for metric in sorted({metric for metric, _ in promised}):
            edges = sorted({judged_edge_seconds(metric, threshold) for one, threshold in promised if one == metric})
            if continuous and self._asked_at is not None:
                pause = round(1000 * (at - self._asked_at))
                for edge, count in _counts(metric, query(departures_query(metric, edges, milliseconds=pause), at)):
                    left[edge] = left.get(edge, 0.0) + count
            now = dict(_counts(metric, query(histogram_query(metric, edges), at)))
            for (variant, _, seconds), count in sorted(now.items()):
                total = now.get((variant, metric, math.inf))
                if total is None or not math.isfinite(seconds):
                    continue
                sample = HistogramSample(
                    metric,
                    edge_seconds=seconds,
                    good=count + left.get((variant, metric, seconds), 0.0),
                    total=total + left.get((variant, metric, math.inf), 0.0),
                    sample_time=at,
                    since=anew.get(variant, begun),
                )
                found.setdefault(variant, []).append(sample)
        self._asked_at, self._left, self._begun, self._anew = at, left, begun, anew
        remembered = {pod: time for pod, time in self._heard.items() if time > at - REMEMBERED_SECONDS}
        self._heard = remembered | dict(heard)
        return {variant: tuple(samples) for variant, samples in found.items()}

    def _returned(self, query: Query, *, at: float, heard: Mapping[PodKey, float]) -> dict[VariantKey, float]:
        """Since when the totals of variants are continuous that began anew: an engine that was out of the sum came
        back into it with all it ever counted.
        """
        assert self._asked_at is not None
        out_since = self._asked_at - KEPT_SECONDS
        known = self._heard
        back = {pod for pod, time in heard.items() if known.get(pod, math.inf) <= out_since < time}
        if not back:
            return self._anew
        rows = [labels for labels, _ in query(RETURNED_QUERY, at)]
        return self._anew | {
            _variant(labels): at for labels in rows if (labels.get("namespace"), labels["pod"]) in back
        }


def _edges(edges_seconds: Iterable[float]) -> str:
    # Prometheus writes 1.0 since its third version, and wrote 1 before.
    words = [f"{edge:g}".replace(".", "[.]") + ("([.]0)?" if edge.is_integer() else "") for edge in edges_seconds]
    return "|".join([*words, "[+]Inf"])


def _said(metric: str, edges: str, *, milliseconds: int = 0) -> str:
    """By pod and core, the last sample of the minutes before. Of two that report the same engine the larger counts."""
    selector = f'{{{ALL_DEPLOYMENTS},le=~"{edges}"}}[{KEPT_SECONDS}s]'
    offset = f" offset {milliseconds}ms" if milliseconds else ""
    series = f"{OBJECTIVE_FAMILIES[metric]}_bucket{selector}{offset}"
    return f"max by ({_VARIANT}, pod, engine, le) (last_over_time({series}))"


def _counts(metric: str, rows: Iterable[Row]) -> Iterable[tuple[_Edge, float]]:
    for labels, number in rows:
        edge = number_of(labels.get("le"))
        if not math.isnan(edge) and 0 <= number < math.inf:
            yield (_variant(labels), metric, edge), number


def _variant(labels: Mapping[str, str]) -> VariantKey:
    return labels.get("namespace", ""), labels.get("inference_deployment", ""), labels.get("inference_variant", "")
