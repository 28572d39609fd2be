"""What every scaling rule looks like to the laboratory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from inference_fleet.scaling.types import Limits, PodSample
from inference_fleet.simulation.observe import Sight

# The tick of the operator, and the sync period of the Kubernetes HPA; rules with another period skip ticks.
TICK_SECONDS = 15.0


class Policy(Protocol):
    """A rule with its memory. One object lives for one run."""

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """Replicas wanted of every variant, in the variants' order."""
        ...


@runtime_checkable
class Timetable(Protocol):
    """A fleet that is known beforehand and looks at nothing."""

    def at(self, now: float) -> tuple[int, ...]:
        """Replicas wanted of every variant from now on."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """A rule that can be chosen by name. source: where the rule was published. defaults: its parameters as shipped.

    build: limits and parameters -> a rule at the start of a run. grid: what is tried when it is tuned in hindsight.
    """

    name: str
    source: str
    defaults: Mapping[str, float]
    build: PolicyBuilder
    grid: tuple[Mapping[str, float], ...] = ()


class PolicyBuilder(Protocol):
    """Makes a rule for one run."""

    def __call__(self, limits: Limits, parameters: Mapping[str, float]) -> Policy | Timetable: ...


def answered_pods(sight: Sight) -> tuple[PodSample, ...]:
    """The samples of all pods that are ready now and were scraped."""
    ready = {pod for variant in sight.observation.variants for pod in variant.ready_pods}
    return tuple(s for variant in sight.observation.variants for s in variant.pods if s.pod in ready)


def running_and_waiting(sight: Sight) -> float:
    """Requests in all engines."""
    return sum((sample.running or 0.0) + (sample.waiting or 0.0) for sample in answered_pods(sight))


def waiting(sight: Sight) -> float:
    """Requests in all engines' queues."""
    return sum(sample.waiting or 0.0 for sample in answered_pods(sight))


def clamped(replicas: int, limits: Limits) -> int:
    """Within the bounds of the deployment."""
    return max(limits.min_replicas, min(limits.max_replicas, replicas))
