"""Which variant carries most of the load: the one that alone would have cost least in the last hour.

Decided by the last hour and not by the moment, since a fleet that moves between variants pays both while it moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from inference_fleet.scaling.fleets import cheapest_fleet, pays_to_move
from inference_fleet.scaling.spread import Carrier, by_cost, priced

AVERAGED_SECONDS: Final = 3600.0


class Preference(NamedTuple):
    """main: the variant. costs: money per hour of each alone, its late requests included, averaged."""

    main: str | None = None
    costs: tuple[tuple[str, float], ...] = ()

    def learned(self, costs: Mapping[str, float], *, seconds: float, age: float) -> Preference:
        """With what each would cost now. age: seconds since the first."""
        share = seconds / (min(age, AVERAGED_SECONDS) + seconds)
        known = dict(self.costs)
        averaged = {
            name: known.get(name, cost) + share * (cost - known.get(name, cost)) for name, cost in costs.items()
        }
        return Preference(self.main, tuple(averaged.items()))

    def chosen(self, load: float, carriers: Sequence[Carrier], *, cold_start: float, most: int) -> Preference:
        """The former main variant, or a better one if it pays to move there."""
        known = dict(self.costs)
        names = [carrier.name for carrier in carriers]
        if not priced(carriers) or any(name not in known for name in names):
            # The user's order is the preference.
            return Preference(by_cost(carriers)[0].name, self.costs)
        best = min(names, key=lambda name: known[name])
        if self.main not in names:
            return Preference(best, self.costs)
        former = cheapest_fleet(load, carriers, main=self.main)
        better = cheapest_fleet(load, carriers, main=best)
        saved = known[self.main] - known[best]
        pays = pays_to_move(former, better, carriers, saved=saved, cold_start=cold_start, most=most)
        return Preference(best if pays else self.main, self.costs)
