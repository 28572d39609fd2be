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
    most: Mapping[str, int],
    recorded: Mapping[str, int] = _NOTHING_RECORDED,
    spec_replicas: int | None = None,
    samples: Mapping[str, PodSample] = _NO_SAMPLES,
    histograms: Mapping[str, tuple[HistogramSample, ...]] = _NO_HISTOGRAMS,
    problem: str | None = None,
    arrivals: tuple[float, float] | None = None,
    clocks: str = "",
) -> Observation:
    """One observation of an object: `samples` by pod name, `histograms` and `recorded` by variant.

    most: replicas that each variant of the spec may have, in the spec's order. recorded: replicas last decided, from
    status; they count while a rollout, or a move to another variant, spreads them over two pools.

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
        for name in most
    ]
    left = sum(pool.replicas for pool in pools if pool.variant not in most)
    return Observation(
        variants=_owed(seen, left=left, most=most, recorded=recorded),
        problem=problem,
        spec_replicas=spec_replicas,
        arrivals=arrivals,
        clocks=clocks,
    )


def _owed(
    seen: Sequence[VariantObservation], *, left: int, most: Mapping[str, int], recorded: Mapping[str, int]
) -> tuple[VariantObservation, ...]:
    """What a variant has beyond its maximum, or has though it left the spec, is owed by the others until they have it.

    4 of a, 3 of b, and b leaves: 7 of a are meant. While a starts 3 and b still has its own, 7 and not 10 are: what was
    decided last says so.
    """
    carried = left + sum(variant.desired for variant in seen)
    stays = [dataclasses.replace(variant, desired=min(variant.desired, most[variant.name])) for variant in seen]
    there = sum(variant.desired for variant in stays)
    meant = max(there, min(carried, sum(recorded.values())) if recorded else carried)
    if stays:
        stays[0] = dataclasses.replace(stays[0], desired=stays[0].desired + meant - there)
    return tuple(stays)


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
    unready = tuple(pod.name for pod in pods if pod.ready_since is None)
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
        unready_pods=unready,
        unready_samples=tuple(samples[pod] for pod in unready if pod in samples),
        histograms=histograms,
        cold_start_seconds=tuple(took for _, took in starts if took >= 0),
    )


def current_replicas(pools: Sequence[Pool], *, recorded: Mapping[str, int]) -> dict[str, int]:
    """What every variant is meant to have by its ReplicaSets, those that left the spec among them."""
    return {
        variant: desired_replicas([pool for pool in pools if pool.variant == variant], recorded=recorded.get(variant))
        for variant in sorted({pool.variant for pool in pools})
    }


def desired_replicas(pools: Sequence[Pool], *, recorded: int | None) -> int:
    """What one variant is meant to have: its ReplicaSet's count; while a rollout has two, what was decided last."""
    wanted = [pool.replicas for pool in pools if pool.replicas > 0]
    if len(wanted) <= 1:
        return sum(wanted)
    return max(wanted) if recorded is None else recorded
