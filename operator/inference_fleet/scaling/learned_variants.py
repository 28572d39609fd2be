"""What is learned of each variant: how long it takes to start, and the time of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.cold_start import KNOWN_AFTER, cold_start_seconds, remembered
from inference_fleet.scaling.memory import NOTHING_LEARNED, VariantMemory
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.step_time_fit import step_sample
from inference_fleet.scaling.types import Limits, Observation, VariantObservation

Variants = tuple[tuple[str, VariantMemory], ...]


def with_starts(variants: Variants, observation: Observation) -> Variants:
    """With the starts that were seen; of the variants that are there."""
    known = dict(variants)
    for seen in observation.variants:
        former = known.get(seen.name, NOTHING_LEARNED)
        starts = remembered(former.cold_start_seconds, seen.cold_start_seconds)
        if starts != former.cold_start_seconds or seen.name not in known:
            known[seen.name] = replace(former, cold_start_seconds=starts)
    names = {seen.name for seen in observation.variants}
    return tuple((name, learned) for name, learned in known.items() if name in names)


def starts_known(known: Variants, seen: Sequence[VariantObservation]) -> bool:
    """Whether enough starts were seen of every variant that starts some now.

    A start that takes longer than is believed never ends where it is given up after what is believed; and what never
    ends is not learned.
    """
    starts = {name: len(learned.cold_start_seconds) for name, learned in known}
    return all(starts.get(variant.name, 0) >= KNOWN_AFTER for variant in seen if variant.starting)


def with_fits(variants: Variants, load: FleetLoad, *, now: float, age: float) -> Variants:
    """With this tick's steps. age: seconds since the scaler began."""
    if not any(learned.fit.due(now=now, age=age) for _, learned in variants):
        return variants
    found = []
    for name, learned in variants:
        if learned.fit.due(now=now, age=age):
            told = [step_sample(change) for change in load.changes if change.variant == name]
            samples = [sample for sample in told if sample is not None]
            fit = learned.fit.learned(samples, now=now)
            learned = replace(learned, fit=fit) if fit is not learned.fit else learned
        found.append((name, learned))
    return tuple(found)


def slowest_start(known: Mapping[str, VariantMemory], limits: Limits) -> float:
    """Seconds of a cold start: the slowest variant's."""
    return max(
        cold_start_seconds(known.get(v.name, NOTHING_LEARNED).cold_start_seconds, told=v.cold_start_seconds)
        for v in limits.variants
    )


def fastest_step(
    known: Mapping[str, VariantMemory], limits: Limits, steps: Sequence[StepTimeModel]
) -> StepTimeModel | None:
    """Of these step times of the variants the learned one with the shortest empty step; None while none is learned."""
    learned = [
        step
        for variant, step in zip(limits.variants, steps, strict=True)
        if variant.name in known and known[variant.name].fit.known
    ]
    return min(learned, key=lambda step: step.base_seconds, default=None)
