"""What one scaler would have learned: its last ticks decided again, on what Prometheus showed then.

The decisions are thrown away: what is left is the memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from inference_fleet.adapters.ports import FleetSamples, VariantKey
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.pools import Pool
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.signals import MAXIMUM_PODS
from inference_fleet.scaling.silence import MAXIMUM_SAMPLE_AGE_SECONDS
from inference_fleet.scaling.types import Limits, Observation, PodSample, VariantObservation

# Two looks nearer to each other than this are the same one.
SAME_LOOK_SECONDS: Final = 7.5

PodsOfSets = Mapping[tuple[str, str], Sequence[PodSample]]
"""Samples by namespace and the ReplicaSet that the pod's name begins with."""


@dataclass
class Replay:
    """memory: as far as it got; begun: whether there was anything to learn from. seen: the object as it is now. _met:
    pods that have answered so far, by variant.
    """

    key: Key
    memory: ScalerMemory
    limits: Limits
    pools: Sequence[Pool]
    seen: Observation
    begun: bool = False
    _met: dict[str, set[str]] = field(default_factory=dict)

    def step(self, fleet: FleetSamples, pods: PodsOfSets, *, at: float) -> None:
        """Go through one tick; none that the memory knows, nor any before the object's first engine."""
        if self.memory.seen_at is not None and at <= self.memory.seen_at:
            return
        observation = self._observation(fleet, pods)
        if self.begun or any(variant.ready for variant in observation.variants):
            _, self.memory = decide(self.memory, observation, self.limits, at)
            self.begun = True

    def _observation(self, fleet: FleetSamples, pods: PodsOfSets) -> Observation:
        return Observation(tuple(self._variant(variant, fleet, pods) for variant in self.seen.variants))

    def _variant(self, now: VariantObservation, fleet: FleetSamples, pods: PodsOfSets) -> VariantObservation:
        """Those of its pods that answered then served; no more is known of the others.

        When a pod began is not known either. One that has counted already when it is met in the midst has only been
        silent, as one has that is back: what it ever counted came in no quarter of a minute.
        """
        namespace, name = self.key
        sets = [pool.replica_set["metadata"]["name"] for pool in self.pools if pool.variant == now.name]
        answers = [sample for each in sets for sample in pods.get((namespace, each), ())]
        met = self._met.setdefault(now.name, set())
        old = {sample.pod for sample in answers if sample.generation_tokens} - met if self.begun else set()
        samples = tuple(sample for sample in answers if sample.pod not in old)
        met.update(sample.pod for sample in answers)
        variant: VariantKey = (namespace, name, now.name)
        return VariantObservation(
            name=now.name,
            desired=len(samples),
            ready=len(samples),
            ready_pods=tuple(sample.pod for sample in samples),
            pods=samples,
            unready_pods=tuple(met.difference(sample.pod for sample in samples)),
            unready_samples=tuple(sample for sample in answers if sample.pod in old),
            histograms=fleet.histograms.get(variant, ()),
            cold_start_seconds=now.cold_start_seconds,
        )


def with_last_look(
    replayed: ScalerMemory, observation: Observation, limits: Limits, *, lived: ScalerMemory, at: float
) -> ScalerMemory:
    """With the tick that was lived last, unless it is one of those gone through.

    lived: what the ticks since the start taught. A pod that they have met and the half hour has not is not new.
    """
    pods = dict(lived.pods) | dict(replayed.pods)
    replayed = dataclasses.replace(replayed, pods=tuple(sorted(pods.items())[:MAXIMUM_PODS]))
    if replayed.seen_at is not None and at - replayed.seen_at < SAME_LOOK_SECONDS:
        return replayed
    _, memory = decide(replayed, observation, limits, at)
    return memory


def by_replica_set(fleet: FleetSamples, *, at: float) -> PodsOfSets:
    """The samples that could be believed then."""
    found: dict[tuple[str, str], list[PodSample]] = {}
    for (namespace, pod), sample in fleet.pods.items():
        if sample.answered and sample.sample_time is not None and at - sample.sample_time <= MAXIMUM_SAMPLE_AGE_SECONDS:
            found.setdefault((namespace, pod.rpartition("-")[0]), []).append(sample)
    return found
