"""One tick of learning, and what follows from all that is known: demand, forecast, price, the replicas they ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.attainment import with_tick
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.cold_start import cold_start_seconds, remembered
from inference_fleet.scaling.demand import LEAST_DEMAND, Need, Rates, clogged, need_of, rates_of
from inference_fleet.scaling.fleets import cheapest_fleet
from inference_fleet.scaling.forecast import EXTRA_LEAD_SECONDS, TICK_SECONDS, Outlook
from inference_fleet.scaling.memory import NOTHING_LEARNED, ScalerMemory, VariantMemory
from inference_fleet.scaling.misses import broken_promises, counted
from inference_fleet.scaling.overload import BACKLOG_SHARE
from inference_fleet.scaling.preference import Preference
from inference_fleet.scaling.price import (
    Choice,
    cheapest,
    expected_misses,
    price_in_replicas,
    pure_price,
)
from inference_fleet.scaling.promise import Promise, promise_of, unavoidable_share
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.spread import Carrier, capacity, money
from inference_fleet.scaling.step_time_fit import step_sample
from inference_fleet.scaling.types import Limits, Observation, SignalState, VariantObservation
from inference_fleet.scaling.violation_curve import Curve, ViolationCurve

# A pause of the signals counts as no more than this in the averages: what was known before it stays known.
LONGEST_TICK_SECONDS: Final = 60.0
MOST_REPLICAS: Final = 4096


class Estimate(NamedTuple):
    """demand, backlog: replicas of the first variant now. choice: what is cheapest. carriers: the variants, with what
    they carry, in such replicas; main: the variant that carries most; unit: what one of its replicas carries. price:
    replicas for all of the moment's requests. spent: share of the error budget. floor: share of requests that no number
    of replicas saves. standby: replicas kept for loads that no forecast sees coming; season: for those that came at
    this time on the last days. unreachable: words on promises that no number of replicas can keep.
    """

    demand: float
    backlog: float
    queue_breaks_promise: bool
    outlook: Outlook
    choice: Choice
    carriers: tuple[Carrier, ...]
    main: str
    unit: float
    cold_start: float
    price: float
    spent: float
    floor: float
    standby: float
    season: float
    unreachable: str


def estimated(
    memory: ScalerMemory, observation: Observation, limits: Limits, load: FleetLoad, *, now: float
) -> tuple[Estimate | None, ScalerMemory]:
    """What the load asks for, None while it is unknown; and the memory with this tick learned.

    Learning stops for a tick with a silent pod; its demand is believed all the same.
    """
    started = now if memory.started is None else memory.started
    variants = _with_starts(memory, observation)
    if load.state is SignalState.UNKNOWN or not limits.variants:
        return None, changed(memory, started=started, variants=variants)
    # Learning stops for a tick with a silent pod, and waits for samples that are newer than the last.
    learns = load.answered >= load.ready and bool(load.changes)
    seconds = TICK_SECONDS if memory.learned_at is None else min(now - memory.learned_at, LONGEST_TICK_SECONDS)
    traffic = memory.traffic.learned(load)
    if learns:
        variants = _with_fits(variants, load, now=now, age=now - started)
    known = dict(variants)
    steps = [known.get(v.name, NOTHING_LEARNED).fit.model(v.step_time) for v in limits.variants]
    promise = promise_of(limits.objectives, _fastest(known, limits, steps), mean_prompt=traffic.mean_prompt)
    counts, totals = counted(memory.histograms, observation, limits.objectives)
    kept = [c for c in counts if c.objective in promise.objectives] if promise.unreachable else counts
    misses = broken_promises(kept, rejected=load.lost)
    # Without a newer sample the rates are still those of the last tick.
    seen_rates = rates_of(load, traffic) or memory.rates
    rates = seen_rates or Rates(0.0, 0.0, 0.0)
    needs = [
        need_of(variant, step, rates=rates, load=load, traffic=traffic, pace_seconds=promise.pace_seconds)
        for variant, step in zip(limits.variants, steps, strict=True)
    ]
    reference = needs[0]
    demand = reference.demand
    carriers = carriers_of(observation, limits, needs)
    cold_start = _cold_start(known, limits)
    ready = max(capacity({variant.name: variant.ready for variant in observation.variants}, carriers), LEAST_DEMAND)
    queue_seconds = reference.queue_seconds / max(ready, 1.0)
    # Twice in a row, since one tick's tokens are a noisy measure.
    before = demand if memory.forecast.last_demand is None else memory.forecast.last_demand
    saturated = min(demand, before)
    forecast, overload, rise, felt = memory.forecast, memory.overload, memory.rise, memory.felt
    violations, budget, worst = memory.curve, memory.budget, memory.worst_window
    lead = math.ceil((cold_start + EXTRA_LEAD_SECONDS) / TICK_SECONDS) * TICK_SECONDS
    if seen_rates is not None:
        rise = rise.learned(demand, arrivals=rates.arrivals, seconds=seconds)
    if learns:
        felt = felt.learned(
            demand=demand, compute=reference.compute, service_seconds=traffic.service_seconds, seconds=seconds
        )
        forecast = forecast.learned(demand, felt=felt.demand, seconds=seconds, lead_seconds=lead, now=now)
        backlog = queue_seconds > BACKLOG_SHARE * promise.first_token_seconds
        # What is held is seen as it is: requests that run are those of the last minutes already.
        relative = max(felt.compute + reference.backlog, reference.space) / ready
        overload = overload.learned(relative, backlog=backlog)
        # Curve and budget stay as they are while histograms are missing.
        if misses is not None:
            violations = violations.learned(
                load=overload.booked,
                requests=misses.requests,
                misses=misses.misses,
                seconds=seconds,
                unit=reference.unit,
            )
            # Where quiet loads alone break the target the budget is of the misses beyond them.
            unavoidable = unavoidable_share(violations, target=promise.target) * misses.requests
            late = max(0.0, misses.misses - unavoidable)
            budget = budget.learned(misses=late, requests=misses.requests, seconds=seconds)
            worst = worst.learned(
                misses=late,
                requests=misses.requests,
                seconds=seconds,
                window_seconds=promise.window_seconds,
                target=promise.target,
            )
    elif seen_rates is not None:
        forecast = forecast.followed(demand, seconds=seconds)
    # The very first sample has no rates yet: what runs and waits is acted on, and not learned from.
    known_forecast = forecast if forecast.ticks else forecast.followed(demand, seconds=seconds)
    outlook = known_forecast.outlook(rise=rise.ahead(lead))
    spent = max(budget.spent(target=promise.target, age=now - started), worst.spent)
    curve = violations.curve()
    pure = pure_price(spent, target=promise.target)
    price = price_in_replicas(pure, demand=outlook.demand)
    preference, choice = _choice(memory, outlook, curve, carriers, limits, price=price, cold_start=cold_start, now=now)
    unit = next(carrier.worth for carrier in carriers if carrier.name == preference.main)
    breaks = queue_seconds > promise.first_token_seconds
    if breaks:
        sustained = max(saturated, forecast.fastest)
        # Engines do not hand over what waits in them: more replicas take what comes, none of them the queue. Those
        # that are busy with a queue are missing meanwhile; at most as many again as the load takes are put beside them.
        extra = min(_busy(load, observation, carriers, needs, promise), max(unit, sustained))
        choice = replace(choice, replicas=max(choice.replicas, sustained + extra))
    elif saturated > ready:
        choice = replace(choice, replicas=max(choice.replicas, saturated))
    standby, season, asked = memory.standby, memory.season, memory.needs
    former = next((carrier.worth for carrier in carriers if carrier.name == memory.preference.main), unit)
    if former != unit:
        standby, season = standby.in_units(unit / former), season.in_units(unit / former)
        asked = tuple((time, count * former / unit) for time, count in asked)
    if learns:
        lately = felt.demand
        standby = standby.learned(
            lately / unit,
            curve=curve,
            price=price_in_replicas(pure, demand=lately) / unit,
            foreseen=max(_need_at(asked, now - lead), season.at(now - lead)),
            wanted=choice.replicas / unit,
            cold_start=cold_start,
            seconds=seconds,
            now=now,
        )
    stands_by = standby.replicas(cold_start=cold_start, now=now)
    if learns:
        season = season.learned(
            felt.demand / unit,
            curve=curve,
            price=price_in_replicas(pure, demand=felt.demand) / unit,
            usual=max(choice.replicas / unit, stands_by),
            age=now - started,
            lead=lead,
            seconds=seconds,
            now=now,
        )
    estimate = Estimate(
        demand=demand,
        backlog=reference.backlog,
        queue_breaks_promise=breaks,
        outlook=outlook,
        choice=choice,
        carriers=carriers,
        main=preference.main or carriers[0].name,
        unit=unit,
        cold_start=cold_start,
        price=price,
        spent=spent,
        floor=curve.floor,
        standby=unit * stands_by,
        season=unit * season.replicas,
        unreachable=_unreachable(promise, violations),
    )
    return estimate, changed(
        memory,
        started=started,
        seen_at=now,
        learned_at=now if learns else memory.learned_at,
        pods=load.pods,
        histograms=totals,
        attained=with_tick(memory.attained, counts, rejected=load.lost, now=now),
        variants=variants,
        rates=seen_rates,
        traffic=traffic,
        forecast=forecast,
        curve=violations,
        overload=overload,
        rise=rise,
        budget=budget,
        worst_window=worst,
        standby=standby,
        season=season,
        felt=felt,
        preference=preference,
        needs=asked,
    )


def _unreachable(promise: Promise, curve: ViolationCurve) -> str:
    if promise.unreachable:
        return promise.unreachable
    share = unavoidable_share(curve, target=promise.target)
    if share == 0:
        return ""
    return f"{100 * share:.1g} % of the requests miss on half-idle replicas, {100 * (1 - promise.target):.2g} % may"


def _need_at(needs: tuple[tuple[float, float], ...], moment: float) -> float:
    """What was asked for then; 0 before the first."""
    return next((count for time, count in reversed(needs) if time <= moment + TICK_SECONDS / 2), 0.0)


def _fastest(
    known: Mapping[str, VariantMemory], limits: Limits, steps: Sequence[StepTimeModel]
) -> StepTimeModel | None:
    """Of these step times of the variants the learned one with the shortest empty step; None while none is learned."""
    learned = [
        step
        for variant, step in zip(limits.variants, steps, strict=True)
        if variant.name in known and known[variant.name].fit.known
    ]
    return min(learned, key=lambda step: step.base_seconds, default=None)


_Variants = tuple[tuple[str, VariantMemory], ...]


def _with_starts(memory: ScalerMemory, observation: Observation) -> _Variants:
    known = dict(memory.variants)
    for seen in observation.variants:
        former = known.get(seen.name, NOTHING_LEARNED)
        starts = remembered(former.cold_start_seconds, seen.cold_start_seconds)
        if starts != former.cold_start_seconds or seen.name not in known:
            known[seen.name] = replace(former, cold_start_seconds=starts)
    names = {seen.name for seen in observation.variants}
    return tuple((name, learned) for name, learned in known.items() if name in names)


def _cold_start(known: Mapping[str, VariantMemory], limits: Limits) -> float:
    """The slowest variant's."""
    return max(
        cold_start_seconds(known.get(v.name, NOTHING_LEARNED).cold_start_seconds, told=v.cold_start_seconds)
        for v in limits.variants
    )


def _with_fits(variants: _Variants, load: FleetLoad, *, now: float, age: float) -> _Variants:
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


def carriers_of(observation: Observation, limits: Limits, needs: Sequence[Need] = ()) -> tuple[Carrier, ...]:
    """The variants as carriers; all alike where nothing is known of what they need."""
    seen = {variant.name: variant for variant in observation.variants}
    found = []
    for place, variant in enumerate(limits.variants):
        shown = seen.get(variant.name) or VariantObservation(name=variant.name, desired=0, ready=0)
        need = needs[place] if needs else None
        worth = 1.0 if need is None else needs[0].request_seconds / need.request_seconds
        full, fixed = (1.0, 0.0) if need is None else (need.full, need.fixed)
        found.append(Carrier(limits=variant, seen=shown, worth=worth, full=full, fixed=fixed))
    return tuple(found)


def _choice(
    memory: ScalerMemory,
    outlook: Outlook,
    curve: Curve,
    carriers: tuple[Carrier, ...],
    limits: Limits,
    *,
    price: float,
    cold_start: float,
    now: float,
) -> tuple[Preference, Choice]:
    """The variant that carries most, and the capacity that is cheapest with it.

    The price is money: as many replicas of the cheapest variant. To a dear variant the same money is fewer replicas.
    """
    if len(carriers) == 1:
        (only,) = carriers
        return Preference(only.name), cheapest(outlook, curve, price=price, most=MOST_REPLICAS)
    least = min(carrier.cost_of_worth for carrier in carriers)
    former = next((carrier.worth for carrier in carriers if carrier.name == memory.preference.main), 0.0)
    stands_by = former * memory.standby.replicas(cold_start=cold_start, now=now)
    choices, costs = {}, {}
    for carrier in carriers:
        share = least / carrier.cost_of_worth if carrier.cost_of_worth else 1.0
        choice = cheapest(outlook, curve, price=price * share, most=MOST_REPLICAS, unit=carrier.worth)
        # To the nearest: learned for this variant they would be as often one more as one fewer.
        standing = carrier.worth * round(stands_by / carrier.worth)
        fleet = cheapest_fleet(max(choice.replicas, standing), carriers, main=carrier.name)
        total = sum(fleet.values())
        carried = capacity(fleet, carriers) * min(1.0, limits.max_replicas / max(total, 1))
        misses = expected_misses(outlook, curve, capacity=max(carried, LEAST_DEMAND))
        choices[carrier.name] = choice
        costs[carrier.name] = money(fleet, carriers) + price * least * misses
    age = 0.0 if memory.started is None else now - memory.started
    seconds = TICK_SECONDS if memory.seen_at is None else min(now - memory.seen_at, LONGEST_TICK_SECONDS)
    preference = memory.preference.learned(costs, seconds=seconds, age=age)
    usual = choices[preference.main if preference.main in choices else carriers[0].name].replicas
    preference = preference.chosen(max(usual, stands_by), carriers, cold_start=cold_start, most=limits.max_replicas)
    return preference, choices[preference.main or carriers[0].name]


def _busy(
    load: FleetLoad, observation: Observation, carriers: Sequence[Carrier], needs: Sequence[Need], promise: Promise
) -> float:
    """What the pods with a queue of their own carry, in replicas of the first variant."""
    seen = {variant.name: frozenset(variant.ready_pods) for variant in observation.variants}
    return sum(
        carrier.worth
        * clogged(
            load,
            pods=seen.get(carrier.name, frozenset()),
            request_seconds=need.request_seconds,
            patience_seconds=promise.first_token_seconds,
        )
        for carrier, need in zip(carriers, needs, strict=True)
    )
