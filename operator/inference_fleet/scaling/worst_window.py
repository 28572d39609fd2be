"""The worst stretch of the last day, for a promise that holds in every hour and not only over the day.

A budget that is counted over an hour alone buys too little in quiet hours: the price falls, the next burst finds no
replicas, and its hour is lost. So the budget of days always counts, and beside it the present hour and the worst hour
of the last day, which is forgotten as slowly as the day's budget: the largest share sets the price. It rises within an
hour and falls within a day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.price import USUAL_SPENT
from inference_fleet.scaling.types import DAY_SECONDS

# A little above what the highest price asks for (1.19): after the worst hour it stays highest for one hour more.
MOST_SPENT: Final = 1.25
# Of a window's budget so much is meant to be spent.
USED_IN_WINDOW: Final = 0.55


@dataclass(frozen=True)
class WorstWindow:
    """Misses and requests of the present window, decayed; seconds lived; worst: the largest share of its budget that a
    whole window spent, fading over a day; spent: the share that counts now, 0 where promises are of a day.
    """

    misses: float = 0.0
    requests: float = 0.0
    lived: float = 0.0
    worst: float = 0.0
    spent: float = 0.0

    def learned(
        self, *, misses: float, requests: float, seconds: float, window_seconds: float, target: float
    ) -> WorstWindow:
        """With one tick. Nothing is kept where the window is the budget's own."""
        if window_seconds >= DAY_SECONDS:
            return NO_WINDOW
        kept = math.exp(-seconds / window_seconds)
        missed, seen = self.misses * kept + min(misses, requests), self.requests * kept + requests
        # As if one more miss's worth of requests had been missed as usual: one miss of a few requests is chance.
        allowed = USED_IN_WINDOW * (1 - target)
        spent = min((missed + USUAL_SPENT) / (allowed * seen + 1), MOST_SPENT)
        lived = self.lived + seconds
        # What a scaler misses in its first window says more of what it had yet to learn than of the traffic.
        worst = max(self.worst * math.exp(-seconds / DAY_SECONDS), spent) if lived > window_seconds else 0.0
        return WorstWindow(missed, seen, lived, worst, max(spent, worst))


NO_WINDOW: Final = WorstWindow()
