"""One pod's counters at two samples, and what moved between them by the samples' own times."""

from __future__ import annotations

from math import inf
from operator import attrgetter, sub
from typing import Final, NamedTuple

from inference_fleet.scaling.types import PodSample


class PodCounters(NamedTuple):
    """The counters of one pod at its last believed sample; running and waiting are the gauges of that moment."""

    sample_time: float
    prompt_tokens: float = 0.0
    cached_prompt_tokens: float = 0.0
    generation_tokens: float = 0.0
    finished_requests: float = 0.0
    rejected_requests: float = 0.0
    failed_requests: float = 0.0
    steps: float = 0.0
    inter_token_sum_seconds: float = 0.0
    inter_token_count: float = 0.0
    running: float = 0.0
    waiting: float = 0.0


# Named alike in a sample.
_told: Final = attrgetter(*PodCounters._fields)
# Without these a sample cannot be believed: the engine hangs, or its scrape has failed.
_needed: Final = attrgetter("running", "waiting", "prompt_tokens", "generation_tokens", "finished_requests")
_NOTHING: Final = PodCounters(sample_time=0.0)


class PodChange(NamedTuple):
    """What one pod did between two samples. prompt: tokens computed, cached ones left out; queued, begun: change of
    the waiting and the running requests. failed: of those that finished.
    """

    pod: str
    variant: str
    seconds: float
    prompt: float
    generated: float
    finished: float
    rejected: float
    steps: float
    inter_token_seconds: float
    inter_tokens: float
    queued: float
    begun: float
    failed: float = 0.0

    @property
    def moved(self) -> bool:
        """Whether any counter did."""
        return self.prompt + self.generated + self.finished + self.rejected > 0


def counters_of(sample: PodSample, before: PodCounters | None) -> PodCounters | None:
    """The sample's values, None if it cannot be believed. A counter that does not answer stays where it was: its series
    comes with its first event.
    """
    told = _told(sample)
    # Nearly always all of them are sound, and so is their sum: of one that is no number it is none, either.
    try:
        sound = min(told) >= 0 and sum(told) < inf
    except TypeError:
        # One does not answer.
        sound = False
    if sound:
        return PodCounters._make(told)
    if not all(map(_sound, _needed(sample))):
        return None
    old = _NOTHING if before is None else before
    return PodCounters(
        told[0],
        *[value if _sound(value) else former for value, former in zip(told[1:], old[1:], strict=True)],
    )


def _sound(value: float | None) -> bool:
    return value is not None and 0 <= value < inf


def change_of(pod: str, variant: str, before: PodCounters, after: PodCounters) -> PodChange:
    """What moved. An engine that has restarted (a counter fell) counts from zero, gauges too."""
    seconds, *gained, begun, queued = map(sub, after, before)
    if min(gained) < 0:
        if after.generation_tokens < before.generation_tokens or after.prompt_tokens < before.prompt_tokens:
            return change_of(pod, variant, PodCounters(sample_time=before.sample_time), after)
        # One that fell counts from zero.
        gained = [gain if gain >= 0 else now for gain, now in zip(gained, after[1:10], strict=True)]
    prompt, cached, generated, finished, rejected, failed, steps, inter_token_seconds, inter_tokens = gained
    return PodChange(
        pod,
        variant,
        seconds,
        prompt - cached if prompt > cached else 0.0,
        generated,
        finished,
        rejected,
        steps,
        inter_token_seconds,
        inter_tokens,
        queued,
        begun,
        failed,
    )
