"""Replicas kept ready between loads that no forecast sees coming, for as long as that has paid.

How long to keep a replica that nothing needs now, when starting it again takes a cold start and requests are late until
it serves, is the question of ski rental and of machines that sleep. For every number of replicas the scaler reckons
what each of several holds would have cost in hindsight: the idle time, the starts, and the requests that come late
while it starts where no forecast had asked for it in time. The hold that would have cost least is used. Loads that
return get a floor under them for as long as they return; a single peak gets the shortest hold. Source: S. Irani,
S. Shukla, R. Gupta, "Online strategies for dynamic power management", 2003 (learned from what was seen).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import add
from typing import Final, NamedTuple

from inference_fleet.scaling.violation_curve import Curve

# Holds that are compared, in cold starts, the last one for ever (a number that is finite in JSON).
HOLDS_COLD_STARTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 1e9)
# What was seen so much idle time ago counts for 1/e.
MEMORY_SECONDS: Final = 24 * 3600.0
# Up to 16 replicas each number has its own hold, beyond in steps of 8 %, up to some thousands.
LEVELS: Final[tuple[int, ...]] = (*range(1, 17), *(round(16 * 1.08**step) for step in range(1, 73)))
_LOG_LEVELS: Final = tuple(map(math.log, LEVELS))
# Units are quotients of measured numbers: a level of 4.0001 is the fourth.
SAME: Final = 0.05
# A load that nobody foresaw and that queues is still rising when it is first seen, and what is asked for a tick later
# is ready a tick later: half as many again are asked for at once, and stand by for the next.
ROOM: Final = 1.5


class Level(NamedTuple):
    """The replicas up to one number, as far as they are more than those of the number before.

    used: when they were last needed (unix seconds). late: of the holds, so many would have let them go before the
    present use, and pay for its late requests. costs: of each hold, replica-seconds per replica.
    """

    used: float
    late: int = 0
    costs: tuple[float, ...] = (0.0,) * len(HOLDS_COLD_STARTS)

    def begun(self, *, cold_start: float, now: float) -> Level:
        """Needed again: each hold pays its idle time, and a start if it was over."""
        idle = now - self.used
        kept = math.exp(-idle / MEMORY_SECONDS)
        late = sum(1 for hold in HOLDS_COLD_STARTS if hold * cold_start < idle)
        costs = [
            round(cost * kept + min(idle, hold * cold_start) + (cold_start if place < late else 0.0), 1)
            for place, (cost, hold) in enumerate(zip(self.costs, HOLDS_COLD_STARTS, strict=True))
        ]
        return Level(used=now, late=late, costs=tuple(costs))

    def missed(self, replica_seconds: float) -> Level:
        """Requests came late that these replicas would have saved; the holds that had let them go pay for it."""
        late = self.late
        return self._replace(costs=tuple([c + (place < late) * replica_seconds for place, c in enumerate(self.costs)]))

    def kept(self, holds: list[float], *, now: float) -> bool:
        """Whether the hold that is cheapest in hindsight, this idle time included, still runs. holds: seconds."""
        idle = now - self.used
        if idle <= holds[0]:
            return True
        over = bisect_left(holds, idle)
        costs = list(map(add, self.costs, [*holds[:over], *[idle] * (len(holds) - over)]))
        return idle <= holds[costs.index(min(costs))]


class Standby(NamedTuple):
    """levels: one for each of LEVELS that was ever needed. since: when this began; learned_at: the last tick."""

    levels: tuple[Level, ...] = ()
    since: float | None = None
    learned_at: float | None = None

    def learned(
        self,
        demand: float,
        *,
        curve: Curve,
        price: float,
        foreseen: float,
        wanted: float,
        cold_start: float,
        seconds: float,
        now: float,
        queued: bool = False,
    ) -> Standby:
        """With one tick's demand (replicas). price: of all its requests missing, in replicas; wanted: replicas that the
        forecast asks for now; foreseen: that it asked for a cold start ago, which are ready now without any standby;
        queued: whether requests wait for longer than was promised.
        """
        since = now if self.since is None else self.since
        before = since if self.learned_at is None else self.learned_at
        shares, top = _worth_having(demand, curve, price=price)
        reach = top
        if queued and foreseen < LEVELS[top]:
            reach = bisect_right(LEVELS, ROOM * LEVELS[top]) - 1
        known, levels = self.levels, []
        for place, size in enumerate(LEVELS):
            if place > reach and size > wanted:
                break
            level = known[place] if place < len(known) else Level(used=since)
            level = (
                Level(now, level.late, level.costs)
                if level.used >= before
                else level.begun(cold_start=cold_start, now=now)
            )
            if foreseen < size and place <= top and level.late:
                # Between this number and the one worth having each replica saves the same share.
                fewer = LEVELS[place - 1] if place else 0
                saved = price * (shares[place] - shares[top + 1]) / (LEVELS[top] - fewer)
                level = level.missed(saved * seconds)
            levels.append(level)
        return Standby((*levels, *known[len(levels) :]), since, now)

    def in_units(self, factor: float) -> Standby:
        """For replicas that carry `factor` times as much: what was learned of the eighth is, at 4, of the second."""
        top = len(self.levels) - 1
        places = [bisect_left(LEVELS, size * factor - SAME) for size in LEVELS] if self.levels else []
        reached = [min(place, top) for place, before in zip(places, (-1, *places), strict=False) if before < top]
        return Standby(tuple(self.levels[place] for place in reached), self.since, self.learned_at)

    def replicas(self, *, cold_start: float, now: float) -> int:
        """The largest number whose hold still runs; 0 if none does."""
        holds = [hold * cold_start for hold in HOLDS_COLD_STARTS]
        for place in range(len(self.levels) - 1, -1, -1):
            if self.levels[place].kept(holds, now=now):
                return LEVELS[place]
        return 0


def _worth_having(demand: float, curve: Curve, *, price: float) -> tuple[list[float], int]:
    """Missing shares with no replica and with each of LEVELS, as far as looked at; the place of the cheapest."""
    log_demand = math.log(demand)
    shares, top, least = [1.0], 0, math.inf
    for place, size in enumerate(LEVELS):
        if size > least:
            break
        share = curve.at(log_demand - _LOG_LEVELS[place])
        shares.append(share)
        cost = size + price * share
        if cost < least:
            top, least = place, cost
    return shares, top
