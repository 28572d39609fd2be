"""When replicas may go: only down to the largest need of a cold start, then in steps. Source: design, section 5.

A replica that is removed and wanted again within a cold start costs its whole start for nothing. What is held for
longer is what has paid before (see standby): with that, one cold start costs less than three and keeps as much. Down by
a quarter of the fleet at a time, where the design has a tenth.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HOLD_COLD_STARTS: Final = 1.0
# A young scaler does not go down before this many cold starts, or a cold start and five minutes.
YOUNG_COLD_STARTS: Final = 3.5
YOUNG_EXTRA_SECONDS: Final = 300.0
# Down-rate: at most this share of what the fleet carries, and always one replica, per cold start.
DOWN_SHARE: Final = 0.25
MAXIMUM_NEEDS: Final = 240


class Held(NamedTuple):
    """What is held, in replicas of the main variant, and from when on less may do if the need stays."""

    replicas: float
    lets_go: float


def held(
    needs: tuple[tuple[float, float], ...], *, need: float, cold_start: float, started: float, now: float
) -> Held | None:
    """The largest need of the hold window; None while the scaler is young and holds everything.

    needs: (unix seconds, replicas of the main variant) of past ticks.
    """
    if now < young_until(started=started, cold_start=cold_start):
        return None
    window = HOLD_COLD_STARTS * cold_start
    largest, last_larger = need, None
    # The newest first: what is older than the window is never looked at.
    for time, count in reversed(needs):
        if now - time > window:
            break
        if last_larger is None and count > need:
            last_larger = time
        if count > largest:
            largest = count
    return Held(largest, (now if last_larger is None else last_larger) + window)


def young_until(*, started: float, cold_start: float) -> float:
    """Until when a scaler that began at `started` holds."""
    return started + min(cold_start + YOUNG_EXTRA_SECONDS, YOUNG_COLD_STARTS * cold_start)
