"""From raw samples to what is known: the state of the signals, the load of the fleet, and what moved since last time.

A gauge is believed only together with its counters and a recent sample time: an engine that hangs or whose scrape
fails keeps its last gauge values. Source: design, sections 2 and 7.
"""

from __future__ import annotations

from collections.abc import Container
from math import inf
from typing import Final, NamedTuple

from inference_fleet.scaling.forecast import TICK_SECONDS
from inference_fleet.scaling.pod_counters import PodChange, PodCounters, change_of, counters_of
from inference_fleet.scaling.silence import MAXIMUM_SAMPLE_AGE_SECONDS, MAXIMUM_SAMPLE_LEAD_SECONDS, silence_words
from inference_fleet.scaling.types import Observation, PodSample, SignalState

# Pods whose counters are remembered; of more, the rest counts like these.
MAXIMUM_PODS: Final = 1000
# A pod seen for the first time counts from zero if the fleet was seen this recently, else it may be old.
RECENT_SECONDS: Final = 60.0
# What moved in a longer time says nothing of now.
LONGEST_CHANGE_SECONDS: Final = 24 * 3600.0
# What moved in a shorter time is chance: of a pod that two jobs, or the two servers of a pair, scrape a moment apart.
# Less than the shortest interval that is usual for scrapes, five seconds.
SHORTEST_CHANGE_SECONDS: Final = 4.0
# The counter of a gateway is remembered beside those of pods; no pod has this name.
GATEWAY: Final = "/gateway"
# Of a pod that was silent when the fleet was met: it may be old, so nothing that it says first is of now.
_NEVER_HEARD: Final = PodCounters(sample_time=0.0)


class VariantLoad(NamedTuple):
    """One variant's engines that answered. kv_tokens: cache tokens in use; kv_share: the same in whole caches, None
    if the engines do not say.
    """

    name: str
    running: float
    waiting: float
    kv_tokens: float | None
    kv_share: float


class FleetLoad(NamedTuple):
    """What the ready engines carry now, scaled up to those that did not answer.

    running, waiting, rejected, failed: requests. answered, ready: pods. sample_time: of the oldest believed sample.
    changes: what moved, per pod with a newer sample than before. share, moving_share: pods that carry load by those
    that answered, and by those with changes. problem: words on what is missing, empty if nothing is. arrival_rate:
    requests a second that a gateway counted, None without one. unborn: pods that are only too new to have answered.
    """

    state: SignalState
    running: float
    waiting: float
    rejected: float
    failed: float
    answered: int
    ready: int
    sample_time: float | None
    variants: tuple[VariantLoad, ...]
    changes: tuple[PodChange, ...]
    share: float
    moving_share: float
    pods: tuple[tuple[str, PodCounters], ...]
    problem: str
    arrival_rate: float | None = None
    unborn: int = 0

    @property
    def lost(self) -> float:
        """Requests that were promised to and not served: turned away, or failed in the engine."""
        return self.rejected + self.failed


def read_signals(
    previous: tuple[tuple[str, PodCounters], ...], observation: Observation, *, seen_at: float | None, now: float
) -> FleetLoad:
    """Judge every ready pod's sample and add up what can be believed.

    previous: the counters of the last call. seen_at: when signals were last known, None if never.
    """
    before = dict(previous)
    gateway = before.pop(GATEWAY, None)
    counted = observation.arrivals and PodCounters(observation.arrivals[1], finished_requests=observation.arrivals[0])
    recently = seen_at is not None and now - seen_at <= RECENT_SECONDS
    ready = {pod for variant in observation.variants for pod in variant.ready_pods}
    counters: dict[str, PodCounters] = {}
    changes: list[PodChange] = []
    variants = []
    arrival_rate = _arrival_rate(gateway, counted)
    moved = bool(arrival_rate)
    for variant in observation.variants:
        believed = []
        for sample in variant.pods:
            if sample.pod not in ready or not _recent(sample, now):
                continue
            old = before.get(sample.pod)
            new = counters_of(sample, old)
            if new is None:
                continue
            believed.append(sample)
            counters[sample.pod] = new
            if old is None:
                # A pod seen for the first time has moved unless it has never done anything.
                moved = moved or any((new.prompt_tokens, new.generation_tokens, new.rejected_requests))
                if not recently or not before or len(before) >= MAXIMUM_PODS:
                    continue
                # It counts from zero since the scrape before, when the others were seen. Pods are scraped at seconds of
                # their own: where that is only just before, it has served for half a tick, on average.
                former_scrape = max([counters.sample_time for counters in before.values()])
                old = PodCounters(sample_time=min(former_scrape, new.sample_time - TICK_SECONDS / 2))
            change = change_of(sample.pod, variant.name, old, new)
            moved = moved or change.moved
            if _too_near(old, new):
                # Nothing of it is lost: the next sample is compared with the same one.
                counters[sample.pod] = old
            elif 0 < change.seconds < LONGEST_CHANGE_SECONDS:
                changes.append(change)
        variants.append(_variant_load(variant.name, believed))

    answered = len(counters)
    # One that has just become ready carries nothing yet; counted like the others it would pass for load.
    unborn = ready.difference(counters, before) if recently else frozenset[str]()
    carrying = len(ready) - len(unborn)
    share = carrying / answered if answered else 1.0
    running = sum([variant.running for variant in variants])
    waiting = sum([variant.waiting for variant in variants])
    still = not moved and running + waiting == 0
    # A pod that is silent for a tick, or not ready, is still known when it is back: all it ever counted is not of now.
    unready = {pod for variant in observation.variants for pod in variant.unready_pods}
    silent = {pod: before[pod] for pod in before.keys() - counters.keys() if pod in ready or pod in unready}
    silent |= _met_unready(observation, before, counters, now=now)
    if not recently and answered < len(ready):
        silent = dict.fromkeys(ready.difference(counters), _NEVER_HEARD) | silent
    if counted is not None:
        silent[GATEWAY] = gateway if gateway is not None and _too_near(gateway, counted) else counted
    problem = observation.problem or ""
    if not problem and (not ready or answered < len(ready)):
        problem = silence_words(observation, ready=ready, answered=counters, new=unborn, now=now)
    return FleetLoad(
        state=_state(observation, answered=answered, ready=len(ready), still=still),
        running=running * share,
        waiting=waiting * share,
        rejected=sum([change.rejected for change in changes]) * share,
        failed=sum([change.failed for change in changes]) * share,
        answered=answered,
        ready=len(ready),
        sample_time=min([one.sample_time for one in counters.values()], default=None),
        variants=tuple(variants),
        changes=tuple(changes),
        share=share,
        moving_share=carrying / len(changes) if changes else 1.0,
        pods=tuple(sorted((silent | counters).items())[:MAXIMUM_PODS]),
        problem=problem,
        arrival_rate=arrival_rate,
        unborn=len(unborn),
    )


def _met_unready(observation: Observation, *known: Container[str], now: float) -> dict[str, PodCounters]:
    """Counters of pods that are not ready when they are met first, and have served before."""
    return {
        sample.pod: counters
        for variant in observation.variants
        for sample in variant.unready_samples
        if not any(sample.pod in pods for pods in known) and _recent(sample, now)
        if (counters := counters_of(sample, None)) is not None and counters.generation_tokens
    }


def _too_near(before: PodCounters, now: PodCounters) -> bool:
    return abs(now.sample_time - before.sample_time) < SHORTEST_CHANGE_SECONDS


def _arrival_rate(before: PodCounters | None, now: PodCounters | None) -> float | None:
    """Of a gateway's counter; one that fell has restarted. None where it was not seen lately, or only just now."""
    if before is None or now is None:
        return None
    if not SHORTEST_CHANGE_SECONDS <= now.sample_time - before.sample_time <= RECENT_SECONDS:
        return None
    came = change_of(GATEWAY, "", before, now)
    return came.finished / came.seconds


def _variant_load(name: str, believed: list[PodSample]) -> VariantLoad:
    running = waiting = tokens = share = 0.0
    told = True
    for sample in believed:
        running += sample.running or 0.0
        waiting += sample.waiting or 0.0
        usage = sample.kv_cache_usage
        if usage is None or not 0 <= usage <= 1:
            continue
        share += usage
        if sample.kv_cache_tokens is not None and 0 < sample.kv_cache_tokens < inf:
            tokens += usage * sample.kv_cache_tokens
        elif usage > 0:
            told = False
    return VariantLoad(name, running, waiting, tokens if told else None, share)


def _state(observation: Observation, *, answered: int, ready: int, still: bool) -> SignalState:
    if observation.problem is not None or ready == 0 or answered == 0:
        return SignalState.UNKNOWN
    if still and answered == ready:
        return SignalState.IDLE
    return SignalState.FRESH


def _recent(sample: PodSample, now: float) -> bool:
    time = sample.sample_time
    return time is not None and -MAXIMUM_SAMPLE_LEAD_SECONDS <= now - time <= MAXIMUM_SAMPLE_AGE_SECONDS
