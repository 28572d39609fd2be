"""AIBrix's APA: the HPA's ratio with a tolerance on either side and bounded steps, on the use of the cache.

Source: https://github.com/vllm-project/aibrix/blob/main/pkg/controller/podautoscaler/algorithm/apa.go and its sample
(`gpu_cache_usage_perc` at 50 %, window 30 s, tolerances 0.1 up and 0.2 down, at most twice as many, at least half;
a scale-down cools down for 300 s).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.hpa import HorizontalPodAutoscaler
from inference_fleet.simulation.policies.policy import PolicyKind, answered_pods, clamped

WINDOW_SECONDS: Final = 30.0
UP_TOLERANCE: Final = 0.1
DOWN_TOLERANCE: Final = 0.2
MAXIMUM_UP_RATE: Final = 2.0
MAXIMUM_DOWN_RATE: Final = 2.0
COOL_DOWN_SECONDS: Final = 300.0


def replicas_for_use(
    current: int,
    ratio: float,
    *,
    up_tolerance: float = UP_TOLERANCE,
    down_tolerance: float = DOWN_TOLERANCE,
    up_rate: float = MAXIMUM_UP_RATE,
    down_rate: float = MAXIMUM_DOWN_RATE,
) -> int:
    """ceil(current x ratio) outside the tolerances, within current x up_rate and current / down_rate."""
    expected = math.ceil(round(current * ratio, 9))
    if round(ratio, 9) > 1 + up_tolerance:
        return min(expected, math.ceil(up_rate * current))
    if round(ratio, 9) < 1 - down_tolerance:
        return max(expected, math.floor(current / down_rate))
    return current


class CacheUse:
    """Mean use of the cache over half a minute by its target."""

    def __init__(self, limits: Limits, *, target: float) -> None:
        self._limits = limits
        self._target = target
        self._seen: list[tuple[float, float]] = []
        # Its cool-down keeps the largest wish of the window, as the HPA's stabilisation does; steps up are its own.
        self._cool_down = HorizontalPodAutoscaler(down_window_seconds=COOL_DOWN_SECONDS, up_share=MAXIMUM_UP_RATE)

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One tick."""
        first, *others = sight.observation.variants
        pods = answered_pods(sight)
        current = first.desired
        if not pods:
            return (clamped(current, self._limits), *(0 for _ in others))
        use = sum(pod.kv_cache_usage or 0.0 for pod in pods) / len(pods)
        self._seen = [(t, u) for t, u in (*self._seen, (sight.now, use)) if sight.now - t <= WINDOW_SECONDS]
        mean = sum(u for _, u in self._seen) / len(self._seen)
        wish = clamped(replicas_for_use(max(1, current), mean / self._target), self._limits)
        settled = self._cool_down.settle(wish, current=current, now=sight.now)
        return (clamped(settled, self._limits), *(0 for _ in others))


def _build(limits: Limits, parameters: Mapping[str, float]) -> CacheUse:
    return CacheUse(limits, target=parameters["target"])


AIBRIX_APA = PolicyKind(
    name="aibrix-apa",
    source="AIBrix, podautoscaler/algorithm/apa.go",
    defaults={"target": 0.5},
    build=_build,
    grid=tuple({"target": target} for target in (0.02, 0.05, 0.1, 0.2, 0.35, 0.5)),
)
