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


class _Bound(NamedTuple):
    """A count and the field that sets it."""

    replicas: int
    name: str


def most_allowed(limits: Limits, *, now: float) -> int:
    """Replicas of all variants together that may run now."""
    return _bounds(limits, now=now)[1].replicas


def _bounds(limits: Limits, *, now: float) -> tuple[_Bound, _Bound]:
    """The least and the most."""
    least, most = _Bound(limits.min_replicas, "scaling.minReplicas"), _Bound(limits.max_replicas, "scaling.maxReplicas")
    floor = sum([variant.min_replicas for variant in limits.variants])
    if floor > least.replicas:
        least = _Bound(floor, "variants.minReplicas")
    for schedule in limits.schedules:
        if not any(start <= now < end for start, end in schedule.windows):
            continue
        if schedule.min_replicas is not None:
            least = _Bound(schedule.min_replicas, f"schedule {schedule.name}")
        if schedule.max_replicas is not None:
            most = _Bound(schedule.max_replicas, f"schedule {schedule.name}")
    ceiling = sum([variant.max_replicas for variant in limits.variants])
    if ceiling < most.replicas:
        most = _Bound(ceiling, "variants.maxReplicas")
    # A contradiction of bounds is settled for the maximum: it is the one that costs money.
    return (_Bound(most.replicas, least.name) if least.replicas > most.replicas else least), most


def within_bounds(wanted: int, limits: Limits, *, now: float, boundless: int | None = None) -> Bounded:
    """Clamp to min and max of the object, of the schedules that hold now, and of the variants together.

    boundless: what would be wanted if the variants had no bounds, where `wanted` keeps them already: 4 at the maximum
    of 4, and 7 would be wanted, is a bound that binds.
    """
    asked = wanted if boundless is None else boundless
    (minimum, minimum_name), (maximum, maximum_name) = _bounds(limits, now=now)
    if max(wanted, asked) > maximum <= wanted:
        rule = Rule.SCHEDULE if maximum_name.startswith("schedule") else Rule.MAXIMUM
        return Bounded(maximum, (maximum_name,), rule, f"{max(wanted, asked)} wanted, {maximum_name} allows {maximum}")
    if min(wanted, asked) < minimum >= wanted:
        rule = Rule.SCHEDULE if minimum_name.startswith("schedule") else Rule.MINIMUM
        return Bounded(minimum, (minimum_name,), rule, f"{min(wanted, asked)} would do, {minimum_name} keeps {minimum}")
    return Bounded(wanted)
