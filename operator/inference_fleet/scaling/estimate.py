"""One tick of learning, and what follows from all that is known: demand, forecast, price, the replicas they ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.cold_start import cold_start_seconds, remembered
from inference_fleet.scaling.demand import DEFAULT_PACE_SECONDS, LEAST_DEMAND, Need, Rates, need_of, rates_of
from inference_fleet.scaling.forecast import EXTRA_LEAD_SECONDS, TICK_SECONDS, Outlook
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.misses import FIRST_TOKEN, PACE, Misses, read_misses
from inference_fleet.scaling.overload import BACKLOG_SHARE
from inference_fleet.scaling.pod_counters import PodChange
from inference_fleet.scaling.price import USUAL_TARGET, Choice, cheapest, price_in_replicas, pure_price
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.step_time_fit import FEWEST_STEPS, FEWEST_TOKENS, StepSample
from inference_fleet.scaling.types import Limits, ObjectiveLimit, Observation, SignalState

# First tokens of a deployment that promises none.
DEFAULT_FIRST_TOKEN_SECONDS: Final = 2.5
# A pause of the signals counts as no more than this in the averages: what was known before it stays known.
LONGEST_TICK_SECONDS: Final = 60.0
# The worth of a variant follows its need over this time.
WORTH_SECONDS: Final = 600.0
MOST_REPLICAS: Final = 4096


@dataclass(frozen=True)
class Promise:
    """The objectives as the scaler uses them, in seconds and as a share of 1; defaults where nothing is promised."""

    first_token_seconds: float
    pace_seconds: float
    target: float


@dataclass(frozen=True)
class Estimate:
    """demand, backlog: replicas of the first variant now. choice: what is cheapest. worth: per variant, in such
    replicas. price: replicas for all of the moment's requests. spent: share of the error budget. floor: share of
    requests that no number of replicas saves.
    """

    demand: float
    backlog: float
    queue_breaks_promise: bool
    outlook: Outlook
    choice: Choice
    worth: tuple[float, ...]
    cold_start: float
    price: float
    spent: float
    floor: float
    steps: tuple[StepTimeModel, ...]


def promise_of(objectives: Sequence[ObjectiveLimit]) -> Promise:
    """The tightest threshold per metric and the strictest target."""

    def tightest(metric: str, default: float) -> float:
        return min((o.threshold_seconds for o in objectives if o.metric == metric), default=default)

    return Promise(
        first_token_seconds=tightest(FIRST_TOKEN, DEFAULT_FIRST_TOKEN_SECONDS),
        pace_seconds=tightest(PACE, DEFAULT_PACE_SECONDS),
        target=max((o.target for o in objectives), default=USUAL_TARGET),
    )


def estimated(
    memory: ScalerMemory, observation: Observation, limits: Limits, load: FleetLoad, *, now: float
) -> tuple[Estimate | None, ScalerMemory]:
    """What the load asks for, None while it is unknown; and the memory with this tick learned.

    Learning stops for a tick with a silent pod; its demand is believed all the same.
    """
    promise = promise_of(limits.objectives)
    memory = _with_starts(memory, observation)
    started = memory.started if memory.started is not None else now
    misses, totals = read_misses(memory.histograms, observation, limits.objectives, rejected=load.rejected)
    if load.state is SignalState.UNKNOWN or not limits.variants:
        return None, replace(memory, started=started)
    if observation.problem is None:
        memory = replace(memory, histograms=totals)
    whole = load.answered >= load.ready
    seconds = min(now - memory.learned_at, LONGEST_TICK_SECONDS) if memory.learned_at is not None else TICK_SECONDS
    memory = replace(memory, started=started, traffic=memory.traffic.learned(load), pods=load.pods, seen_at=now)
    if whole:
        memory = _with_fits(memory, limits, load, promise, now=now)
    steps = tuple(memory.variant(variant.name).fit.model(variant.step_time) for variant in limits.variants)
    # Without a newer sample the rates are still those of the last tick.
    known = rates_of(load, memory.traffic) or memory.rates
    rates = known or Rates(0.0, 0.0, 0.0)
    needs = [
        need_of(v, step, rates=rates, load=load, traffic=memory.traffic, pace_seconds=promise.pace_seconds)
        for v, step in zip(limits.variants, steps, strict=True)
    ]
    memory = _with_worths(replace(memory, rates=known), limits, needs, seconds=seconds)
    worth = _worths(memory, limits)
    cold_start = _cold_start(memory, limits)
    lead = _lead_seconds(cold_start)
    reference = needs[0]
    ready = _ready(observation, limits, worth)
    queue_seconds = reference.queue_seconds / max(ready, worth[0])
    backlog = queue_seconds > BACKLOG_SHARE * promise.first_token_seconds
    # Twice in a row, since one tick's tokens are a noisy measure.
    before = reference.demand if memory.forecast.last_demand is None else memory.forecast.last_demand
    saturated = min(reference.demand, before)
    if whole and load.changes:
        relative = max(reference.compute + reference.backlog, reference.space) / max(ready, 1e-9) if ready else 0.0
        memory = replace(
            memory,
            forecast=memory.forecast.learned(reference.demand, seconds=seconds, lead_seconds=lead, now=now),
            overload=memory.overload.learned(relative, backlog=backlog),
            means=memory.means.learned(
                replicas=ready, arrivals=rates.arrivals, demand=reference.demand, seconds=seconds
            ),
            learned_at=now,
        )
        memory = _with_misses(memory, misses, unit=reference.unit, seconds=seconds)
    elif known is not None:
        memory = replace(memory, forecast=memory.forecast.followed(reference.demand, seconds=seconds))
    spent = memory.budget.spent(target=promise.target, age=now - started)
    curve = memory.curve.curve()
    # The very first sample has no rates yet: what runs and waits is acted on, and not learned from.
    forecast = memory.forecast if memory.forecast.ticks else memory.forecast.followed(reference.demand, seconds=seconds)
    outlook = forecast.outlook()
    price = price_in_replicas(pure_price(spent, target=promise.target), memory.means, outlook)
    choice = cheapest(outlook, curve, price=price, most=MOST_REPLICAS)
    breaks = queue_seconds > promise.first_token_seconds
    if breaks:
        choice = replace(choice, replicas=max(choice.replicas, math.ceil(reference.demand + reference.backlog)))
    elif saturated > ready:
        choice = replace(choice, replicas=max(choice.replicas, math.ceil(saturated)))
    return (
        Estimate(
            demand=reference.demand,
            backlog=reference.backlog,
            queue_breaks_promise=breaks,
            outlook=outlook,
            choice=choice,
            worth=worth,
            cold_start=cold_start,
            price=price,
            spent=spent,
            floor=curve.floor,
            steps=steps,
        ),
        memory,
    )


def _with_starts(memory: ScalerMemory, observation: Observation) -> ScalerMemory:
    learned = []
    for seen in observation.variants:
        known = memory.variant(seen.name)
        starts = remembered(known.cold_start_seconds, seen.cold_start_seconds)
        learned.append((seen.name, replace(known, cold_start_seconds=starts)))
    return replace(memory, variants=tuple(learned))


def _cold_start(memory: ScalerMemory, limits: Limits) -> float:
    """The slowest variant's."""
    return max(
        cold_start_seconds(memory.variant(variant.name).cold_start_seconds, told=variant.cold_start_seconds)
        for variant in limits.variants
    )


def _lead_seconds(cold_start: float) -> float:
    """How far ahead is forecast: the start, and the age of samples, decision and start on top; in whole ticks."""
    return math.ceil((cold_start + EXTRA_LEAD_SECONDS) / TICK_SECONDS) * TICK_SECONDS


def _with_fits(memory: ScalerMemory, limits: Limits, load: FleetLoad, promise: Promise, *, now: float) -> ScalerMemory:
    age = now - (memory.started if memory.started is not None else now)
    learned = []
    for name, known in memory.variants:
        if known.fit.due(now=now, age=age):
            samples = [s for change in load.changes if change.variant == name for s in _step_samples(change)]
            if samples:
                fit = known.fit.learned(samples, pace_seconds=promise.pace_seconds, now=now)
                known = replace(known, fit=fit)
        learned.append((name, known))
    return replace(memory, variants=tuple(learned))


def _step_samples(change: PodChange) -> tuple[StepSample, ...]:
    if change.steps <= FEWEST_STEPS or change.inter_tokens <= FEWEST_TOKENS:
        return ()
    return (
        StepSample(
            seconds=change.inter_token_seconds / change.inter_tokens,
            prefill_tokens=change.prompt / change.steps,
            sequences=change.inter_tokens / change.steps,
            steps=change.steps,
        ),
    )


def _with_worths(memory: ScalerMemory, limits: Limits, needs: Sequence[Need], *, seconds: float) -> ScalerMemory:
    if len(needs) == 1:
        return memory
    kept = math.exp(-seconds / WORTH_SECONDS)
    seen = {variant.name: need for variant, need in zip(limits.variants, needs, strict=True)}
    learned = []
    for name, known in memory.variants:
        if (need := seen.get(name)) is not None and need.demand > LEAST_DEMAND:
            known = replace(known, need=kept * known.need + (1 - kept) * need.demand)
        learned.append((name, known))
    return replace(memory, variants=tuple(learned))


def _worths(memory: ScalerMemory, limits: Limits) -> tuple[float, ...]:
    """What one replica of each variant carries, in replicas of the first: need of the first by need of it."""
    first = memory.variant(limits.variants[0].name).need
    found = []
    for variant in limits.variants:
        need = memory.variant(variant.name).need
        found.append(first / need if first > 0 and need > 0 else 1.0)
    return tuple(found)


def _ready(observation: Observation, limits: Limits, worth: Sequence[float]) -> float:
    seen = {variant.name: variant.ready for variant in observation.variants}
    return sum(seen.get(v.name, 0) * value for v, value in zip(limits.variants, worth, strict=True))


def _with_misses(memory: ScalerMemory, misses: Misses | None, *, unit: float, seconds: float) -> ScalerMemory:
    """Curve and budget; both stay as they are while histograms are missing."""
    if misses is None:
        return memory
    return replace(
        memory,
        curve=memory.curve.learned(
            load=memory.overload.booked,
            requests=misses.requests,
            misses=misses.misses,
            seconds=seconds,
            unit=unit,
        ),
        budget=memory.budget.learned(misses=misses.misses, requests=misses.requests, seconds=seconds),
    )
