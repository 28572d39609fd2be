"""A rise that has just begun, drawn out straight: for a scaler that knows no better yet.

The regression of a young scaler is a mean of averages, which lags a ramp by minutes. In its first minutes the forecast
is at least the straight line through what it has seen, where the arrivals come later than chance explains.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

# What was seen so long ago counts for 1/e.
MEMORY_SECONDS: Final = 60.0
# Standard deviations of a Poisson process by which the arrivals' mean age must fall short of an even flow's.
DEVIATIONS: Final = 2.5
# A line needs some points; a replica's first ones also show it filling up.
FEWEST_TICKS: Final = 4
# A line is not believed beyond this many times where it stands.
MOST_GROWTH: Final = 3.0
# Later the regression has learned what a rise means for this traffic.
UNTIL_SECONDS: Final = 1200.0


class Rise(NamedTuple):
    """Decayed sums over the ticks: arrivals and demand (replica seconds), and each times its age.

    seconds, ticks: how long and how many.
    """

    arrivals: float = 0.0
    arrivals_by_age: float = 0.0
    demand: float = 0.0
    demand_by_age: float = 0.0
    seconds: float = 0.0
    ticks: int = 0

    def learned(self, demand: float, *, arrivals: float, seconds: float) -> Rise:
        """With one tick of so many seconds. demand: replicas; arrivals: per second."""
        kept = math.exp(-seconds / MEMORY_SECONDS)
        fresh, fresh_by_age = _moment(0, seconds, MEMORY_SECONDS), _moment(1, seconds, MEMORY_SECONDS)
        return Rise(
            arrivals=self.arrivals * kept + arrivals * fresh,
            arrivals_by_age=(self.arrivals_by_age + self.arrivals * seconds) * kept + arrivals * fresh_by_age,
            demand=self.demand * kept + demand * fresh,
            demand_by_age=(self.demand_by_age + self.demand * seconds) * kept + demand * fresh_by_age,
            seconds=self.seconds + seconds,
            ticks=self.ticks + 1,
        )

    def ahead(self, lead_seconds: float) -> float:
        """Demand when the rise has gone on for so long, but for no longer than it was seen: a minute says little of the
        two after it. 0 where nothing rises beyond chance, and later in life.

        Least squares over what was seen, weights exp(-age / MEMORY_SECONDS). Whether it rises at all: the trend test
        for a Poisson process (Cox and Lewis 1966, "the Laplace test") with the same weights: at an even rate r the
        sum of (mean age - age) over the arrivals has mean 0 and variance r times the integral of its square.
        Demand is not expected to grow faster than arrivals: replicas that fill up look like a rise, too.
        """
        if self.ticks < FEWEST_TICKS or self.seconds > UNTIL_SECONDS or self.arrivals <= 0:
            return 0.0
        weight, first, second = (_moment(power, self.seconds, MEMORY_SECONDS) for power in range(3))
        mean_age, spread = first / weight, second - first * first / weight
        # The same integrals with the weights squared.
        w0, w1, w2 = (_moment(power, self.seconds, MEMORY_SECONDS / 2) for power in range(3))
        rate, demand = self.arrivals / weight, self.demand / weight
        later = mean_age * self.arrivals - self.arrivals_by_age
        if later < DEVIATIONS * math.sqrt(rate * (w2 - 2 * mean_age * w1 + mean_age**2 * w0)):
            return 0.0
        slope, demand_slope = later / spread, (mean_age * self.demand - self.demand_by_age) / spread
        if demand_slope <= 0:
            return 0.0
        now = demand + demand_slope * mean_age
        growth = min(slope / (rate + slope * mean_age), demand_slope / now) * min(lead_seconds, self.seconds)
        return now * min(1 + growth, MOST_GROWTH)


def _moment(power: int, age: float, constant: float) -> float:
    """Integral of a^power exp(-a / constant) for a from 0 to age."""
    x = age / constant
    rest = math.exp(-x) * (1.0, 1 + x, 2 + 2 * x + x * x)[power]
    return constant ** (power + 1) * ((1.0, 1.0, 2.0)[power] - rest)
