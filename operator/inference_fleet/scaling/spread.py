"""Which variants carry the need: the cheapest per request first, then in the user's order of preference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.types import VariantLimits, VariantObservation

# A worth is a quotient of measured numbers: 3.0000001 replicas are three.
ROUNDING: Final = 1e-6
SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True)
class Carrier:
    """One variant as a carrier of load. worth: what one replica carries, in replicas of the first variant."""

    limits: VariantLimits
    seen: VariantObservation
    worth: float

    @property
    def usable(self) -> int:
        """Most replicas that can be counted on: a variant whose pods find no devices or fail has what it has."""
        lost = self.seen.unschedulable + self.seen.failing
        if lost > 0:
            return max(0, min(self.limits.max_replicas, self.seen.desired - lost))
        return self.limits.max_replicas


def by_cost(carriers: Sequence[Carrier]) -> tuple[Carrier, ...]:
    """Cheapest per carried request first. Without a price everywhere the user's order stands: it is the preference."""
    if any(carrier.limits.cost_per_replica_hour is None for carrier in carriers):
        return tuple(carriers)
    return tuple(sorted(carriers, key=lambda c: (c.limits.cost_per_replica_hour or 0.0) / c.worth))


def replicas_for_load(load: float, carriers: Sequence[Carrier], *, kept: Mapping[str, int]) -> dict[str, int]:
    """Replicas per variant that carry `load`, in replicas of the first variant; those kept anyway count first.

    What no variant can carry is asked of the first one.
    """
    counts = {c.limits.name: max(c.limits.min_replicas, kept.get(c.limits.name, 0)) for c in carriers}
    rest = load - sum(counts[carrier.limits.name] * carrier.worth for carrier in carriers)
    for carrier in by_cost(carriers):
        name = carrier.limits.name
        room = carrier.usable - counts[name]
        if rest <= 0 or room <= 0:
            continue
        added = min(room, math.ceil(rest / carrier.worth - ROUNDING))
        counts[name] += added
        rest -= added * carrier.worth
    if rest > 0 and carriers:
        first = by_cost(carriers)[0]
        counts[first.limits.name] = min(
            first.limits.max_replicas, counts[first.limits.name] + math.ceil(rest / first.worth - ROUNDING)
        )
    return counts


def worths_by_cost(counts: Mapping[str, int], carriers: Sequence[Carrier]) -> tuple[float, ...]:
    """What each replica carries, in the order in which they would go: the dearest by what they carry first."""
    return tuple(c.worth for c in reversed(by_cost(carriers)) for _ in range(counts.get(c.limits.name, 0)))


def cheaper_fleet(
    current: Mapping[str, int],
    need: Mapping[str, int],
    carriers: Sequence[Carrier],
    *,
    cold_start: float,
    most: int,
) -> dict[str, int]:
    """The current replicas, and those of the cheapest fleet beside them if it soon pays to move there.

    The dear ones go later, when the others serve. It pays if an hour's saving is more than both fleets side by side
    for two cold starts. Example: 2 x 8 dollars, or 4 x 2 dollars; 8 dollars an hour against 8 x 2 x 120 s = 0.53.
    """
    prices = {c.limits.name: c.limits.cost_per_replica_hour for c in carriers}
    both = {name: max(current.get(name, 0), count) for name, count in need.items()}
    if len(carriers) == 1 or None in prices.values() or both == dict(current) or sum(both.values()) > most:
        return dict(current)

    def cost(counts: Mapping[str, int]) -> float:
        return sum((prices.get(name) or 0.0) * count for name, count in counts.items())

    moving = (cost(both) - cost(current)) * 2 * cold_start / SECONDS_PER_HOUR
    return both if cost(current) - cost(need) > moving else dict(current)


def split_total(total: int, carriers: Sequence[Carrier], current: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """A number of replicas over the variants: minima first, then what runs already, then list order up to each maximum.

    Keeping what runs avoids moving load between variants when only the total changes.
    """
    counts = {carrier.limits.name: 0 for carrier in carriers}
    rest = total
    order = by_cost(carriers)
    for ceilings in _ceilings(order, current):
        for name, ceiling in ceilings:
            added = max(0, min(rest, ceiling - counts[name]))
            counts[name] += added
            rest -= added
    return tuple((carrier.limits.name, counts[carrier.limits.name]) for carrier in carriers)


def _ceilings(order: Sequence[Carrier], current: Mapping[str, int]) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Up to where each round may fill each variant."""
    return (
        tuple((carrier.limits.name, carrier.limits.min_replicas) for carrier in order),
        tuple((carrier.limits.name, min(current.get(carrier.limits.name, 0), carrier.usable)) for carrier in order),
        tuple((carrier.limits.name, carrier.usable) for carrier in order),
        tuple((carrier.limits.name, carrier.limits.max_replicas) for carrier in order),
    )
