"""Which pods are silent, and why, in words for somebody who does not know the scaler."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import Final

from inference_fleet.scaling.types import Observation, PodSample

# Two scrapes of 15 s and a little: the slowest scrape interval that is tolerated.
MAXIMUM_SAMPLE_AGE_SECONDS: Final = 35.0
# A scrape after the queries were begun, and clocks as they differ; what is further ahead was stamped by a wrong clock.
MAXIMUM_SAMPLE_LEAD_SECONDS: Final = 20.0
TOLD_NAMES: Final = 3


def silence_words(
    observation: Observation, *, ready: Collection[str], answered: Container[str], new: Container[str], now: float
) -> str:
    """Of the pods that are ready those that did not answer, by name and cause. new: which have had no time to.

    The same words for as long as the same pods are silent for the same cause: no age is in them, and of how far a clock
    is ahead the minutes.
    """
    if not ready:
        return "no replica is ready"
    missing = [pod for pod in sorted(ready) if pod not in answered]
    silent = [pod for pod in missing if pod not in new]
    if not silent:
        # Every start has such a moment: no engine is at fault.
        return f"{_of(len(missing), len(ready))} too new to have answered"
    samples = {sample.pod: sample for variant in observation.variants for sample in variant.pods}
    causes: dict[str, list[str]] = {}
    for pod in silent:
        causes.setdefault(_cause(samples.get(pod), now), []).append(pod)
    leads = [sample.sample_time - now for pod in silent if (sample := samples.get(pod)) and sample.sample_time]
    said = ", and ".join(
        cause.format(pods=_names(pods), lead=_minutes(max(leads, default=0.0)))
        for cause, pods in sorted(causes.items())
    )
    clocks = f" ({observation.clocks})" if observation.clocks else ""
    return f"{_of(len(silent), len(ready))} silent: {said}{clocks}"


def _of(count: int, total: int) -> str:
    return f"{count} of {total} pods {'is' if count == 1 else 'are'}"


def _cause(sample: PodSample | None, now: float) -> str:
    if sample is None:
        return "Prometheus has no sample of {pods}"
    if sample.sample_time is not None and sample.sample_time - now > MAXIMUM_SAMPLE_LEAD_SECONDS:
        return (
            "the newest samples of {pods} are {lead} ahead of this operator's clock: compare the clocks of the"
            " operator's node and of Prometheus'"
        )
    if sample.sample_time is not None and now - sample.sample_time > MAXIMUM_SAMPLE_AGE_SECONDS:
        return f"Prometheus has had no sample of {{pods}} for more than {MAXIMUM_SAMPLE_AGE_SECONDS:.0f} s"
    return "running or waiting requests or token counters of {pods} are missing or no numbers"


def _names(pods: Sequence[str]) -> str:
    """a; a and b; a, b and c; a, b, c and 2 more."""
    more = len(pods) - TOLD_NAMES
    *first, last = pods if more <= 0 else [*pods[:TOLD_NAMES], f"{more} more"]
    return f"{', '.join(first)} and {last}" if first else last


def _minutes(seconds: float) -> str:
    return "less than a minute" if seconds < 60 else f"about {round(seconds / 60)} min"
