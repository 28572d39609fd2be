"""At which load the latencies of a tick are booked: late first tokens of an overload belong to the overload.

Booked on the low load after it they would say that nothing is safe. Source: design, section 3.3 ("late truth").
"""

from __future__ import annotations

from typing import Final, NamedTuple

# A backlog is one if its prompts take longer than this share of the first-token objective.
BACKLOG_SHARE: Final = 0.5
# Ticks after a backlog in which its requests still finish.
TICKS_AFTER: Final = 4


class Overload(NamedTuple):
    """former: load of the last tick. booked: the load that this tick's requests count at. peak: largest load since a
    backlog began, 0 without one. left: ticks until it is over.
    """

    former: float = 0.0
    booked: float = 0.0
    peak: float = 0.0
    left: int = 0

    def learned(self, load: float, *, backlog: bool) -> Overload:
        """With the load of this tick; whether its backlog is one (see BACKLOG_SHARE)."""
        recent = max(load, self.former)
        if not backlog and self.left == 0:
            return Overload(former=load, booked=recent)
        peak = max(self.peak, recent)
        return Overload(former=load, booked=peak, peak=peak, left=TICKS_AFTER if backlog else self.left - 1)
