"""What replicas of several variants carry together, what they cost, and how a number of them is spread.

A router knows nothing of what is behind it: it fills every replica with as many requests. Where a small one is full, a
large one beside it is not. So replicas of unlike variants carry less together than each by itself. Measured in the
laboratory: two A100 keep 99 % of 30.5 requests a second, with one L4 beside them of 22.4 (routing to the fewest
requests); at random it is 8.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from inference_fleet.scaling.types import VariantLimits, VariantObservation

# A worth is a quotient of measured numbers: 3.0000001 replicas are three.
ROUNDING: Final = 1e-6
Counts = Mapping[str, int]


class Carrier(NamedTuple):
    """One variant as a carrier of load. worth: what one full replica carries, in replicas of the first variant.

    full: requests under way in a full replica. fixed: the share of their time that is the same however few they are.
    """

    limits: VariantLimits
    seen: VariantObservation
    worth: float
    full: float = 1.0
    fixed: float = 0.0

    @property
    def name(self) -> str:
        """The variant's."""
        return self.limits.name

    @property
    def usable(self) -> int:
        """Most replicas that can be counted on: a variant whose pods find no devices or fail has what it has."""
        lost = self.seen.unschedulable + self.seen.failing
        if lost > 0:
            return max(0, min(self.limits.max_replicas, self.seen.desired - lost))
        return self.limits.max_replicas

    @property
    def coming(self) -> int:
        """Replicas that serve or will: unschedulable and failing ones are not on their way."""
        return max(0, self.seen.desired - self.seen.unschedulable - self.seen.failing)

    @property
    def cost_of_worth(self) -> float:
        """Money per hour for what one replica of the first variant carries; 0 without a price."""
        return (self.limits.cost_per_replica_hour or 0.0) / self.worth

    def worth_with(self, requests: float) -> float:
        """What a replica carries that is filled with so many requests.

        n requests take n / (fixed part + n x their work): 72 in an A100 that holds 235, 22 % of the time fixed: 0.66.
        """
        filled = requests / self.full
        if filled >= 1:
            return self.worth
        return self.worth * filled / (self.fixed + (1 - self.fixed) * filled)


def priced(carriers: Sequence[Carrier]) -> bool:
    """Whether all of them have a price."""
    return all(carrier.limits.cost_per_replica_hour is not None for carrier in carriers)


def by_cost(carriers: Sequence[Carrier]) -> tuple[Carrier, ...]:
    """Cheapest per carried request first. Without a price everywhere the user's order stands: it is the preference."""
    return tuple(sorted(carriers, key=lambda c: c.cost_of_worth)) if priced(carriers) else tuple(carriers)


def by_worth(carriers: Sequence[Carrier]) -> tuple[Carrier, ...]:
    """Those of which a replica carries most first."""
    return tuple(sorted(carriers, key=lambda carrier: carrier.worth, reverse=True))


def capacity(counts: Counts, carriers: Sequence[Carrier]) -> float:
    """What these replicas carry together, in replicas of the first variant."""
    if len(carriers) == 1:
        (only,) = carriers
        return counts.get(only.name, 0) * only.worth
    present = [carrier for carrier in carriers if counts.get(carrier.name, 0) > 0]
    if len(present) == 1:
        return counts[present[0].name] * present[0].worth
    least = min((carrier.full for carrier in present), default=0.0)
    return sum(counts[carrier.name] * carrier.worth_with(least) for carrier in present)


def money(counts: Counts, carriers: Sequence[Carrier]) -> float:
    """Cost per hour; what has no price costs nothing."""
    return sum(counts.get(c.name, 0) * (c.limits.cost_per_replica_hour or 0.0) for c in carriers)


def together(one: Counts, other: Counts) -> dict[str, int]:
    """Of every variant the more of the two."""
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in (*one, *(n for n in other if n not in one))}


def split_total(total: int, carriers: Sequence[Carrier], current: Counts) -> tuple[tuple[str, int], ...]:
    """A number of replicas over the variants: minima first, then what runs already, then list order up to each maximum.

    Keeping what runs avoids moving load between variants when only the total changes.
    """
    counts = {carrier.name: 0 for carrier in carriers}
    rest = total
    order = by_cost(carriers)
    for ceilings in _ceilings(order, current):
        for name, ceiling in ceilings:
            added = max(0, min(rest, ceiling - counts[name]))
            counts[name] += added
            rest -= added
    return tuple((carrier.name, counts[carrier.name]) for carrier in carriers)


def _ceilings(order: Sequence[Carrier], current: Counts) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Up to where each round may fill each variant."""
    return (
        tuple((carrier.name, carrier.limits.min_replicas) for carrier in order),
        tuple((carrier.name, min(current.get(carrier.name, 0), carrier.usable)) for carrier in order),
        tuple((carrier.name, carrier.usable) for carrier in order),
        tuple((carrier.name, carrier.limits.max_replicas) for carrier in order),
    )
