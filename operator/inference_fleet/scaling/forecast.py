"""Demand at the moment a replica begun now would be ready, and the errors such forecasts have made.

A regression on four moving averages of the demand, learned online; its own errors at exactly that lead are the
distribution of what may come: no normality, no fixed headroom. Source: design, section 4.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations_with_replacement
from operator import itemgetter, mul, truediv
from typing import Final, NamedTuple

from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.codec import Column

TICK_SECONDS: Final = 15.0
# Scrape age, decision and start on top of the cold start.
EXTRA_LEAD_SECONDS: Final = 25.0
TIME_CONSTANTS_SECONDS: Final = (30.0, 120.0, 600.0, 3600.0)
FEATURES: Final = 1 + len(TIME_CONSTANTS_SECONDS)
FORGETTING: Final = 0.9997
OBSERVATION_VARIANCE: Final = 0.05
LARGEST_INNOVATION: Final = 0.7
START_VARIANCE: Final = 0.02
LARGEST_TRACE: Final = 0.5
# A forecast is not believed beyond this many times the largest average.
MOST_GROWTH: Final = 3.0
# Three hours of ticks.
MAXIMUM_ERRORS: Final = 720
# Until so many errors are known the list is filled up with the prior's.
KNOWN_AFTER_ERRORS: Final = 480
PRIOR_ERRORS: Final = tuple(0.15 * x for x in (-1.6, -1.0, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1.0, 1.6))
# Nothing is learned in the first ticks: the averages are not yet different from each other.
IGNORED_TICKS: Final = 7
# 20 quantiles evenly over the lower 90 %, 16 over the top 10 %, where the misses are.
LOWER_QUANTILES: Final = 20
UPPER_QUANTILES: Final = 16
LOWER_SHARE: Final = 0.9
QUANTILES: Final[tuple[tuple[float, float], ...]] = tuple(
    [((j + 0.5) / LOWER_QUANTILES * LOWER_SHARE, LOWER_SHARE / LOWER_QUANTILES) for j in range(LOWER_QUANTILES)]
    + [
        (LOWER_SHARE + (j + 0.5) / UPPER_QUANTILES * (1 - LOWER_SHARE), (1 - LOWER_SHARE) / UPPER_QUANTILES)
        for j in range(UPPER_QUANTILES)
    ]
)
_WEIGHTS: Final = tuple(weight for _, weight in QUANTILES)
# Demand beyond the largest of the last day counts by this power of the excess: after three doublings in a row a fourth
# is not as likely as the first was. Believed in full while there is no day to speak of (time constant in ticks).
BEYOND_TOP: Final = 0.4
TOP_SECONDS: Final = 24 * 3600.0
TOP_KNOWN_TICKS: Final = 480.0
MAXIMUM_PENDING: Final = 64
# Of the errors known, those count that were made at the forecasts nearest to this one: this share, at least so many.
# A crowd is likely from a quiet moment where crowds have come, and not from the midst of one.
NEAR_SHARE: Final = 0.25
FEWEST_NEAR: Final = 100
# Up to half as much again is noise, which grows with the load; what is more is a crowd, which does not.
LARGEST_NOISE: Final = math.log(1.5)

_START_WEIGHTS: Final = (0.0, *(1 / len(TIME_CONSTANTS_SECONDS) for _ in TIME_CONSTANTS_SECONDS))
_START_COVARIANCE: Final = tuple(START_VARIANCE if i == j else 0.0 for i in range(FEATURES) for j in range(FEATURES))


# Of a symmetric matrix by rows: its upper triangle; of such a triangle the whole, and its diagonal.
_TRIANGLE: Final = tuple(combinations_with_replacement(range(FEATURES), 2))
_upper: Final = itemgetter(*[FEATURES * row + column for row, column in _TRIANGLE])
_whole: Final = itemgetter(*[_TRIANGLE.index((min(i, j), max(i, j))) for i in range(FEATURES) for j in range(FEATURES)])
_diagonal: Final = itemgetter(*[_TRIANGLE.index((place, place)) for place in range(FEATURES)])


class Pending(NamedTuple):
    """A forecast whose truth is not known yet: when it will be, and what it was made from."""

    due: float
    centre: float
    features: tuple[float, ...]


class Outlook(NamedTuple):
    """What may come. log_demand: of the forecast; errors: log errors, ascending; weights: theirs, add up to 1."""

    log_demand: float
    errors: tuple[float, ...]
    weights: tuple[float, ...] = _WEIGHTS

    @property
    def demand(self) -> float:
        """The forecast, in replicas."""
        return math.exp(self.log_demand)


class Errors(NamedTuple):
    """Errors that forecasts have made, newest last. levels: logarithms of the forecasts; errors: log errors.

    Columns, since hours of pairs take eight times the memory, all of which a copy has to touch. They are not changed
    once they stand here.
    """

    levels: Column = array("d")
    errors: Column = array("d")

    def newer(self, level: float, error: float, *, forgets: int) -> Errors:
        """With one more, and so many fewer of the oldest."""
        levels, errors = self.levels[forgets:], self.errors[forgets:]
        levels.append(level)
        errors.append(error)
        return Errors(levels, errors)


_NO_ERRORS: Final = Errors()


class Ordered(Errors):
    """The same by the forecasts they were made at, ascending: a slice of one column is all that is looked at."""

    __slots__ = ()

    def place(self, level: float, error: float) -> int:
        """Before how many of them this one comes."""
        first = bisect_left(self.levels, level)
        return bisect_left(self.errors, error, first, bisect_right(self.levels, level, first))

    def with_error(self, added: tuple[float, float], *, forgotten: tuple[float, float] | None) -> Ordered:
        """One more, and one less: each (level, error)."""
        levels, errors = self.levels[:], self.errors[:]
        place = self.place(*added)
        if forgotten is not None:
            gone = self.place(*forgotten)
            del levels[gone], errors[gone]
            place -= gone < place
        levels.insert(place, added[0])
        errors.insert(place, added[1])
        return Ordered(levels, errors)


@dataclass(frozen=True)
class Forecast:
    """averages, shares: decayed sums and their weights. weights, covariance: of the regression. errors: newest last;
    ordered: the same, ascending. top: the largest demand of two ticks in a row, fading within days.
    """

    averages: tuple[float, ...] = (0.0,) * len(TIME_CONSTANTS_SECONDS)
    shares: tuple[float, ...] = (0.0,) * len(TIME_CONSTANTS_SECONDS)
    weights: tuple[float, ...] = _START_WEIGHTS
    covariance: tuple[float, ...] = _START_COVARIANCE
    errors: Errors = _NO_ERRORS
    pending: tuple[Pending, ...] = ()
    last_demand: float | None = None
    ticks: int = 0
    top: float = 0.0
    ordered: Ordered = field(default=Ordered(), compare=False)

    def learned(
        self, demand: float, *, felt: float, seconds: float, lead_seconds: float, now: float, expected: float = 0.0
    ) -> Forecast:
        """With the demand of this tick. felt: what the fleet feels of it, the one to forecast. expected: replicas that
        stand ready for what comes at this hour, 0 if nothing was expected.
        """
        due = [entry for entry in self.pending if entry.due <= now]
        learned = self._corrected(due, felt, expected=expected, now=now).followed(demand, seconds=seconds)
        pending = self.pending[len(due) :]
        if learned.ticks > IGNORED_TICKS:
            centre, features = _features(learned.averages, learned.shares)
            pending = (*pending, Pending(now + lead_seconds, centre, features))[-MAXIMUM_PENDING:]
        return changed(learned, pending=pending)

    def followed(self, demand: float, *, seconds: float) -> Forecast:
        """The averages moved on alone: for a tick whose demand is good enough to act on, not to learn from."""
        averages, shares = [], []
        for value, share, constant in zip(self.averages, self.shares, TIME_CONSTANTS_SECONDS, strict=True):
            kept = math.exp(-seconds / constant)
            averages.append(value * kept + demand * (1 - kept))
            shares.append(share * kept + (1 - kept))
        return changed(
            self,
            averages=tuple(averages),
            shares=tuple(shares),
            last_demand=demand,
            ticks=self.ticks + 1,
            top=max(self.top * math.exp(-seconds / TOP_SECONDS), min(demand, self.last_demand or demand)),
        )

    def outlook(self, *, rise: float = 0.0) -> Outlook:
        """The forecast at the lead, and the distribution of its errors. rise: the least that is expected."""
        centre, features = _features(self.averages, self.shares)
        most = max(map(truediv, self.averages, self.shares))
        log_demand = _dot(self.weights, features) + centre
        log_demand = min(log_demand, math.log(MOST_GROWTH * most))
        if rise > 0:
            log_demand = max(log_demand, math.log(rise))
        return Outlook(log_demand, self._below_top(log_demand, self._quantiles(log_demand)))

    @property
    def fastest(self) -> float:
        """The average over half a minute; 0 before the first tick."""
        return self.averages[0] / self.shares[0] if self.ticks else 0.0

    @property
    def error_ratio(self) -> float | None:
        """By how much forecasts of the last hours were off: 0.25 is a quarter up or down; None until known."""
        errors = self.errors.errors
        return math.expm1(sum(map(abs, errors)) / len(errors)) if errors else None

    def _corrected(self, due: Sequence[Pending], felt: float, *, expected: float, now: float) -> Forecast:
        """Learn from the forecasts that fall due; not from ones that are long overdue (signals were unknown)."""
        result = self
        for entry in due:
            if now - entry.due < TICK_SECONDS:
                result = result._with_truth(entry, math.log(felt), expected=expected)
        return result

    def _with_truth(self, entry: Pending, target: float, *, expected: float) -> Forecast:
        x = entry.features
        error = target - entry.centre - _dot(self.weights, x)
        x0, x1, x2, x3, x4 = x
        gain = [a * x0 + b * x1 + c * x2 + d * x3 + e * x4 for a, b, c, d, e in _rows(self.covariance)]
        total = FORGETTING * OBSERVATION_VARIANCE + _dot(gain, x)
        step = min(max(error, -LARGEST_INNOVATION), LARGEST_INNOVATION) / total
        weights = tuple([w + g * step for w, g in zip(self.weights, gain, strict=True)])
        # It is symmetric: only the upper triangle is reckoned.
        pairs = zip(_upper(self.covariance), combinations_with_replacement(gain, 2), strict=True)
        covariance = [(value - one * other / total) / FORGETTING for value, (one, other) in pairs]
        trace = sum(_diagonal(covariance))
        if trace > LARGEST_TRACE:
            covariance = [value * LARGEST_TRACE / trace for value in covariance]
        # What replicas stood ready for surprises nobody: kept as an error it would widen the forecasts after it for
        # hours. 3 forecast, 8 came, 10 stood ready -> no error; 12 came -> one of 12 / 10.
        unforeseen = min(error, max(0.0, target - math.log(expected))) if expected > 0 else error
        return self._with_error(round(target - error, 4), round(unforeseen, 4), weights, _whole(covariance))

    def _with_error(
        self, level: float, error: float, weights: tuple[float, ...], covariance: tuple[float, ...]
    ) -> Forecast:
        known = self.errors
        full = len(known.errors) >= MAXIMUM_ERRORS
        forgotten = (known.levels[0], known.errors[0]) if full else None
        return changed(
            self,
            weights=weights,
            covariance=covariance,
            errors=known.newer(level, error, forgets=full),
            ordered=self._ascending().with_error((level, error), forgotten=forgotten),
        )

    def _ascending(self) -> Ordered:
        """The errors by the forecasts they were made at: derived, so a memory that was read back lacks it."""
        if len(self.ordered.errors) == len(self.errors.errors):
            return self.ordered
        ascending = sorted(zip(*self.errors, strict=True))
        return Ordered(array("d", [level for level, _ in ascending]), array("d", [error for _, error in ascending]))

    def _below_top(self, log_demand: float, errors: tuple[float, ...]) -> tuple[float, ...]:
        """Errors that lead beyond the largest demand seen are made smaller, the more so the more was seen."""
        power = BEYOND_TOP + (1 - BEYOND_TOP) * math.exp(-self.ticks / TOP_KNOWN_TICKS)
        room = max(0.0, math.log(self.top) - log_demand) if self.top > 0 else 0.0
        # In ascending order: those to be changed stand last.
        same = bisect_right(errors, room)
        return errors[:same] + tuple([room + power * (error - room) for error in errors[same:]])

    def _quantiles(self, log_demand: float) -> tuple[float, ...]:
        """Of the errors of the forecasts nearest to this one, filled up with the prior's while few are known."""
        known = self._ascending()
        count = len(known.errors)
        near = min(count, max(FEWEST_NEAR, math.floor(NEAR_SHARE * count)))
        place = known.place(log_demand, 0.0)
        start = min(max(0, place - near // 2), count - near)
        middle = min(max(start, place), start + near)
        errors = known.errors[start : start + near].tolist()
        # What is no crowd stays as it is (most are not), and takes no logarithm.
        if middle > start and max(errors[: middle - start]) > LARGEST_NOISE:
            errors[: middle - start] = [
                error if error <= LARGEST_NOISE else carried_over(error, level, to=log_demand)
                for level, error in zip(known.levels[start:middle], known.errors[start:middle], strict=True)
            ]
        # As large a part of the prior's as of those known.
        missing = KNOWN_AFTER_ERRORS - count
        if missing > 0:
            share = near / count if count else 1.0
            errors += PRIOR_ERRORS * math.ceil(missing * share / len(PRIOR_ERRORS))
        errors.sort()
        return _quantiles_of(len(errors))(errors)


# Asked for twice a tick: for the forecast that is kept, and for what it says.
@lru_cache(maxsize=16)
def _features(averages: tuple[float, ...], shares: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
    """The averages' logarithms: their mean, and the regression's features, which are the rest."""
    logs = list(map(math.log, map(truediv, averages, shares)))
    centre = sum(logs) / len(logs)
    return centre, (1.0, *[value - centre for value in logs])


# A window's length changes with every error of the first hours, then no more.
@lru_cache(maxsize=MAXIMUM_ERRORS)
def _quantiles_of(count: int) -> Callable[[Sequence[float]], tuple[float, ...]]:
    """Picks the quantiles of so many values in ascending order."""
    return itemgetter(*[int(share * count) for share, _ in QUANTILES])


def carried_over(error: float, level: float, *, to: float) -> float:
    """A log error made at a forecast (its logarithm: `level`) at another: jumps as no more replicas, noise as a share.

    A jump from 1 to 3 replicas does not say that 6 jump to 18, but to 9, half as many again; one from 1 to 1.2 says
    that 6 may be 7.2. A jump from 6 to 8 does not say that 1 jumps to 3, but to 1.33.
    """
    if error <= 0 or level >= to:
        return error
    return max(min(error, LARGEST_NOISE), math.log1p(math.expm1(error) * math.exp(level - to)))


def _rows(matrix: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    """Of a square matrix of FEATURES rows."""
    return zip(*[iter(matrix)] * FEATURES, strict=True)


def _dot(a: tuple[float, ...] | list[float], b: tuple[float, ...]) -> float:
    total: float = sum(map(mul, a, b))
    return total
