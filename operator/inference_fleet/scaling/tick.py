"""One tick of known signals: the load, what it takes of each variant, and what was promised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from inference_fleet.scaling.demand import LEAST_DEMAND, Need, Rates, Traffic, need_of, rates_of
from inference_fleet.scaling.forecast import EXTRA_LEAD_SECONDS, TICK_SECONDS
from inference_fleet.scaling.learned_variants import Variants, fastest_step, slowest_start, with_fits
from inference_fleet.scaling.memory import NOTHING_LEARNED, ScalerMemory
from inference_fleet.scaling.misses import Counted, HistogramTotals, Misses, broken_promises, counted
from inference_fleet.scaling.promise import Promise, promise_of
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.spread import Carrier, capacity
from inference_fleet.scaling.types import Limits, Observation, VariantObservation

# A pause of the signals counts as no more than this in the averages: what was known before it stays known.
LONGEST_TICK_SECONDS: Final = 60.0


class Tick(NamedTuple):
    """now: unix seconds; seconds: since the last tick that taught; age: since the scaler began. learns: whether this
    one teaches. variants, traffic: with what it taught. seen_rates: None at the very first sample. needs: of each
    variant, carriers: the variants in replicas of the first; ready: what those carry that serve. lead: seconds until a
    replica begun now is ready, in whole ticks; queue_seconds: until the fleet has served what waits.
    """

    now: float
    seconds: float
    age: float
    learns: bool
    load: FleetLoad
    variants: Variants
    traffic: Traffic
    promise: Promise
    counts: tuple[Counted, ...]
    histograms: HistogramTotals
    misses: Misses | None
    seen_rates: Rates | None
    needs: tuple[Need, ...]
    carriers: tuple[Carrier, ...]
    cold_start: float
    lead: float
    ready: float
    queue_seconds: float

    @property
    def reference(self) -> Need:
        """Of the first variant: the unit of all that is counted in replicas."""
        return self.needs[0]

    @property
    def queue_breaks_promise(self) -> bool:
        """Whether what waits now will be late."""
        return self.queue_seconds > self.promise.first_token_seconds


def tick_of(
    memory: ScalerMemory, observation: Observation, limits: Limits, load: FleetLoad, *, variants: Variants, now: float
) -> Tick:
    """variants: with their starts. Learning stops for a tick with a silent pod; its demand is believed all the same."""
    age = 0.0 if memory.started is None else now - memory.started
    # It waits for samples that are newer than the last, too.
    learns = load.answered >= load.ready and bool(load.changes)
    traffic = memory.traffic.learned(load)
    if learns:
        variants = with_fits(variants, load, now=now, age=age)
    known = dict(variants)
    steps = [known.get(v.name, NOTHING_LEARNED).fit.model(v.step_time) for v in limits.variants]
    promise = promise_of(limits.objectives, fastest_step(known, limits, steps), mean_prompt=traffic.mean_prompt)
    counts, histograms = counted(memory.histograms, observation, limits.objectives)
    kept = [c for c in counts if c.objective in promise.objectives] if promise.unreachable else counts
    # Without a newer sample the rates are still those of the last tick.
    seen_rates = rates_of(load, traffic) or memory.rates
    rates = seen_rates or Rates(0.0, 0.0, 0.0)
    needs = tuple(
        [
            need_of(variant, step, rates=rates, load=load, traffic=traffic, pace_seconds=promise.pace_seconds)
            for variant, step in zip(limits.variants, steps, strict=True)
        ]
    )
    needs = memory.overload.arriving(needs)
    carriers = carriers_of(observation, limits, needs)
    cold_start = slowest_start(known, limits)
    ready = max(capacity({variant.name: variant.ready for variant in observation.variants}, carriers), LEAST_DEMAND)
    return Tick(
        now=now,
        seconds=passed_since(memory.learned_at, now=now),
        age=age,
        learns=learns,
        load=load,
        variants=variants,
        traffic=traffic,
        promise=promise,
        counts=counts,
        histograms=histograms,
        misses=broken_promises(kept, rejected=load.lost),
        seen_rates=seen_rates,
        needs=needs,
        carriers=carriers,
        cold_start=cold_start,
        lead=math.ceil((cold_start + EXTRA_LEAD_SECONDS) / TICK_SECONDS) * TICK_SECONDS,
        ready=ready,
        queue_seconds=needs[0].queue_seconds / max(ready, 1.0),
    )


def passed_since(former: float | None, *, now: float) -> float:
    """Seconds between two ticks, for averages. A clock that was set back, and none before, is one tick."""
    return TICK_SECONDS if former is None or now < former else min(now - former, LONGEST_TICK_SECONDS)


def carriers_of(observation: Observation, limits: Limits, needs: Sequence[Need] = ()) -> tuple[Carrier, ...]:
    """The variants as carriers; all alike where nothing is known of what they need."""
    seen = {variant.name: variant for variant in observation.variants}
    found = []
    for place, variant in enumerate(limits.variants):
        shown = seen.get(variant.name) or VariantObservation(name=variant.name, desired=0, ready=0)
        need = needs[place] if needs else None
        worth = 1.0 if need is None else needs[0].request_seconds / need.request_seconds
        full, fixed = (1.0, 0.0) if need is None else (need.full, need.fixed)
        found.append(Carrier(variant, shown, worth, full, fixed))
    return tuple(found)
