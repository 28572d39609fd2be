"""Range queries over a window, answered moment by moment as instant queries would have been."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from inference_fleet.adapters.histogram_totals import ALL_DEPLOYMENTS, Row, number_of
from inference_fleet.adapters.ports import DeploymentKey

RangeQuery = Callable[[str, Sequence[float]], list[Any]]
"""(query, moments) -> the series of the answer, as Prometheus writes them."""


class PastWindow:
    """Asks for every text once, and remembers the answer compactly. moments: evenly spaced unix seconds. of: the
    deployments that are asked about.
    """

    def __init__(self, ask: RangeQuery, moments: Sequence[float], *, of: Collection[DeploymentKey]) -> None:
        self._ask = ask
        self._of = _matchers(of)
        self._moments = moments
        self._places = {round(at, 3): place for place, at in enumerate(moments)}
        self._answers: dict[str, list[tuple[Mapping[str, str], array[float]]]] = {}

    def query(self, text: str, at: float) -> list[Row]:
        """What an instant query at one of the moments answers. Raises what the asking raises, and ValueError or
        TypeError on an answer that is none.
        """
        place = self._places[round(at, 3)]
        if text not in self._answers:
            asked = text.replace(ALL_DEPLOYMENTS, self._of)
            self._answers[text] = [self._series(series) for series in self._ask(asked, self._moments)]
        return [(labels, values[place]) for labels, values in self._answers[text] if not math.isnan(values[place])]

    def _series(self, series: Any) -> tuple[Mapping[str, str], array[float]]:
        if not isinstance(series, dict) or not isinstance(series.get("metric"), dict):
            raise TypeError("a series has no labels")
        values = array("d", [math.nan]) * len(self._moments)
        for at, text in series.get("values", ()):
            place = self._places.get(round(float(at), 3))
            if place is not None:
                values[place] = number_of(text)
        return series["metric"], values


def _matchers(of: Collection[DeploymentKey]) -> str:
    # Names of both are DNS labels: none of their characters means anything else in a regular expression.
    namespaces, names = ("|".join(sorted({key[part] for key in of})) for part in (0, 1))
    return f'namespace=~"{namespaces}",inference_deployment=~"{names}"'
