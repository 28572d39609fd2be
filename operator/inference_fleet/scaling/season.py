"""Crowds that come at the same time of the day: replicas are made ready before they come, for as long as that pays.

No forecast from the last hour sees what a timetable does: jobs that start at nine, shifts, lessons. Loads that came
unforeseen are remembered with their time. Where such a load came at about this time on most of the last days, and to
stand by for it on each of them would have saved more than it cost, it is expected today. Days are 24 hours, so no time
zone matters; clocks that change by an hour cost three days. What chose the constants: the cases of the explanation of
scaling, one seed; none was searched for.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from inference_fleet.scaling.forecast import TICK_SECONDS
from inference_fleet.scaling.violation_curve import Curve

DAY_SECONDS: Final = 24 * 3600.0
WEEK: Final = 7
# Two weeks tell whether weekends differ.
DAYS: Final = 2 * WEEK
LATELY: Final = 3
FEWEST_DAYS: Final = 2
# The minute of a crowd may wander by so much from day to day.
NEAR_SECONDS: Final = 1500.0
MAXIMUM_SURPRISES: Final = 128
# A quarter of an hour of ticks, as forecasts: for starts that take longer nothing is learned.
MAXIMUM_TOLD: Final = 64
# A surprise is a moment of which this share of the requests would have been saved, and such moments near to it.
LEAST_SAVED: Final = 0.1
PAUSE_SECONDS: Final = 300.0
# Demand below this share of the replicas asked for is no surprise, whatever the curve.
CALM_LOAD: Final = 0.7
# Ready so long before the earliest, for starts that take longer than most, and kept so long after the latest.
MARGIN_LEADS: Final = 0.5


class Surprise(NamedTuple):
    """A load that nothing had foreseen: first and last moment (unix seconds), the replicas that would have been the
    cheapest, and what they would have saved (replica-seconds).
    """

    begun: float
    ended: float
    replicas: float
    saved: float


class Told(NamedTuple):
    """What was asked for at a tick, in replicas: by forecast and standby; by what the last days tell."""

    time: float
    usual: float
    season: float


class Season(NamedTuple):
    """surprises: of the last days, oldest first. told: of the ticks since a cold start ago. replicas: to be ready, or
    on the way, for what comes at this time of the day; 0 while nothing does.
    """

    surprises: tuple[Surprise, ...] = ()
    told: tuple[Told, ...] = ()
    replicas: float = 0.0

    def learned(
        self,
        demand: float,
        *,
        curve: Curve,
        price: float,
        usual: float,
        age: float,
        lead: float,
        seconds: float,
        now: float,
    ) -> Season:
        """With one tick's demand (replicas). price: of all its requests missing, in replicas; usual: replicas asked for
        now by forecast and standby; age: of the scaler, seconds; lead: until what is asked for now has its effect.
        """
        surprises, at = self.surprises, _place(self.told, now - lead)
        before = math.inf if at is None else max(1.0, self.told[at].usual)
        if demand > CALM_LOAD * before:
            log_demand = math.log(demand)
            late = curve.at(log_demand - math.log(before))
            if late - curve.floor > LEAST_SAVED:
                worth = _cheapest(demand, curve, price=price, least=before)
                saved = seconds * price * (late - curve.at(log_demand - math.log(worth)))
                surprises = self._with(worth, saved=saved, seconds=seconds, now=now)
        replicas = _expected(surprises, usual=usual, age=age, lead=lead, now=now)
        told = (*self.told[at or 0 :], Told(round(now, 1), round(usual, 2), replicas))[-MAXIMUM_TOLD:]
        return Season(surprises, told, replicas)

    def at(self, moment: float) -> float:
        """The replicas that were expected to be needed then."""
        place = _place(self.told, moment)
        return 0.0 if place is None else self.told[place].season

    def in_units(self, factor: float) -> Season:
        """For replicas that carry `factor` times as much."""
        return Season(
            tuple(one._replace(replicas=one.replicas / factor, saved=one.saved / factor) for one in self.surprises),
            tuple(Told(one.time, one.usual / factor, one.season / factor) for one in self.told),
            self.replicas / factor,
        )

    def _with(self, replicas: float, *, saved: float, seconds: float, now: float) -> tuple[Surprise, ...]:
        rest = self.surprises
        if rest and now - rest[-1].ended <= PAUSE_SECONDS:
            last = rest[-1]
            more = max(last.replicas, replicas)
            return (*rest[:-1], Surprise(last.begun, round(now, 1), more, round(last.saved + saved, 1)))
        first = max(bisect_left(rest, (now - (DAYS + 1) * DAY_SECONDS,)), len(rest) - MAXIMUM_SURPRISES + 1)
        # Averages show it a tick later than it began.
        return (*rest[first:], Surprise(round(now - 2 * seconds, 1), round(now, 1), replicas, round(saved, 1)))


def _expected(surprises: tuple[Surprise, ...], *, usual: float, age: float, lead: float, now: float) -> float:
    """What is to be made ready now, by the days that are known. The back-test: over these days, at this time."""
    known = min(DAYS, int(age // DAY_SECONDS))
    if known < FEWEST_DAYS or not surprises:
        return 0.0
    margin, centre = MARGIN_LEADS * lead, now + lead
    near = max(NEAR_SECONDS, lead + margin)
    # What came on none of these is not expected: most ticks end here.
    if not any(_near(surprises, centre - back * DAY_SECONDS, near) for back in (*range(1, LATELY + 1), WEEK)):
        return 0.0
    days = [_near(surprises, centre - back * DAY_SECONDS, near) for back in range(1, known + 1)]
    if not _likely([bool(day) for day in days]):
        return 0.0
    week = [(one, back * DAY_SECONDS) for back, day in enumerate(days[:WEEK], 1) for one in day]
    begins = min(one.begun + later for one, later in week) - margin
    ends = max(one.begun + later for one, later in week) + margin
    if centre < begins or now > ends:
        return 0.0
    # The newest: the first ones were seen from a fleet that was overrun, and look larger than they are.
    replicas = max(one.replicas for day in [day for day in days if day][:LATELY] for one in day)
    cost = max(0.0, replicas - usual) * (ends - begins + lead) * len(days[:WEEK])
    return replicas if sum(one.saved for one, _ in week) > cost else 0.0


def _near(surprises: tuple[Surprise, ...], moment: float, near: float) -> tuple[Surprise, ...]:
    first = bisect_left(surprises, (moment - near,))
    return surprises[first : bisect_left(surprises, (moment + near,), first)]


def _likely(came: Sequence[bool]) -> bool:
    """Whether it comes today, by the days before, newest first: as a week ago where weeks are alike, else as lately."""
    week, lately = came[:WEEK], came[:LATELY]
    if sum(week) < FEWEST_DAYS or not (2 * sum(week) >= len(week) or all(lately)):
        return False
    if lately == came[WEEK : WEEK + LATELY]:
        return came[WEEK - 1]
    return came[0] or sum(lately) >= FEWEST_DAYS


def _place(told: tuple[Told, ...], moment: float) -> int | None:
    """Of what was told then, the last; None before the first."""
    place = bisect_left(told, (moment + TICK_SECONDS / 2,)) - 1
    return None if place < 0 else place


def _cheapest(demand: float, curve: Curve, *, price: float, least: float) -> float:
    """The replicas that cost least together with the late requests of a demand that is known."""
    log_demand, count = math.log(demand), float(math.ceil(least))
    best, cheapest = count, math.inf
    while count < cheapest:
        cost = count + price * curve.at(log_demand - math.log(count))
        if cost < cheapest:
            best, cheapest = count, cost
        count += max(1, count // 32)
    return best
