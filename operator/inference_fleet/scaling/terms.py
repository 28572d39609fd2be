"""The terms of a decision: the figures that it came from, for those who ask why."""

from __future__ import annotations

import math

from inference_fleet.scaling.estimate import Estimate
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.spread import ROUNDING
from inference_fleet.scaling.types import Term


def terms_of(load: FleetLoad, estimate: Estimate, need: dict[str, int]) -> tuple[Term, ...]:
    """need: the fleet that carries what is wanted, replicas by variant."""
    seen, carriers = load.sample_time, estimate.carriers
    return (
        Term("running", load.running, "requests", None, seen),
        Term("waiting", load.waiting, "requests", None, seen),
        Term("rejected", load.rejected, "requests", None, seen),
        Term("demand", estimate.demand, "replicas", None, seen),
        Term("backlog", estimate.backlog, "replicas", None, seen),
        Term("forecast", estimate.outlook.demand, "replicas", math.ceil(estimate.choice.replicas - ROUNDING)),
        Term("expectedMisses", 100 * estimate.choice.misses, "percent of requests"),
        Term("unavoidableMisses", 100 * estimate.floor, "percent of requests"),
        Term("errorBudgetSpent", 100 * estimate.spent, "percent"),
        Term("price", estimate.price, "replicas for all requests"),
        Term("standby", estimate.standby, "replicas"),
        *((Term("season", estimate.season, "replicas"),) if estimate.season else ()),
        Term("coldStart", estimate.cold_start, "seconds"),
        *(
            Term(f"worth/{c.limits.name}", c.worth, f"replicas of {carriers[0].limits.name}", need.get(c.limits.name))
            for c in carriers
        ),
    )
