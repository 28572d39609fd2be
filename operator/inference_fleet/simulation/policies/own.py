"""The operator's own scaler, the very code that runs in the cluster; and a fleet that never changes."""

from __future__ import annotations

from collections.abc import Mapping

from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Decision, Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.policy import PolicyKind, clamped


class OwnScaler:
    """`scaling.decide` with its memory, one call a tick. decisions: all of them, for the report."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._memory = ScalerMemory.empty()
        self.decisions: list[Decision] = []

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """What the operator would ask for."""
        decision, self._memory = decide(self._memory, sight.observation, self._limits, sight.now)
        self.decisions.append(decision)
        return tuple(count for _, count in decision.replicas)


class StaticFleet:
    """The same number for ever, all of the first variant."""

    def __init__(self, replicas: int, *, variants: int) -> None:
        self._counts = (replicas, *(0 for _ in range(variants - 1)))

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """Always the same."""
        return self._counts


def _own(limits: Limits, parameters: Mapping[str, float]) -> OwnScaler:
    return OwnScaler(limits)


def _static(limits: Limits, parameters: Mapping[str, float]) -> StaticFleet:
    return StaticFleet(clamped(int(parameters["replicas"]), limits), variants=len(limits.variants))


OWN = PolicyKind(name="fleet", source="this project: docs/explanation/laboratory.md", defaults={}, build=_own)
STATIC = PolicyKind(
    name="static",
    source="a fleet that never changes",
    defaults={"replicas": 6},
    build=_static,
    grid=tuple({"replicas": count} for count in (*range(1, 13), *range(14, 25, 2), *range(27, 64, 3))),
)
