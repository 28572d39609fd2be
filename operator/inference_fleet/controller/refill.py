"""At the start: what a scaler without a recent memory would have learned in the last half hour, from Prometheus.

The ticks that it missed are decided again, on what Prometheus showed then, and the decisions are thrown away: what is
left is the memory. Where Prometheus has nothing, or no time is left, the scaler holds and learns anew.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.adapters.ports import Clock, FleetSamples, Signals, VariantKey
from inference_fleet.controller.store import Store
from inference_fleet.controller.tick import BATCH, FleetTick, scales
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.counts import observation_of
from inference_fleet.planning.pools import Pool
from inference_fleet.planning.study import study
from inference_fleet.planning.wishes import recorded_replicas, spec_replicas
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.signals import MAXIMUM_SAMPLE_AGE_SECONDS
from inference_fleet.scaling.types import Limits, Observation, PodSample

STEP_SECONDS: Final = 15.0
# Asked for in parts, the newest first, so that what there is time for reaches up to now.
PART_TICKS: Final = 24
PARTS: Final = 5
# A memory that knows of the last minutes needs nothing.
RECENT_SECONDS: Final = 120.0
# All of it: until then nothing is done for any object.
LONGEST_SECONDS: Final = 15.0

_log = logging.getLogger(__name__)
_Pods = Mapping[tuple[str, str], Sequence[PodSample]]
"""Samples by namespace and the ReplicaSet that the pod's name begins with."""


@dataclass(frozen=True)
class _Lacking:
    """An object whose scaler lacks the last minutes. seen: as it is now."""

    key: Key
    uid: str
    memory: ScalerMemory
    limits: Limits
    pools: tuple[Pool, ...]
    seen: Observation

    def observation(self, fleet: FleetSamples, pods: _Pods) -> Observation:
        """What the object showed then: those of its pods that answered served, and no more is known of the others."""
        namespace = self.key[0]
        variants = []
        for variant in self.seen.variants:
            names = [pool.replica_set["metadata"]["name"] for pool in self.pools if pool.variant == variant.name]
            samples = tuple(sample for name in names for sample in pods.get((namespace, name), ()))
            then = dataclasses.replace(
                variant,
                desired=len(samples),
                ready=len(samples),
                starting=0,
                unschedulable=0,
                failing=0,
                terminating=0,
                ready_pods=tuple(sample.pod for sample in samples),
                pods=samples,
                unready_pods=(),
                histograms=fleet.histograms.get(_variant(self.key, variant.name), ()),
            )
            variants.append(then)
        return dataclasses.replace(self.seen, variants=tuple(variants))


@dataclass(frozen=True)
class Refill:
    """Puts memories where the first tick looks for them."""

    store: Store
    tick: FleetTick
    signals: Signals
    clock: Clock

    async def run(self) -> None:
        """Never raises; takes 15 s at most, or as long as one part of the answer."""
        begun = self.clock.monotonic()
        now = self.clock.now()
        lacking = list(self._lacking(now))
        if not lacking:
            return
        past = await self._past(lacking, begun=begun, end=math.floor(now))
        if not past:
            return
        fleets = [(at, fleet, _by_replica_set(fleet, at)) for at, fleet in past]
        done = 0
        for number, each in enumerate(lacking, start=1):
            if self.clock.monotonic() - begun > LONGEST_SECONDS:
                break
            try:
                done += self._replay(each, fleets, now=now)
            except Exception:
                _log.exception("%s/%s: the last minutes cannot be gone through again", *each.key)
            if number % BATCH == 0:
                await self.clock.sleep(0)
        _log.info("%d of %d scalers go on from the last %d ticks in Prometheus", done, len(lacking), len(fleets))

    def _lacking(self, now: float) -> Iterator[_Lacking]:
        for key in self.store.deployments():
            snapshot = self.store.snapshot(key)
            if snapshot is None or not scales(snapshot):
                continue
            uid = str(snapshot.deployment["metadata"]["uid"])
            memory = self.tick.remembered.get((key, uid), ScalerMemory.empty())
            if memory.seen_at is not None and now - memory.seen_at <= RECENT_SECONDS:
                continue
            case = study(snapshot, now=now)
            if case.limits is None or not any(pool.pods for pool in case.pools):
                continue
            seen = observation_of(
                case.pools,
                most={variant.name: variant.max_replicas for variant in case.limits.variants},
                recorded=recorded_replicas(snapshot),
                spec_replicas=spec_replicas(snapshot),
            )
            yield _Lacking(key, uid, memory, case.limits, case.pools, seen)

    async def _past(self, lacking: Sequence[_Lacking], *, begun: float, end: float) -> list[tuple[float, FleetSamples]]:
        objectives = {objective for each in lacking for objective in each.limits.objectives}
        promised = {(objective.metric, objective.threshold_seconds) for objective in objectives}
        found: list[tuple[float, FleetSamples]] = []
        for part in range(PARTS):
            last = end - part * PART_TICKS * STEP_SECONDS
            moments = [last - STEP_SECONDS * back for back in reversed(range(PART_TICKS))]
            past = await self.signals.past(moments=moments, promised=promised)
            if past.problem:
                _log.warning("the last minutes cannot be asked for: %s", past.problem)
                break
            found = [*past.moments, *found]
            # A part takes about as long as the one before; half of the time is for what follows.
            if (self.clock.monotonic() - begun) * (part + 2) / (part + 1) > LONGEST_SECONDS / 2:
                break
        return found

    def _replay(self, each: _Lacking, fleets: Sequence[tuple[float, FleetSamples, _Pods]], *, now: float) -> bool:
        """Whether there was anything to learn from."""
        memory, learned = each.memory, False
        for at, fleet, pods in fleets:
            if memory.seen_at is not None and at <= memory.seen_at:
                continue
            observation = each.observation(fleet, pods)
            # A scaler begins where its object does.
            if learned or any(variant.ready for variant in observation.variants):
                _, memory = decide(memory, observation, each.limits, at)
                learned = True
        if learned:
            # Not even what the half hour shows lowers anything before a cold start has passed.
            self.tick.remembered[each.key, each.uid] = dataclasses.replace(memory, last_down=now)
        return learned


def _by_replica_set(fleet: FleetSamples, at: float) -> _Pods:
    found: dict[tuple[str, str], list[PodSample]] = {}
    for (namespace, pod), sample in fleet.pods.items():
        if sample.answered and sample.sample_time is not None and at - sample.sample_time <= MAXIMUM_SAMPLE_AGE_SECONDS:
            found.setdefault((namespace, pod.rpartition("-")[0]), []).append(sample)
    return found


def _variant(key: Key, name: str) -> VariantKey:
    return key[0], key[1], name
