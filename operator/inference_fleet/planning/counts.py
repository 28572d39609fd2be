"""From pools and samples to what the scaler observes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from inference_fleet.planning.pools import Pool
from inference_fleet.scaling.types import HistogramSample, Observation, PodSample, VariantObservation

_NO_SAMPLES: Mapping[str, PodSample] = {}
_NOTHING_RECORDED: Mapping[str, int] = {}
_NO_HISTOGRAMS: Mapping[str, tuple[HistogramSample, ...]] = {}


def observation_of(
    pools: Sequence[Pool],
    *,
    variants: Sequence[str],
    recorded: Mapping[str, int] = _NOTHING_RECORDED,
    spec_replicas: int | None = None,
    samples: Mapping[str, PodSample] = _NO_SAMPLES,
    histograms: Mapping[str, tuple[HistogramSample, ...]] = _NO_HISTOGRAMS,
    problem: str | None = None,
) -> Observation:
    """One observation of an object: `samples` by pod name, `histograms` and `recorded` by variant.

    recorded: replicas last decided, from status; they count while a rollout spreads them over two pools.

    Samples of pods that are not in the pools are dropped: their series outlive them for minutes.
    """
    seen = [
        _variant(
            [pool for pool in pools if pool.variant == name],
            name,
            recorded=recorded.get(name),
            samples=samples,
            histograms=histograms.get(name, ()),
        )
        for name in variants
    ]
    if seen:
        # What a variant that left the spec still carries is owed by those that stay, until they have it.
        left = sum(pool.replicas for pool in pools if pool.variant not in variants)
        owed = max(0, left - sum(variant.desired for variant in seen))
        seen[0] = dataclasses.replace(seen[0], desired=seen[0].desired + owed)
    return Observation(variants=tuple(seen), problem=problem, spec_replicas=spec_replicas)


def _variant(
    pools: Sequence[Pool],
    name: str,
    *,
    recorded: int | None,
    samples: Mapping[str, PodSample],
    histograms: tuple[HistogramSample, ...],
) -> VariantObservation:
    pods = [pod for pool in pools for pod in pool.pods]
    ready = tuple(pod.name for pod in pods if pod.ready_since is not None)
    starts = sorted(
        (pod.ready_since, pod.cold_start_seconds)
        for pod in pods
        if pod.ready_since is not None and pod.cold_start_seconds is not None
    )
    return VariantObservation(
        name=name,
        desired=desired_replicas(pools, recorded=recorded),
        ready=len(ready),
        starting=sum(pool.starting for pool in pools),
        unschedulable=sum(pool.unschedulable for pool in pools),
        failing=sum(pool.failing for pool in pools),
        terminating=sum(pool.terminating for pool in pools),
        ready_pods=ready,
        pods=tuple(samples[pod] for pod in ready if pod in samples),
        histograms=histograms,
        cold_start_seconds=tuple(took for _, took in starts if took >= 0),
    )


def desired_replicas(pools: Sequence[Pool], *, recorded: int | None) -> int:
    """What one variant is meant to have: its ReplicaSet's count; while a rollout has two, what was decided last."""
    wanted = [pool.replicas for pool in pools if pool.replicas > 0]
    if len(wanted) <= 1:
        return sum(wanted)
    return max(wanted) if recorded is None else recorded
