"""The operator's own scaler, the very code that runs in the cluster."""

from __future__ import annotations

from collections.abc import Mapping

from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Decision, Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.policy import PolicyKind


class OwnScaler:
    """`scaling.decide`, one call a tick. memory: what it has learned; decisions: all of them, for the report."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.memory = ScalerMemory.empty()
        self.decisions: list[Decision] = []

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """What the operator would ask for."""
        decision, self.memory = decide(self.memory, sight.observation, self._limits, sight.now)
        self.decisions.append(decision)
        return tuple(count for _, count in decision.replicas)


def _own(limits: Limits, parameters: Mapping[str, float]) -> OwnScaler:
    return OwnScaler(limits)


OWN = PolicyKind(name="fleet", source="this project: docs/explanation/scaling.md", defaults={}, build=_own)
