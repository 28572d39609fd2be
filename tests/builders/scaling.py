"""Observations and limits for tests of the scaler, with every default a sound one."""

from __future__ import annotations

from typing import Any

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import (
    Decision,
    Limits,
    Mode,
    Observation,
    PodSample,
    VariantLimits,
    VariantObservation,
)

TICK_SECONDS = 15.0


def variant_limits(name: str = "a", **overrides: Any) -> VariantLimits:
    """16 sequences, of which 92 % can be used: 14.7 requests are one full replica."""
    values: dict[str, Any] = {
        "name": name,
        "min_replicas": 0,
        "max_replicas": 10,
        "max_num_seqs": 16,
        "step_time": DEFAULT_STEP_TIME,
        "cold_start_seconds": 20.0,
    }
    return VariantLimits(**(values | overrides))


def limits(*variants: VariantLimits, **overrides: Any) -> Limits:
    values: dict[str, Any] = {
        "mode": Mode.AUTOMATIC,
        "min_replicas": 1,
        "max_replicas": 10,
        "variants": variants or (variant_limits(),),
    }
    return Limits(**(values | overrides))


def sample(pod: str, *, at: float, running: float | None = 0.0, waiting: float = 0.0, **counters: float) -> PodSample:
    values: dict[str, Any] = {"prompt_tokens": 0.0, "generation_tokens": 0.0, "finished_requests": 0.0} | counters
    return PodSample(pod=pod, sample_time=at, running=running, waiting=waiting, **values)


def variant(name: str = "a", *, at: float, ready: int, running: float = 0.0, **overrides: Any) -> VariantObservation:
    """`ready` pods that answered; the running requests are spread over them."""
    pods = tuple(f"{name}-{index}" for index in range(ready))
    work = overrides.pop("work", at if running else 0.0)
    counters = {"prompt_tokens": 5 * work, "generation_tokens": work, "finished_requests": work}
    waiting = overrides.pop("waiting", 0.0)
    rejected = overrides.pop("rejected", None)
    if rejected is not None:
        counters["rejected_requests"] = rejected
    failed = overrides.pop("failed", None)
    if failed is not None:
        counters["failed_requests"] = failed
    samples = tuple(sample(pod, at=at, running=running / ready, waiting=waiting / ready, **counters) for pod in pods)
    values: dict[str, Any] = {"desired": ready, "ready_pods": pods, "pods": samples}
    return VariantObservation(name=name, ready=ready, **(values | overrides))


class Scaler:
    """A scaler that has been running: keeps memory and time between calls."""

    def __init__(self, bounds: Limits, *, memory: ScalerMemory | None = None, now: float = 1_000_000.0) -> None:
        self.limits = bounds
        self.memory = memory or ScalerMemory(started=now - 3600.0)
        self.now = now

    def tick(self, *variants: VariantObservation, **observation: Any) -> Decision:
        """One decision, 15 s after the former one."""
        decision, self.memory = decide(self.memory, Observation(variants, **observation), self.limits, self.now)
        self.now += TICK_SECONDS
        return decision

    def hold(self, ticks: int, *, ready: int, running: float = 0.0) -> Decision:
        """So many ticks of the same load and fleet."""
        for _ in range(ticks):
            decision = self.tick(variant(at=self.now, ready=ready, running=running))
        return decision
