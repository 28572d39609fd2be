"""A rise that has just begun, drawn out straight: for a scaler that knows no better yet.

The regression of a young scaler is a mean of averages, which lags a ramp by minutes. In its first minutes
the forecast is at least the line through two short averages, where the arrivals rise by more than chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SHORT_SECONDS: Final = 30.0
LONG_SECONDS: Final = 120.0
# Standard deviations of a Poisson count by which the short average's arrivals must exceed the long one's.
DEVIATIONS: Final = 2.5
# Later the regression has learned what a rise means for this traffic.
UNTIL_SECONDS: Final = 1200.0


@dataclass(frozen=True)
class Rise:
    """Decayed sums of demand (replicas) and arrivals (per second) over half a minute and two, and their weights."""

    short_demand: float = 0.0
    long_demand: float = 0.0
    short_arrivals: float = 0.0
    long_arrivals: float = 0.0
    short_weight: float = 0.0
    long_weight: float = 0.0
    age: float = 0.0

    def learned(self, demand: float, *, arrivals: float, seconds: float) -> Rise:
        """With one tick."""
        short, long = math.exp(-seconds / SHORT_SECONDS), math.exp(-seconds / LONG_SECONDS)
        return Rise(
            short_demand=self.short_demand * short + demand * (1 - short),
            long_demand=self.long_demand * long + demand * (1 - long),
            short_arrivals=self.short_arrivals * short + arrivals * (1 - short),
            long_arrivals=self.long_arrivals * long + arrivals * (1 - long),
            short_weight=self.short_weight * short + (1 - short),
            long_weight=self.long_weight * long + (1 - long),
            age=self.age + seconds,
        )

    def ahead(self, lead_seconds: float) -> float:
        """Demand when the rise has gone on for so long; 0 where nothing rises beyond chance, and later in life.

        Example: 2.0 replicas over half a minute, 1.4 over two, 30 and 120 s old on average: 1/150 a second; 150 s
        ahead 2.0 + (30 + 150) / 150 = 3.2.
        """
        if self.short_weight <= 0 or self.age > UNTIL_SECONDS:
            return 0.0
        short, long = self.short_demand / self.short_weight, self.long_demand / self.long_weight
        window = 2 * SHORT_SECONDS * self.short_weight
        usual = self.long_arrivals / self.long_weight * window
        came = self.short_arrivals / self.short_weight * window
        if short <= long or came - usual < DEVIATIONS * math.sqrt(max(usual, 1.0)):
            return 0.0
        short_age, long_age = _mean_age(SHORT_SECONDS, self.age), _mean_age(LONG_SECONDS, self.age)
        slope = (short - long) / max(long_age - short_age, 1.0)
        return short + slope * (short_age + lead_seconds)


def _mean_age(constant: float, age: float) -> float:
    """How old what an average of this time constant holds is on average, when it has run for `age` seconds."""
    return constant - age * math.exp(-age / constant) / -math.expm1(-age / constant)
