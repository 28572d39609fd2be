"""From raw samples to what is known: the state of the signals, and the load of the fleet.

A gauge is believed only together with its counters and a recent sample time: an engine that hangs or whose scrape
fails keeps its last gauge values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.memory import MAXIMUM_PODS, PodCounters, ScalerMemory
from inference_fleet.scaling.types import Observation, PodSample, SignalState

# Two scrapes of 15 s and a little: the slowest scrape interval that is tolerated.
MAXIMUM_SAMPLE_AGE_SECONDS: Final = 35.0
# Weight of a new tick in the mean of prompt tokens per generated token (design: 0.1 per tick).
MIX_WEIGHT: Final = 0.1


@dataclass(frozen=True)
class FleetLoad:
    """What the ready engines carry now, scaled up to those that did not answer.

    running, waiting, rejected: requests. answered, ready: pods. sample_time: of the oldest believed sample.
    prompt_per_generated: prompt tokens per generated token of the traffic, None until seen.
    """

    state: SignalState
    running: float
    waiting: float
    rejected: float
    answered: int
    ready: int
    sample_time: float | None
    prompt_per_generated: float | None
    pods: tuple[tuple[str, PodCounters], ...]
    problem: str


def read_signals(memory: ScalerMemory, observation: Observation, *, now: float) -> FleetLoad:
    """Judge every ready pod's sample and add up what can be believed."""
    previous = dict(memory.pods)
    ready = [pod for variant in observation.variants for pod in variant.ready_pods]
    samples = {sample.pod: sample for variant in observation.variants for sample in variant.pods}
    believed = [samples[pod] for pod in ready if pod in samples and _believable(samples[pod], now)]
    counters = {sample.pod: _counters(sample, previous.get(sample.pod)) for sample in believed}

    running = sum(sample.running or 0.0 for sample in believed)
    waiting = sum(sample.waiting or 0.0 for sample in believed)
    rejected = prompt = generated = 0.0
    moved = False
    for sample in believed:
        before, after = previous.get(sample.pod), counters[sample.pod]
        if before is None:
            # A pod seen for the first time has moved unless it has never done anything.
            moved = moved or any((after.prompt_tokens, after.generation_tokens, after.rejected_requests))
            continue
        rejected += _increase(before.rejected_requests, after.rejected_requests)
        prompt += _increase(before.prompt_tokens, after.prompt_tokens)
        generated += _increase(before.generation_tokens, after.generation_tokens)
        moved = moved or before.finished_requests != after.finished_requests
    moved = moved or rejected + prompt + generated > 0

    share = len(ready) / len(believed) if believed else 1.0
    return FleetLoad(
        state=_state(observation, believed=len(believed), ready=len(ready), still=not moved and running + waiting == 0),
        running=running * share,
        waiting=waiting * share,
        rejected=rejected * share,
        answered=len(believed),
        ready=len(ready),
        sample_time=min((sample.sample_time for sample in believed if sample.sample_time is not None), default=None),
        prompt_per_generated=_mix(memory.prompt_per_generated, prompt, generated),
        pods=tuple(sorted(counters.items()))[:MAXIMUM_PODS],
        problem=observation.problem or _silence(believed=len(believed), ready=len(ready)),
    )


def _silence(*, believed: int, ready: int) -> str:
    return f"{ready - believed} of {ready} pods did not answer" if ready else "no replica is ready"


def _state(observation: Observation, *, believed: int, ready: int, still: bool) -> SignalState:
    if observation.problem is not None or ready == 0 or believed == 0:
        return SignalState.UNKNOWN
    if still and believed == ready:
        return SignalState.IDLE
    return SignalState.FRESH


def _believable(sample: PodSample, now: float) -> bool:
    if not sample.answered or sample.sample_time is None or now - sample.sample_time > MAXIMUM_SAMPLE_AGE_SECONDS:
        return False
    numbers = (sample.running, sample.waiting, sample.prompt_tokens, sample.generation_tokens, sample.finished_requests)
    return all(number is not None and math.isfinite(number) and number >= 0 for number in numbers)


def _counters(sample: PodSample, before: PodCounters | None) -> PodCounters:
    assert sample.sample_time is not None
    rejected = sample.rejected_requests
    if rejected is None or not math.isfinite(rejected) or rejected < 0:
        # The series appears with the first rejection: until then nothing was turned away.
        rejected = before.rejected_requests if before else 0.0
    return PodCounters(
        sample_time=sample.sample_time,
        prompt_tokens=sample.prompt_tokens or 0.0,
        generation_tokens=sample.generation_tokens or 0.0,
        finished_requests=sample.finished_requests or 0.0,
        rejected_requests=rejected,
    )


def _increase(before: float, after: float) -> float:
    """Difference of a counter; one that fell has restarted and counts from zero."""
    return after - before if after >= before else after


def _mix(mean: float | None, prompt: float, generated: float) -> float | None:
    if generated <= 0:
        return mean
    ratio = min(prompt / generated, 10_000.0)
    return ratio if mean is None else mean + MIX_WEIGHT * (ratio - mean)
