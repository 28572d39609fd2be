"""llm-d's Workload Variant Autoscaler with its V2 saturation analyzer: tokens demanded against tokens that fit.

Source: https://github.com/llm-d/llm-d-workload-variant-autoscaler, internal/engines/analyzers/saturation_v2 (capacity),
internal/engines/pipeline (cost-aware optimizer) and deploy/configmap-saturation-scaling.yaml (0.80 of the cache, a
queue of 5, up at demand / 0.85, down at demand / 0.70). Every 60 s; its wish is a metric of a Kubernetes HPA.
Capacity of a pod is the lesser of k1 = 0.8 of its cache and k2 = the tokens it held when a queue of five or more
stood; without a queue the mean of such observations, else min(B O / (I + O), S) (I + O / 2), else k1.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.types import Limits, PodSample, VariantLimits, VariantObservation
from inference_fleet.simulation.observe import RouterTotals, Sight
from inference_fleet.simulation.policies.hpa import HorizontalPodAutoscaler
from inference_fleet.simulation.policies.policy import PolicyKind, clamped

PERIOD_SECONDS: Final = 60.0
CACHE_SHARE: Final = 0.8
QUEUE_THRESHOLD: Final = 5
SHORT_OUTPUT: Final = 100.0
MEDIUM_OUTPUT: Final = 500.0
REMEMBERED: Final = 10
# B of the formula: what one step of the simulated engines computes at most.
BATCH_TOKENS: Final = 2048


@dataclass(frozen=True, slots=True)
class Supply:
    """One variant: replicas asked for, capacity of one in tokens, what one costs."""

    replicas: int
    capacity: float
    cost: float


def derived_capacity(*, batch_tokens: int, sequences: int, prompt_tokens: float, output_tokens: float) -> float:
    """min(B O / (I + O), S) (I + O / 2). B 4096, S 256, I 500, O 100 -> 256 x 550 = 140800."""
    if output_tokens <= 0:
        return 0.0
    steady = min(batch_tokens * output_tokens / (prompt_tokens + output_tokens), sequences)
    return math.floor(steady * (prompt_tokens + output_tokens / 2))


def grown(supplies: Sequence[Supply], required: float) -> list[int]:
    """Replicas of every variant after adding capacity where it is cheapest."""
    counts = [supply.replicas for supply in supplies]
    usable = [place for place, supply in enumerate(supplies) if supply.capacity > 0]
    for place in sorted(usable, key=lambda place: supplies[place].cost / supplies[place].capacity):
        if required <= 0:
            break
        added = math.ceil(required / supplies[place].capacity)
        counts[place] += added
        required -= added * supplies[place].capacity
    return counts


def shrunk(supplies: Sequence[Supply], spare: float) -> list[int]:
    """Replicas after giving back capacity where a replica is dearest; the last variant that has any keeps one."""
    counts = [supply.replicas for supply in supplies]
    usable = [place for place, supply in enumerate(supplies) if supply.capacity > 0]
    for place in sorted(usable, key=lambda place: -supplies[place].cost):
        others = sum(count for other, count in enumerate(counts) if other != place)
        removed = min(math.floor(spare / supplies[place].capacity), counts[place] - (0 if others else 1))
        if removed > 0:
            counts[place] -= removed
            spare -= removed * supplies[place].capacity
    return counts


class SaturationV2:
    """Capacity learned from queues; the optimizer's wish every minute, an HPA in between."""

    def __init__(self, limits: Limits, *, up: float, down: float) -> None:
        self._limits = limits
        self._up, self._down = up, down
        self._history: dict[tuple[int, str], deque[float]] = {}
        self._known: dict[int, float] = {}
        self._before: list[tuple[float, RouterTotals]] = []
        self._wish: list[int] | None = None
        self._next = 0.0
        self._hpas = [HorizontalPodAutoscaler() for _ in limits.variants]

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One sync of the HPA."""
        variants = sight.observation.variants
        if sight.now >= self._next:
            self._next = sight.now + PERIOD_SECONDS
            self._wish = self._optimized(sight)
        wish = self._wish or [variant.desired for variant in variants]
        settled = [
            hpa.settle(count, current=variant.desired, now=sight.now)
            for hpa, count, variant in zip(self._hpas, wish, variants, strict=True)
        ]
        if len(settled) == 1:
            return (clamped(settled[0], self._limits),)
        return tuple(min(self._limits.max_replicas, count) for count in settled)

    def capacity(
        self, place: int, pod: PodSample, variant: VariantLimits, *, prompt_tokens: float, output_tokens: float
    ) -> float:
        """Tokens that fit one pod."""
        bound = CACHE_SHARE * (pod.kv_cache_tokens or 0.0)
        held = (pod.kv_cache_usage or 0.0) * (pod.kv_cache_tokens or 0.0)
        bucket = "short" if output_tokens < SHORT_OUTPUT else "medium" if output_tokens < MEDIUM_OUTPUT else "long"
        history = self._history.setdefault((place, bucket), deque(maxlen=REMEMBERED))
        if (pod.waiting or 0.0) >= QUEUE_THRESHOLD and held > 0:
            history.append(held)
            return min(bound, held)
        if history:
            return min(bound, statistics.fmean(history))
        derived = derived_capacity(
            batch_tokens=BATCH_TOKENS,
            sequences=variant.max_num_seqs,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
        )
        return min(bound, derived) if derived > 0 else bound

    def _optimized(self, sight: Sight) -> list[int]:
        prompt, output = self._lengths(sight)
        supplies, demand, supply, anticipated = [], 0.0, 0.0, 0.0
        for place, (seen, known) in enumerate(zip(sight.observation.variants, self._limits.variants, strict=True)):
            pods = _serving(seen)
            if pods:
                self._known[place] = statistics.median(
                    self.capacity(place, pod, known, prompt_tokens=prompt, output_tokens=output) for pod in pods
                )
            capacity = self._known.get(place, CACHE_SHARE * (known.kv_cache_tokens or 0))
            demand += sum(
                (pod.kv_cache_usage or 0.0) * (pod.kv_cache_tokens or 0.0) + (pod.waiting or 0.0) * prompt
                for pod in pods
            )
            supply += seen.ready * capacity
            anticipated += seen.desired * capacity
            supplies.append(Supply(seen.desired, capacity, known.cost_per_replica_hour or 1.0))
        required = demand / self._up - anticipated
        if required > 0:
            return grown(supplies, required)
        return shrunk(supplies, max(0.0, supply - demand / self._down))

    def _lengths(self, sight: Sight) -> tuple[float, float]:
        """Mean prompt and output length of the last minute; of all time before anything was counted in it."""
        now, totals = sight.scrape.time, sight.scrape.router
        self._before = [(t, r) for t, r in self._before if now - t <= PERIOD_SECONDS + 15.0]
        before = self._before[0][1] if self._before else RouterTotals(0, 0, 0, 0, 0)
        self._before.append((now, totals))
        if totals.finished == before.finished or totals.arrived == before.arrived:
            before = RouterTotals(0, 0, 0, 0, 0)
        prompt = (totals.arrived_tokens - before.arrived_tokens) / max(1, totals.arrived - before.arrived)
        output = (totals.written_tokens - before.written_tokens) / max(1, totals.finished - before.finished)
        return prompt, output


def _serving(variant: VariantObservation) -> tuple[PodSample, ...]:
    ready = set(variant.ready_pods)
    return tuple(pod for pod in variant.pods if pod.pod in ready and pod.kv_cache_tokens)


def _build(limits: Limits, parameters: Mapping[str, float]) -> SaturationV2:
    return SaturationV2(limits, up=parameters["up"], down=parameters["down"])


WVA_V2 = PolicyKind(
    name="wva-v2",
    source="llm-d Workload Variant Autoscaler, saturation analyzer V2",
    defaults={"up": 0.85, "down": 0.70},
    build=_build,
    grid=tuple(
        {"up": up, "down": down}
        for up, down in ((0.85, 0.7), (0.6, 0.45), (0.4, 0.3), (0.25, 0.18), (0.15, 0.1), (0.08, 0.05))
    ),
)
