"""What follows from a tick and from all that is known: demand, forecast, price, the replicas they ask for."""

from __future__ import annotations

from typing import Final, NamedTuple

from inference_fleet.scaling.attainment import with_tick
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.demand import LEAST_DEMAND, clogged
from inference_fleet.scaling.fleets import cheapest_fleet
from inference_fleet.scaling.forecast import TICK_SECONDS, Outlook
from inference_fleet.scaling.learned_variants import with_starts
from inference_fleet.scaling.lessons import Lessons, taught
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.preference import Preference
from inference_fleet.scaling.price import (
    Choice,
    expected_misses,
    price_in_replicas,
    pure_price,
    worth_starting,
)
from inference_fleet.scaling.promise import Promise, unavoidable_share
from inference_fleet.scaling.season import Season
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.spread import Carrier, capacity, money
from inference_fleet.scaling.standby import Standby
from inference_fleet.scaling.tick import Tick, passed_since, tick_of
from inference_fleet.scaling.types import Limits, Observation, SignalState
from inference_fleet.scaling.violation_curve import Curve, ViolationCurve

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
    cheapest: str
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
    """What the load asks for, None while it is unknown; and the memory with this tick learned."""
    started = now if memory.started is None else memory.started
    variants = with_starts(memory.variants, observation)
    if load.state is SignalState.UNKNOWN or not limits.variants:
        return None, changed(memory, started=started, variants=variants)
    tick = tick_of(memory, observation, limits, load, variants=variants, now=now)
    lessons = taught(memory, tick)
    # The very first sample has no rates yet: what runs and waits is acted on, and not learned from.
    demand, forecast = tick.reference.demand, lessons.forecast
    known_forecast = forecast if forecast.ticks else forecast.followed(demand, seconds=tick.seconds)
    outlook = known_forecast.outlook(rise=lessons.rise.ahead(tick.lead))
    target = tick.promise.target
    spent = max(lessons.budget.spent(target=target, age=tick.age), lessons.worst_window.spent)
    pure = pure_price(spent, target=target)
    price = price_in_replicas(pure, demand=outlook.demand)
    curve = lessons.curve.curve()
    present = capacity({variant.name: variant.desired for variant in observation.variants}, tick.carriers)
    preference, choice, cheapest = _choice(memory, tick, outlook, curve, limits, price=price, present=present)
    main = preference.main or tick.carriers[0].name
    worths = {carrier.name: carrier.worth for carrier in tick.carriers}
    unit = worths[main]
    choice = _beside_what_is_late(choice, memory, tick, lessons, observation, unit=unit)
    former = worths.get(memory.preference.main or main, unit)
    reserve = _reserve(memory, tick, lessons, curve, choice, pure=pure, unit=unit, former=former)
    estimate = Estimate(
        demand=demand,
        backlog=tick.reference.backlog,
        queue_breaks_promise=tick.queue_breaks_promise,
        outlook=outlook,
        choice=choice,
        carriers=tick.carriers,
        main=main,
        cheapest=cheapest,
        unit=unit,
        cold_start=tick.cold_start,
        price=price,
        spent=spent,
        floor=curve.floor,
        standby=unit * reserve.stands_by,
        season=unit * reserve.season.replicas,
        unreachable=_unreachable(tick.promise, lessons.curve),
    )
    return estimate, changed(
        memory,
        started=started,
        seen_at=now,
        learned_at=now if tick.learns else memory.learned_at,
        pods=load.pods,
        histograms=tick.histograms,
        attained=with_tick(memory.attained, tick.counts, rejected=load.lost, now=now),
        variants=tick.variants,
        rates=tick.seen_rates,
        traffic=tick.traffic,
        standby=reserve.standby,
        season=reserve.season,
        preference=preference,
        needs=reserve.needs,
        felt=lessons.felt,
        forecast=lessons.forecast,
        rise=lessons.rise,
        overload=lessons.overload,
        curve=lessons.curve,
        budget=lessons.budget,
        worst_window=lessons.worst_window,
    )


def _beside_what_is_late(
    choice: Choice, memory: ScalerMemory, tick: Tick, lessons: Lessons, observation: Observation, *, unit: float
) -> Choice:
    """At least what the load takes now, where it is late or more than those that serve carry."""
    demand = tick.reference.demand
    # Twice in a row, since one tick's tokens are a noisy measure.
    before = demand if memory.forecast.last_demand is None else memory.forecast.last_demand
    saturated = min(demand, before)
    if tick.queue_breaks_promise:
        sustained = max(saturated, lessons.forecast.fastest)
        # Engines do not hand over what waits in them: more replicas take what comes, none of them the queue. Those
        # that are busy with a queue are missing meanwhile; at most as many again as the load takes are put beside them.
        extra = min(_busy(tick, observation), max(unit, sustained))
        return choice._replace(replicas=max(choice.replicas, sustained + extra))
    if saturated > tick.ready:
        return choice._replace(replicas=max(choice.replicas, saturated))
    return choice


class _Reserve(NamedTuple):
    """What is kept beyond the forecast, in replicas of the main variant; needs: what was asked for before, in them."""

    standby: Standby
    season: Season
    needs: tuple[tuple[float, float], ...]
    stands_by: int


def _reserve(
    memory: ScalerMemory,
    tick: Tick,
    lessons: Lessons,
    curve: Curve,
    choice: Choice,
    *,
    pure: float,
    unit: float,
    former: float,
) -> _Reserve:
    """With this tick learned. unit: what a replica of the main variant carries; former: one of the last tick's main."""
    now, cold_start, seconds = tick.now, tick.cold_start, tick.seconds
    standby, season, needs = memory.standby, memory.season, memory.needs
    if former != unit:
        standby, season = standby.in_units(unit / former), season.in_units(unit / former)
        needs = tuple((time, count * former / unit) for time, count in needs)
    felt = lessons.felt.demand
    price = price_in_replicas(pure, demand=felt) / unit
    if tick.learns:
        standby = standby.learned(
            felt / unit,
            curve=curve,
            price=price,
            foreseen=max(need_at(needs, now - tick.lead), season.at(now - tick.lead)),
            wanted=choice.replicas / unit,
            queued=tick.queue_breaks_promise,
            cold_start=cold_start,
            seconds=seconds,
            now=now,
        )
    stands_by = standby.replicas(cold_start=cold_start, now=now)
    if tick.learns:
        season = season.learned(
            felt / unit,
            curve=curve,
            price=price,
            usual=max(choice.replicas / unit, stands_by),
            age=tick.age,
            lead=tick.lead,
            seconds=seconds,
            now=now,
        )
    return _Reserve(standby, season, needs, stands_by)


def _unreachable(promise: Promise, curve: ViolationCurve) -> str:
    if promise.unreachable:
        return promise.unreachable
    share = unavoidable_share(curve, target=promise.target)
    if share == 0:
        return ""
    return f"{100 * share:.3g} % of the requests miss on half-idle replicas, {100 * (1 - promise.target):.3g} % may"


def need_at(needs: tuple[tuple[float, float], ...], moment: float) -> float:
    """What was asked for then; 0 before the first."""
    for time, count in reversed(needs):
        if time <= moment + TICK_SECONDS / 2:
            return count
    return 0.0


def _choice(
    memory: ScalerMemory,
    tick: Tick,
    outlook: Outlook,
    curve: Curve,
    limits: Limits,
    *,
    price: float,
    present: float,
) -> tuple[Preference, Choice, str]:
    """The variant that carries most, the capacity that is cheapest with it, and the variant that alone would cost least
    now (which takes an hour to become the first). present: what is asked for so far.

    The price is money: as many replicas of the cheapest variant. To a dear variant the same money is fewer replicas.
    """
    carriers, cold_start, now = tick.carriers, tick.cold_start, tick.now
    if len(carriers) == 1:
        (only,) = carriers
        choice = worth_starting(outlook, curve, price=price, most=MOST_REPLICAS, present=present)
        return Preference(only.name), choice, only.name
    least = min(carrier.cost_of_worth for carrier in carriers)
    former = next((carrier.worth for carrier in carriers if carrier.name == memory.preference.main), 0.0)
    stands_by = former * memory.standby.replicas(cold_start=cold_start, now=now)
    choices, costs = {}, {}
    for carrier in carriers:
        share = least / carrier.cost_of_worth if carrier.cost_of_worth else 1.0
        choice = worth_starting(
            outlook, curve, price=price * share, most=MOST_REPLICAS, present=present, unit=carrier.worth
        )
        # To the nearest: learned for this variant they would be as often one more as one fewer.
        standing = carrier.worth * round(stands_by / carrier.worth)
        fleet = cheapest_fleet(max(choice.replicas, standing), carriers, main=carrier.name)
        if sum(fleet.values()) > limits.max_replicas:
            # Where replicas are counted, none of another variant takes the place of one of this.
            fleet = {carrier.name: min(limits.max_replicas, carrier.usable)}
        misses = expected_misses(outlook, curve, capacity=max(capacity(fleet, carriers), LEAST_DEMAND))
        choices[carrier.name] = choice
        costs[carrier.name] = money(fleet, carriers) + price * least * misses
    seconds = passed_since(memory.seen_at, now=now)
    preference = memory.preference.learned(costs, seconds=seconds, age=tick.age)
    usual = choices[preference.main if preference.main in choices else carriers[0].name].replicas
    preference = preference.chosen(max(usual, stands_by), carriers, cold_start=cold_start, most=limits.max_replicas)
    return preference, choices[preference.main or carriers[0].name], min(costs, key=lambda name: costs[name])


def _busy(tick: Tick, observation: Observation) -> float:
    """What the pods with a queue of their own carry, in replicas of the first variant."""
    seen = {variant.name: frozenset(variant.ready_pods) for variant in observation.variants}
    return sum(
        carrier.worth
        * clogged(
            tick.load,
            pods=seen.get(carrier.name, frozenset()),
            request_seconds=need.request_seconds,
            patience_seconds=tick.promise.first_token_seconds,
        )
        for carrier, need in zip(tick.carriers, tick.needs, strict=True)
    )
