"""How much the load will have grown when a replica that is begun now is ready: a line through the last minute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# Long enough to see a rise through the noise of arrivals, short enough to believe that it goes on.
WINDOW_SECONDS: Final = 60.0
FEWEST_POINTS: Final = 4
# A rise is believed up to a doubling: a short burst is not the beginning of a climb to the sky.
MOST_GROWTH: Final = 1.0


def growth(loads: Sequence[tuple[float, float]], *, now: float, load: float, ahead_seconds: float) -> float:
    """Requests to come on top of `load` within `ahead_seconds`; 0 while the load falls or little is known.

    loads: (unix seconds, requests) of past ticks. The slope is that of least squares over the last minute. Example:
    4, 6, 8 and now 10 requests, 15 s apart, 30 s ahead: slope 2/15 -> 4 more.
    """
    points = [(time - now, count) for time, count in loads if 0 < now - time <= WINDOW_SECONDS] + [(0.0, load)]
    if len(points) < FEWEST_POINTS:
        return 0.0
    # A single step is where the load is now, not where it goes: the rise must show without the newest point too.
    slope = min(_slope(points), _slope(points[:-1]))
    return min(max(0.0, slope * ahead_seconds), MOST_GROWTH * load)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Requests per second, by least squares."""
    mean_time = sum(time for time, _ in points) / len(points)
    mean_load = sum(count for _, count in points) / len(points)
    spread = sum((time - mean_time) ** 2 for time, _ in points)
    if spread <= 0:
        return 0.0
    return sum((time - mean_time) * (count - mean_load) for time, count in points) / spread
