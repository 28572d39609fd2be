"""Which replicas of which variants carry a load: whole fleets by their money, what runs already counted.

Most of a fleet is of one variant, since unlike ones carry less together (see spread). Others complete it where that
costs less, or where it has no room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from inference_fleet.scaling.hold import DOWN_SHARE
from inference_fleet.scaling.spread import (
    ROUNDING,
    Carrier,
    Counts,
    by_cost,
    by_worth,
    capacity,
    money,
    priced,
    together,
)

SECONDS_PER_HOUR: Final = 3600.0
# A fleet that is left runs on while the new one starts, and until its replicas may go.
SIDE_BY_SIDE_COLD_STARTS: Final = 2.0


def carries(counts: Counts, load: float, carriers: Sequence[Carrier]) -> bool:
    """Whether these replicas carry the load."""
    return capacity(counts, carriers) >= load - ROUNDING


def cheapest_fleet(load: float, carriers: Sequence[Carrier], *, main: str) -> dict[str, int]:
    """The cheapest fleet that carries `load`, most of it by `main`. What no variant can carry is asked of `main`.

    Ten units, 4.5 carried at 3 and 1 at 1: two of the large and one of the small for 7, if they lose nothing together.
    """
    if len(carriers) == 1:
        return {main: _of_one(load, carriers[0])}
    first = next(carrier for carrier in carriers if carrier.name == main)
    others = [carrier for carrier in by_cost(carriers) if carrier is not first]
    minima = {carrier.name: carrier.limits.min_replicas for carrier in carriers}
    alone = _filled(minima, load, first, carriers)
    if carries(alone, load, carriers):
        fleets = [alone, *_completed(alone, load, first, others, carriers)]
        return min((f for f in fleets if carries(f, load, carriers)), key=lambda fleet: money(fleet, carriers))
    fleet = alone
    for other in others:
        fleet = _filled(fleet, load, other, carriers)
    # Where the main variant has no room the others carry the rest, or all of it.
    fleets = [fleet, *(_filled(minima, load, other, carriers) for other in others if priced(carriers))]
    enough = [fleet for fleet in fleets if carries(fleet, load, carriers)]
    if enough:
        return min(enough, key=lambda fleet: money(fleet, carriers))
    return {**fleet, main: min(first.limits.max_replicas, fleet[main] + _missing(fleet, load, first, carriers))}


def _of_one(load: float, only: Carrier) -> int:
    """Replicas of the only variant; what cannot be counted on is asked for all the same."""
    wanted = math.ceil(load / only.worth - ROUNDING)
    return max(only.limits.min_replicas, min(wanted, only.limits.max_replicas))


def _missing(counts: Counts, load: float, carrier: Carrier, carriers: Sequence[Carrier]) -> int:
    """How many more of `carrier` the load takes beside these."""
    one_more = {**counts, carrier.name: counts[carrier.name] + 1}
    fullest = min((c.full for c in carriers if one_more[c.name] > 0), default=carrier.full)
    worths = {c.name: c.worth if sum(map(bool, one_more.values())) == 1 else c.worth_with(fullest) for c in carriers}
    rest = load - sum(count * worths[name] for name, count in counts.items())
    return max(0, math.ceil(rest / worths[carrier.name] - ROUNDING))


def _filled(counts: Counts, load: float, carrier: Carrier, carriers: Sequence[Carrier]) -> dict[str, int]:
    """With as many more of `carrier` as the load takes and can be had; as it was if they would not help."""
    room = max(0, carrier.usable - counts[carrier.name])
    more = dict(counts)
    more[carrier.name] += min(room, _missing(counts, load, carrier, carriers))
    return more if capacity(more, carriers) > capacity(counts, carriers) else dict(counts)


def _completed(
    alone: Counts, load: float, first: Carrier, others: Sequence[Carrier], carriers: Sequence[Carrier]
) -> Iterator[dict[str, int]]:
    """The same with one or two fewer of the first, and another variant for the rest."""
    if not priced(carriers):
        return
    for fewer in (1, 2):
        if alone[first.name] - fewer < max(1, first.limits.min_replicas):
            return
        for other in others:
            yield _filled({**alone, first.name: alone[first.name] - fewer}, load, other, carriers)


def wanted_fleet(
    load: float, carriers: Sequence[Carrier], *, main: str, cold_start: float, most: int
) -> dict[str, int]:
    """The fleet to have for `load`: of the main variant, or of one that runs already where that costs less in an hour.

    The starts count, and that a fleet that is left runs beside them.
    """
    usual = cheapest_fleet(load, carriers, main=main)
    if len(carriers) == 1 or not priced(carriers):
        return usual
    coming = {carrier.name: carrier.coming for carrier in carriers}
    fits = _fits(usual, load, carriers, most)
    others = [c.name for c in carriers if c.name != main and (coming[c.name] > 0 or not fits)]
    fleets = [usual, *(cheapest_fleet(load, carriers, main=name) for name in others)]
    possible = [fleet for fleet in fleets if _fits(fleet, load, carriers, most)]

    def cost(fleet: Counts) -> float:
        return money(fleet, carriers) + moving(coming, fleet, carriers, cold_start=cold_start)

    return min(possible, key=cost, default=usual)


def _fits(fleet: Counts, load: float, carriers: Sequence[Carrier], most: int) -> bool:
    return carries(fleet, load, carriers) and sum(fleet.values()) <= most


def moving(current: Counts, fleet: Counts, carriers: Sequence[Carrier], *, cold_start: float) -> float:
    """Money for running `fleet` beside the current replicas until they may go."""
    more = money(together(current, fleet), carriers) - money(current, carriers)
    return more * SIDE_BY_SIDE_COLD_STARTS * cold_start / SECONDS_PER_HOUR


def pays_to_move(
    current: Counts, fleet: Counts, carriers: Sequence[Carrier], *, saved: float, cold_start: float, most: int
) -> bool:
    """Whether an hour's saving is more than both fleets side by side. saved: money per hour.

    Example: 2 x 8 dollars, or 4 x 2 dollars; 8 dollars an hour against 8 x 2 x 120 s = 0.53.
    """
    both = together(current, fleet)
    if not priced(carriers) or both == dict(current) or sum(both.values()) > most:
        return False
    return saved > moving(current, fleet, carriers, cold_start=cold_start)


def cheaper_fleet(
    current: Counts, keep: float, carriers: Sequence[Carrier], *, main: str, cold_start: float, most: int
) -> dict[str, int]:
    """The current replicas, and those of the main variant's fleet for `keep` beside them if it pays to move there."""
    if len(carriers) == 1:
        return dict(current)
    fleet = cheapest_fleet(keep, carriers, main=main)
    left = _fewest_of(current, keep, carriers, served=0.0)
    saved = money(left, carriers) - money(fleet, carriers)
    pays = pays_to_move(current, fleet, carriers, saved=saved, cold_start=cold_start, most=most)
    return together(current, fleet) if pays and carries(fleet, keep, carriers) else dict(current)


def fullest_fleet(most: int, carriers: Sequence[Carrier]) -> dict[str, int]:
    """Of at most so many replicas, the fleet that carries most."""
    minima = {carrier.name: carrier.limits.min_replicas for carrier in carriers}
    fleets = []
    for first in carriers:
        fleet = dict(minima)
        for carrier in (first, *(each for each in by_worth(carriers) if each is not first)):
            room = max(0, min(carrier.usable - fleet[carrier.name], most - sum(fleet.values())))
            more = {**fleet, carrier.name: fleet[carrier.name] + room}
            fleet = more if capacity(more, carriers) > capacity(fleet, carriers) else fleet
        fleets.append(fleet)
    return max(fleets, key=lambda fleet: capacity(fleet, carriers))


def worth_exchanging(
    current: Counts,
    load: float,
    carriers: Sequence[Carrier],
    *,
    cheapest: str,
    lacked: float,
    cold_start: float,
    most: int,
) -> dict[str, int] | None:
    """The next step to the fleet of `most` replicas that carries most, where the current ones fill them, carry less
    than the load, and the step pays; None where it does not.

    It pays where more of the variant that alone would cost least now, late requests included, are among those; and
    where what gives way, which is missing for a cold start, is less than what is gained. lacked: seconds for which the
    load has been more than is carried; it is expected to last as long again. 3 small, 8 more carried by 3 large: pays
    after 3 / 8 of a start, and waits for one.
    """
    if sum(current.values()) < most:
        return None
    fleet = fullest_fleet(most, carriers)
    if priced(carriers) and fleet[cheapest] <= current.get(cheapest, 0):
        return None
    gained = min(load, capacity(fleet, carriers)) - capacity(current, carriers)
    left = sum(c.worth * max(0, current.get(c.name, 0) - fleet[c.name]) for c in carriers)
    if gained <= ROUNDING or lacked < cold_start * max(1.0, left / gained):
        return None
    return exchanged(current, fleet, carriers)


def exchanged(current: Counts, fleet: Counts, carriers: Sequence[Carrier]) -> dict[str, int]:
    """One step from the current replicas to as many others: those that carry least give way to those that carry most.

    At most a quarter of what the current ones carry gives way at once, or one of them. 3 small, 3 large wanted -> 2
    and 1.
    """
    step = {carrier.name: current.get(carrier.name, 0) for carrier in carriers}
    staying, least = dict(step), (1 - DOWN_SHARE) * capacity(current, carriers) - ROUNDING
    while True:
        leaving = [c.name for c in reversed(by_worth(carriers)) if staying[c.name] > fleet.get(c.name, 0)]
        coming = [c.name for c in by_worth(carriers) if step[c.name] < fleet.get(c.name, 0)]
        if not leaving or not coming:
            return step
        staying[leaving[0]] -= 1
        if step != dict(current) and capacity(staying, carriers) < least:
            return step
        step[leaving[0]] -= 1
        step[coming[0]] += 1


def cut_to(most: int, fleet: Counts, carriers: Sequence[Carrier]) -> dict[str, int]:
    """At most so many of these replicas: one after another goes without which the others carry most, minima last."""
    if len(carriers) == 1:
        (only,) = carriers
        return {only.name: min(most, fleet.get(only.name, 0))}
    left = {carrier.name: fleet.get(carrier.name, 0) for carrier in carriers}
    while sum(left.values()) > most:
        spare = [c.name for c in carriers if left[c.name] > c.limits.min_replicas]
        fewer = [{**left, name: left[name] - 1} for name in spare or left if left[name] > 0]
        left = max(fewer, key=lambda counts: capacity(counts, carriers))
    return left


def smallest(current: Counts, keep: float, carriers: Sequence[Carrier]) -> dict[str, int]:
    """Of the current replicas the cheapest that carry `keep`, and those that do while some of these still start."""
    if len(carriers) == 1:
        (only,) = carriers
        return {only.name: min(current[only.name], max(0, math.ceil(keep / only.worth - ROUNDING)))}
    served = min(keep, capacity(_serving(current, carriers), carriers))
    return together(_fewest_of(current, keep, carriers, served=0.0), _fewest_of(current, keep, carriers, served=served))


def _fewest_of(current: Counts, keep: float, carriers: Sequence[Carrier], *, served: float) -> dict[str, int]:
    """The cheapest that carry `keep`; those of them that are ready carry `served`."""
    fleets = [_fewest(current, keep, carriers, served=served, last=last) for last in carriers]
    return min(fleets, key=lambda fleet: (money(fleet, carriers), sum(fleet.values())))


def _fewest(
    current: Counts, keep: float, carriers: Sequence[Carrier], *, served: float, last: Carrier
) -> dict[str, int]:
    """Without what may go, the dearest by what they carry first, and `last` at last."""
    fleet = {carrier.name: current.get(carrier.name, 0) for carrier in carriers}
    for carrier in (*(each for each in reversed(by_cost(carriers)) if each is not last), last):

        def enough(count: int, name: str = carrier.name) -> bool:
            fewer = {**fleet, name: count}
            return carries(fewer, keep, carriers) and carries(_serving(fewer, carriers), served, carriers)

        # None of them may carry more than one of them: it would keep the others from filling up.
        low, high = 0, fleet[carrier.name]
        if enough(0):
            high = 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        fleet[carrier.name] = high
    return fleet


def step_down(current: Counts, goal: Counts, carriers: Sequence[Carrier]) -> dict[str, int]:
    """At most a quarter of what the current replicas carry goes at once, or one replica; the dearest first."""
    least = (1 - DOWN_SHARE) * capacity(current, carriers) - ROUNDING
    fleet = {carrier.name: current.get(carrier.name, 0) for carrier in carriers}
    found: dict[str, int] = {}
    for carrier in reversed(by_cost(carriers)):
        while fleet[carrier.name] > goal.get(carrier.name, 0):
            fleet[carrier.name] -= 1
            if not found or capacity(fleet, carriers) >= least:
                found = dict(fleet)
    return found or fleet


def without_hindrance(current: Counts, carriers: Sequence[Carrier]) -> dict[str, int]:
    """Without those replicas that carry nothing beside the others, but keep these from filling up."""
    if len(carriers) == 1:
        return dict(current)
    serving = capacity(_serving(current, carriers), carriers)
    for carrier in reversed(by_cost(carriers)):
        fewer = {**current, carrier.name: carrier.limits.min_replicas}
        if fewer[carrier.name] >= current.get(carrier.name, 0):
            continue
        better = capacity(fewer, carriers) >= capacity(current, carriers)
        if better and capacity(_serving(fewer, carriers), carriers) >= serving:
            return fewer
    return dict(current)


def _serving(counts: Counts, carriers: Sequence[Carrier]) -> dict[str, int]:
    """Those that are ready; of fewer, the others go first."""
    return {c.name: min(counts.get(c.name, 0), c.seen.ready) for c in carriers}
