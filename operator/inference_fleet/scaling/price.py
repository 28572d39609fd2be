"""What it is worth to avoid misses, and the number of replicas that follows.

N + price x E[share of misses with N replicas] is least at N*: the online form of the Lagrangian of the offline
optimum, which is why one constant serves smooth and bursty traffic alike. Source: design, sections 5 and 5.1.
"""

from __future__ import annotations

import math
from operator import sub
from typing import Final, NamedTuple

from inference_fleet.scaling.forecast import Outlook
from inference_fleet.scaling.types import DAY_SECONDS
from inference_fleet.scaling.violation_curve import LOG_FIRST, LOG_RATIO, Curve

# How many times the mean fleet one would pay for not failing everybody, at a target of 99 %.
START_PRICE: Final = 22.0
LEAST_PRICE: Final = 9.0
MOST_PRICE: Final = 150.0
USUAL_TARGET: Final = 0.99
# The part of the budget's window that is not lived yet counts as spent to this share.
USUAL_SPENT: Final = 0.95
STEEPNESS: Final = 8.0
MOST_SPENT: Final = 2.0
# Of the week's budget so much is meant to be spent: the rest is for what no window can see. A day may be worse than its
# week by so much before it alone raises the price.
USED_IN_WEEK: Final = 0.6
USED_IN_DAY: Final = 0.8
WEEK_SECONDS: Final = 7 * DAY_SECONDS
IGNORED_SECONDS: Final = 300.0
# Replicas that serve one replica's demand where the promise is kept: what recorded days came to.
USUAL_REPLICAS_PER_DEMAND: Final = 1.8
# No more than this share may be expected to miss beyond those that nothing can save, whatever it costs.
MOST_MISSES: Final = 0.15
EXACT_UP_TO: Final = 64
NEAR: Final = 4
# One replica more, or this share of what is there, is what the noise asks for as often as the load does.
LITTLE_SHARE: Final = 0.1
# A replica that is wanted for a moment is paid for the cold start before it and for the hold of one after it.
PAID_BY_SERVED: Final = 2.0


class Budget(NamedTuple):
    """Misses and requests of the last day and of the last week, both decayed.

    Bursts come days apart. A price that forgets them in a day is high after a bad one and low before the next, and pays
    more for the same misses than one that stays between: the week keeps it there, and the day lets it rise in time.
    """

    misses: float = 0.0
    requests: float = 0.0
    week_misses: float = 0.0
    week_requests: float = 0.0

    def learned(self, *, misses: float, requests: float, seconds: float) -> Budget:
        """With one tick."""
        misses = min(misses, requests)
        day, week = math.exp(-seconds / DAY_SECONDS), math.exp(-seconds / WEEK_SECONDS)
        former = self
        if self.week_requests < self.requests:
            # From a checkpoint that knew no week: the day is what is known of it.
            former = Budget(self.misses, self.requests, self.misses, self.requests)
        return Budget(
            former.misses * day + misses,
            former.requests * day + requests,
            former.week_misses * week + misses,
            former.week_requests * week + requests,
        )

    def spent(self, *, target: float, age: float) -> float:
        """Spent share of what may be spent of the error budget, of the day's or the week's, whichever is more.

        The part of a day that is not lived yet counts as nearly spent. age: seconds.
        """
        lived = 1 - math.exp(-max(0.0, age - IGNORED_SECONDS) / DAY_SECONDS)
        seen = USUAL_SPENT
        if self.requests > 0:
            day = self.misses / (USED_IN_DAY * self.requests)
            week = self.week_misses / (USED_IN_WEEK * max(self.requests, self.week_requests))
            seen = max(day, week) / (1 - target)
        return lived * seen + (1 - lived) * USUAL_SPENT


def pure_price(spent: float, *, target: float) -> float:
    """The price as a pure number: mean fleets that one would pay for not failing everybody."""
    scale = (1 - USUAL_TARGET) / (1 - target)
    price = START_PRICE * math.exp(STEEPNESS * (min(spent, MOST_SPENT) - USUAL_SPENT))
    return scale * min(max(price, LEAST_PRICE), MOST_PRICE)


def price_in_replicas(pure: float, *, demand: float) -> float:
    """The price of all requests of a moment missing, in replicas: pure x the fleet that is usual for its demand.

    The design takes the mean fleet and the mean arrivals for it; but an overload that fills the fleet would raise the
    mean, and with it the price, and the fleet again. Example: 22, 4 replicas of demand -> 22 x 1.8 x 4 = 158.
    """
    return pure * USUAL_REPLICAS_PER_DEMAND * demand


class Choice(NamedTuple):
    """The cheapest capacity (replicas) and the share of misses expected with it."""

    replicas: float
    misses: float


def cheapest(outlook: Outlook, curve: Curve, *, price: float, most: int, unit: float = 1.0) -> Choice:
    """The N in 1..most times `unit` that minimises N + price x E(N), among those whose E(N) is tolerable.

    unit: what one replica of a variant carries, in replicas of the first: the steps in which capacity can be had.
    """
    misses = _Expected(outlook, curve, unit=unit)
    price /= unit
    tolerable = curve.floor + MOST_MISSES
    guess = math.ceil(outlook.demand / unit)
    low, best_share = _least_tolerable(misses, guess=guess, tolerable=tolerable, most=most)
    best = low
    least = best + price * best_share
    # Fleets of hundreds need no exact count.
    step = max(1, low // EXACT_UP_TO)
    candidate = low + step
    # Beyond this even a fleet without avoidable misses costs more.
    while candidate <= most and candidate + price * curve.floor < least:
        share = misses.of(candidate)
        if candidate + price * share < least:
            best, best_share, least = candidate, share, candidate + price * share
        candidate += step
    return Choice(best * unit, best_share)


def worth_starting(
    outlook: Outlook, curve: Curve, *, price: float, most: int, present: float, unit: float = 1.0
) -> Choice:
    """The cheapest; but of little more than what is present (replicas of the first variant) only what pays for being
    started and held as well.

    5 present, 6 cheapest at this price, 5 at half of it -> 5: without it every wave of the noise starts a replica.
    """
    choice = cheapest(outlook, curve, price=price, most=most, unit=unit)
    if not present < choice.replicas <= present + max(unit, LITTLE_SHARE * present):
        return choice
    lasting = cheapest(outlook, curve, price=price / PAID_BY_SERVED, most=most, unit=unit)
    if lasting.replicas > present:
        return lasting
    return Choice(present, expected_misses(outlook, curve, capacity=present))


def expected_misses(outlook: Outlook, curve: Curve, *, capacity: float) -> float:
    """Share of misses expected with a capacity in replicas of the first variant."""
    return _Expected(outlook, curve, unit=1.0).of(capacity)


def _least_tolerable(misses: _Expected, *, guess: int, tolerable: float, most: int) -> tuple[int, float]:
    """The smallest fleet with tolerable misses, and its misses; found from near the forecast."""
    high = min(max(guess, 1), most)
    share = misses.of(high)
    low = 0
    while share > tolerable and high < most:
        low, high = high, min(most, high + 1 + high // 8)
        share = misses.of(high)
    while high - low > 1:
        # Down by one from the guess, where the answer nearly always is; by halves after a search upwards.
        middle = high - 1 if high - low < NEAR or low == 0 else (low + high) // 2
        found = misses.of(middle)
        if found <= tolerable:
            high, share = middle, found
        else:
            low = middle
    return high, share


class _Expected:
    """E(N) = sum over errors of weight x v(forecast x error / N), on the curve's own grid for speed."""

    __slots__ = ("_base", "_errors", "_last", "_rises", "_shares", "_weights")

    def __init__(self, outlook: Outlook, curve: Curve, *, unit: float) -> None:
        self._shares = curve.shares
        self._rises = list(map(sub, curve.shares[1:], curve.shares))
        self._last = len(curve.shares) - 1
        self._base = (outlook.log_demand - math.log(unit) - LOG_FIRST) / LOG_RATIO
        self._errors = [error / LOG_RATIO for error in outlook.errors]
        self._weights = outlook.weights

    def of(self, replicas: float) -> float:
        base = self._base - math.log(replicas) / LOG_RATIO
        shares, rises, last = self._shares, self._rises, self._last
        first, final = shares[0], shares[last]
        total = 0.0
        if base + self._errors[0] > 0 and base + self._errors[-1] < last:
            # In ascending order: all of them are on the grid, nearly always.
            for error, weight in zip(self._errors, self._weights, strict=True):
                place = base + error
                low = int(place)
                total += weight * (shares[low] + (place - low) * rises[low])
            return total
        for error, weight in zip(self._errors, self._weights, strict=True):
            place = base + error
            if place <= 0:
                total += weight * first
            elif place >= last:
                total += weight * final
            else:
                low = int(place)
                total += weight * (shares[low] + (place - low) * rises[low])
        return total
