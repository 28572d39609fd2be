"""The load as the fleet feels it: the demand that arrives, averaged over the time a request is under way.

The work of a long answer arrives in one tick and is done over minutes. Booked on the tick of its arrival, a handful of
such requests looks like a load that comes and goes, and a fleet kept for it is too large. If requests are served for
exponentially distributed times, the work under way is exactly the exponential average of what arrives, with the mean
time as its constant (the M/G/infinity queue); the mean time is known by Little's law. Of short answers, about
two ticks are averaged.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

# A tick's tokens are a noisy measure, however short the requests: about the mean of two ticks.
LEAST_SECONDS: Final = 20.0
# Beyond this an average would be later than the starts of replicas that it decides on.
MOST_SECONDS: Final = 300.0


class FeltLoad(NamedTuple):
    """In replicas: all of the demand, and the part that tokens to compute make of it. Zero before the first tick."""

    demand: float = 0.0
    compute: float = 0.0

    def learned(self, *, demand: float, compute: float, service_seconds: float, seconds: float) -> FeltLoad:
        """With one tick. service_seconds: how long a request is under way; seconds: since the last tick."""
        if self.demand == 0:
            return FeltLoad(demand, compute)
        kept = math.exp(-seconds / min(max(service_seconds, LEAST_SECONDS), MOST_SECONDS))
        return FeltLoad(self.demand * kept + demand * (1 - kept), self.compute * kept + compute * (1 - kept))


NOTHING_FELT: Final = FeltLoad()
