"""The Knative Pod Autoscaler's rule: a stable and a panic window over concurrency.

Sources: https://knative.dev/docs/serving/autoscaling/kpa-specific/ (windows, panic, rates) and
https://knative.dev/docs/serving/autoscaling/concurrency/ (target, utilisation). Defaults of config-autoscaler: window
60 s, panic window 10 % of it, panic at twice the capacity, up by at most 1000 times and down to at least half a tick,
utilisation 70 %, target 100. The panic window of 6 s is shorter than a tick: the newest value stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.policy import PolicyKind, clamped, running_and_waiting

STABLE_WINDOW_SECONDS: Final = 60.0
PANIC_THRESHOLD: Final = 2.0
MAXIMUM_UP_RATE: Final = 1000.0
MAXIMUM_DOWN_RATE: Final = 2.0
TARGET_UTILIZATION: Final = 0.7


def pods_for(concurrency: float, *, target: float) -> int:
    """ceil(concurrent requests / what a pod should carry). 100 requests, 10 a pod at 70 % -> 15."""
    return math.ceil(round(concurrency / target, 9))


class KnativePodAutoscaler:
    """One revision's scaler. `target`: requests in flight per pod that it aims at."""

    def __init__(self, limits: Limits, *, target: float) -> None:
        self._limits = limits
        self._target = target
        self._seen: list[tuple[float, float]] = []
        self._panic_since: float | None = None
        self._panic_pods = 0

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One tick."""
        first, *others = sight.observation.variants
        ready = max(1, first.ready)
        if not first.pods:
            return (clamped(first.desired, self._limits), *(0 for _ in others))
        panic = self.decide_for(running_and_waiting(sight), ready=ready, now=sight.now)
        return (clamped(panic, self._limits), *(0 for _ in others))

    def decide_for(self, concurrency: float, *, ready: int, now: float) -> int:
        """Pods wanted, before the deployment's bounds."""
        self._seen = [(t, c) for t, c in (*self._seen, (now, concurrency)) if now - t < STABLE_WINDOW_SECONDS]
        up, down = math.ceil(MAXIMUM_UP_RATE * ready), math.floor(ready / MAXIMUM_DOWN_RATE)
        mean = sum(c for _, c in self._seen) / len(self._seen)
        stable = max(down, min(up, pods_for(mean, target=self._target)))
        panic = max(down, min(up, pods_for(concurrency, target=self._target)))
        if panic / ready >= PANIC_THRESHOLD:
            if self._panic_since is None:
                self._panic_pods = ready
            self._panic_since = now
        elif self._panic_since is not None and now - self._panic_since >= STABLE_WINDOW_SECONDS:
            self._panic_since = None
        if self._panic_since is None:
            return stable
        # In panic it never goes down.
        self._panic_pods = max(self._panic_pods, panic, stable)
        return self._panic_pods


def _build(limits: Limits, parameters: Mapping[str, float]) -> KnativePodAutoscaler:
    return KnativePodAutoscaler(limits, target=parameters["target"] * TARGET_UTILIZATION)


KNATIVE_KPA = PolicyKind(
    name="knative-kpa",
    source="Knative Serving, kpa-specific autoscaling configuration",
    defaults={"target": 100},
    build=_build,
    grid=tuple({"target": target} for target in (5, 10, 20, 30, 50, 100)),
)
