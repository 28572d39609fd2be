"""llm-d's token-aware rule: seconds of prefill backlog and pods' worth of full cache, under the HPA of KEDA.

Source: https://github.com/llm-d/llm-d/tree/main/guides/workload-autoscaling/keda-epp-token-aware (its guide and the
ScaledObject for prefill and decode in one pod): max(ceil(backlog tokens / V_P / 1.5 s), ceil(sum of cache use / 0.8)),
V_P = chunk / first token of an idle engine; one pod more per 180 s, one less per 300 s after 300 s of calm. The
backlog is what the router counts: prompt tokens sent on whose first token has not come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.policies.hpa import DOWN_WINDOW_SECONDS, replicas_for_ratio
from inference_fleet.simulation.policies.policy import PolicyKind, answered_pods, clamped

UP_PERIOD_SECONDS: Final = 180.0
DOWN_PERIOD_SECONDS: Final = 300.0
# What one step of the simulated engines computes at most; llm-d calibrates with the engine's own limit.
CHUNK_TOKENS: Final = 2048


def prefill_rate(step_time: StepTimeModel, *, chunk_tokens: int = CHUNK_TOKENS) -> float:
    """V_P, prompt tokens a second: a chunk by the first token's time on an idle engine."""
    return chunk_tokens / step_time.step_seconds(prefill_tokens=chunk_tokens, decoding_sequences=0)


class TokenAware:
    """The larger of both triggers, one pod at a time."""

    def __init__(self, limits: Limits, *, backlog_seconds: float, cache: float) -> None:
        self._limits = limits
        self._rate = prefill_rate(limits.variants[0].step_time)
        self._backlog_seconds, self._cache = backlog_seconds, cache
        self._wishes: list[tuple[float, int]] = []
        self._sizes: list[tuple[float, int]] = []

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One sync of the HPA."""
        first, *others = sight.observation.variants
        backlog = sight.scrape.router.backlog_tokens / self._rate
        cache = sum(pod.kv_cache_usage or 0.0 for pod in answered_pods(sight))
        wish = self.wish(max(1, first.desired), backlog_seconds=backlog, cache=cache)
        settled = self.settle(clamped(wish, self._limits), current=first.desired, now=sight.now)
        return (clamped(settled, self._limits), *(0 for _ in others))

    def wish(self, current: int, *, backlog_seconds: float, cache: float) -> int:
        """What the HPA computes. cache: use of all pods together, 1 for each that is full."""
        return max(
            replicas_for_ratio(current, backlog_seconds / (self._backlog_seconds * current)),
            replicas_for_ratio(current, cache / (self._cache * current)),
        )

    def settle(self, wish: int, *, current: int, now: float) -> int:
        """At most one pod above the least size of 180 s; one below the largest of 300 s, and of all wishes then."""
        self._wishes = [(t, n) for t, n in (*self._wishes, (now, wish)) if now - t <= DOWN_WINDOW_SECONDS]
        self._sizes = [(t, n) for t, n in (*self._sizes, (now, current)) if now - t <= DOWN_PERIOD_SECONDS]
        if wish > current:
            return max(current, min(wish, 1 + min(n for t, n in self._sizes if now - t <= UP_PERIOD_SECONDS)))
        calm = max(n for _, n in self._wishes)
        if calm < current and now - self._wishes[0][0] >= DOWN_WINDOW_SECONDS - 1.0:
            return min(current, max(calm, max(n for _, n in self._sizes) - 1))
        return current


def _build(limits: Limits, parameters: Mapping[str, float]) -> TokenAware:
    return TokenAware(limits, backlog_seconds=parameters["backlogSeconds"], cache=parameters["cache"])


LLM_D_TOKEN_AWARE = PolicyKind(
    name="llm-d-token-aware",
    source="llm-d, guides/workload-autoscaling/keda-epp-token-aware",
    defaults={"backlogSeconds": 1.5, "cache": 0.8},
    build=_build,
    grid=tuple(
        {"backlogSeconds": seconds, "cache": cache}
        for seconds, cache in ((1.5, 0.8), (0.5, 0.5), (0.2, 0.3), (0.1, 0.15), (0.05, 0.08), (0.02, 0.04))
    ),
)
