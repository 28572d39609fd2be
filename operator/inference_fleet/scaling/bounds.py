"""The last step on every path: bounds and schedules, with the name of the one that bound."""

from __future__ import annotations

from typing import NamedTuple

from inference_fleet.scaling.types import Limits, Rule


class Bounded(NamedTuple):
    """A count within the bounds; rule and message if a bound changed it."""

    replicas: int
    limited_by: tuple[str, ...] = ()
    rule: Rule | None = None
    message: str = ""


def within_bounds(wanted: int, limits: Limits, *, now: float, boundless: int | None = None) -> Bounded:
    """Clamp to min and max of the object, of the schedules that hold now, and of the variants together.

    boundless: what would be wanted if the variants had no bounds, where `wanted` keeps them already: 4 at the maximum
    of 4, and 7 would be wanted, is a bound that binds.
    """
    asked = wanted if boundless is None else boundless
    minimum, minimum_name = limits.min_replicas, "scaling.minReplicas"
    maximum, maximum_name = limits.max_replicas, "scaling.maxReplicas"
    floor = sum([variant.min_replicas for variant in limits.variants])
    if floor > minimum:
        minimum, minimum_name = floor, "variants.minReplicas"
    for schedule in limits.schedules:
        if not any(start <= now < end for start, end in schedule.windows):
            continue
        if schedule.min_replicas is not None:
            minimum, minimum_name = schedule.min_replicas, f"schedule {schedule.name}"
        if schedule.max_replicas is not None:
            maximum, maximum_name = schedule.max_replicas, f"schedule {schedule.name}"
    ceiling = sum([variant.max_replicas for variant in limits.variants])
    if ceiling < maximum:
        maximum, maximum_name = ceiling, "variants.maxReplicas"
    # A contradiction of bounds is settled for the maximum: it is the one that costs money.
    minimum = min(minimum, maximum)
    if max(wanted, asked) > maximum <= wanted:
        rule = Rule.SCHEDULE if maximum_name.startswith("schedule") else Rule.MAXIMUM
        return Bounded(maximum, (maximum_name,), rule, f"{max(wanted, asked)} wanted, {maximum_name} allows {maximum}")
    if min(wanted, asked) < minimum >= wanted:
        rule = Rule.SCHEDULE if minimum_name.startswith("schedule") else Rule.MINIMUM
        return Bounded(minimum, (minimum_name,), rule, f"{min(wanted, asked)} would do, {minimum_name} keeps {minimum}")
    return Bounded(wanted)
