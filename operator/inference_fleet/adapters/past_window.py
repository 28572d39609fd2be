"""Range queries over a window, answered moment by moment as instant queries would have been."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference_fleet.adapters.histogram_totals import Row, number_of

RangeQuery = Callable[[str, Sequence[float]], list[Any]]
"""(query, moments) -> the series of the answer, as Prometheus writes them."""


class PastWindow:
    """Asks for every text once, and remembers the answer compactly. moments: evenly spaced unix seconds."""

    def __init__(self, ask: RangeQuery, moments: Sequence[float]) -> None:
        self._ask = ask
        self._moments = moments
        self._places = {round(at, 3): place for place, at in enumerate(moments)}
        self._answers: dict[str, list[tuple[Mapping[str, str], array[float]]]] = {}

    def query(self, text: str, at: float) -> list[Row]:
        """What an instant query at one of the moments answers. Raises what the asking raises, and ValueError or
        TypeError on an answer that is none.
        """
        place = self._places[round(at, 3)]
        if text not in self._answers:
            self._answers[text] = [self._series(series) for series in self._ask(text, self._moments)]
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
