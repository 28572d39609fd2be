"""A fleet that never changes: what everybody has before autoscaling."""

from __future__ import annotations

from collections.abc import Mapping

from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.policies.policy import PolicyKind, clamped


class StaticFleet:
    """The same numbers for ever."""

    def __init__(self, *counts: int) -> None:
        self._counts = counts

    def at(self, now: float) -> tuple[int, ...]:
        """Always the same."""
        return self._counts


def _static(limits: Limits, parameters: Mapping[str, float]) -> StaticFleet:
    # variant: place of the one kind that is used.
    replicas = clamped(int(parameters["replicas"]), limits)
    places = range(len(limits.variants))
    return StaticFleet(*(replicas if place == int(parameters["variant"]) else 0 for place in places))


STATIC = PolicyKind(
    name="static",
    source="a fleet that never changes",
    defaults={"replicas": 6, "variant": 0},
    build=_static,
    grid=tuple({"replicas": count} for count in range(1, 65)),
)
