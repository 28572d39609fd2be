"""The Kubernetes HorizontalPodAutoscaler's rule, and the two scalers that put a metric of ours under it.

Sources: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ (algorithm details, stabilisation
window, default behaviour); KServe's autoscaling example (concurrency target 2); KEDA's queue scalers (average value of
the queue length) with the threshold of 5 waiting requests of vLLM production-stack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.policy import PolicyKind, clamped, running_and_waiting, waiting

# `--horizontal-pod-autoscaler-tolerance`, `behavior.scaleDown.stabilizationWindowSeconds` and the default policies of
# `behavior.scaleUp`: as much again or 4 pods in 15 s, whichever is more.
TOLERANCE: Final = 0.1
DOWN_WINDOW_SECONDS: Final = 300.0
UP_SHARE: Final = 1.0
UP_PODS: Final = 4


def replicas_for_ratio(current: int, ratio: float) -> int:
    """ceil(current x ratio) outside the tolerance, else current. `ratio`: metric by its target."""
    if 1.0 - TOLERANCE <= ratio <= 1.0 + TOLERANCE:
        return current
    # A ratio that is a hair above a whole number by rounding asks for no pod more.
    return math.ceil(round(current * ratio, 9))


class HorizontalPodAutoscaler:
    """Recommendations in, replicas out: down to the largest of the window, up by the default policies' rate."""

    def __init__(
        self,
        *,
        down_window_seconds: float = DOWN_WINDOW_SECONDS,
        up_share: float = UP_SHARE,
        up_pods: int = UP_PODS,
    ) -> None:
        self._window = down_window_seconds
        self._up_share = up_share
        self._up_pods = up_pods
        self._recommendations: list[tuple[float, int]] = []

    def settle(self, recommended: int, *, current: int, now: float) -> int:
        """The replicas after stabilisation and rate limits."""
        if not self._recommendations:
            # As the HPA's controller does: what runs when it begins counts as its first recommendation.
            self._recommendations.append((now, current))
        self._recommendations.append((now, recommended))
        self._recommendations = [(t, n) for t, n in self._recommendations if now - t <= self._window]
        if recommended < current:
            return min(current, max(count for _, count in self._recommendations))
        return min(recommended, max(math.floor(current * (1 + self._up_share)), current + self._up_pods))


class _TargetPerPod:
    """A sum over the pods by a target per pod, under the HPA (metric type AverageValue)."""

    def __init__(self, limits: Limits, *, target: float) -> None:
        self._limits = limits
        self._target = target
        self._hpa = HorizontalPodAutoscaler()

    def total(self, sight: Sight) -> float:
        raise NotImplementedError

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One sync of the HPA: desired = ceil(total / target), tolerance on total / (target x current)."""
        first, *others = sight.observation.variants
        if not first.ready_pods or not first.pods:
            return (clamped(first.desired, self._limits), *(0 for _ in others))
        current = max(1, first.desired)
        recommended = replicas_for_ratio(current, self.total(sight) / (self._target * current))
        recommended = clamped(recommended, self._limits)
        settled = self._hpa.settle(recommended, current=first.desired, now=sight.now)
        return (clamped(settled, self._limits), *(0 for _ in others))


class ConcurrencyTarget(_TargetPerPod):
    """HPA on requests in flight."""

    def total(self, sight: Sight) -> float:
        """Running and waiting."""
        return running_and_waiting(sight)


class QueueLength(_TargetPerPod):
    """KEDA on queue length."""

    def total(self, sight: Sight) -> float:
        """Waiting."""
        return waiting(sight)


def _concurrency(limits: Limits, parameters: Mapping[str, float]) -> ConcurrencyTarget:
    return ConcurrencyTarget(limits, target=parameters["target"])


def _queue(limits: Limits, parameters: Mapping[str, float]) -> QueueLength:
    return QueueLength(limits, target=parameters["target"])


HPA_CONCURRENCY = PolicyKind(
    name="hpa-concurrency",
    source="Kubernetes HPA; target of KServe's example",
    defaults={"target": 2},
    build=_concurrency,
    grid=tuple({"target": target} for target in (2, 5, 10, 15, 20, 30, 45, 70)),
)
KEDA_QUEUE = PolicyKind(
    name="keda-queue",
    source="KEDA's queue rule over the Kubernetes HPA; threshold of vLLM production-stack",
    defaults={"target": 5},
    build=_queue,
    grid=tuple({"target": target} for target in (0.1, 1, 5)),
)
