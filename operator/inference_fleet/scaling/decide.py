"""How many replicas: the scaler. Pure; everything it knows is an argument, everything it learns is returned.

`estimate` says what the load asks for; here stand the rules that act on it, strongest first. Up at once; down only to
the largest need of the hold window, and then in steps. Unknown never lowers; bounds come last.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from inference_fleet.scaling.attainment import attainments
from inference_fleet.scaling.bounds import Bounded, within_bounds
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.estimate import Estimate, estimated
from inference_fleet.scaling.hold import HOLD_COLD_STARTS, MAXIMUM_NEEDS, held, largest_step_down, young_until
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.signals import FleetLoad, read_signals
from inference_fleet.scaling.spread import (
    ROUNDING,
    Carrier,
    cheaper_fleet,
    replicas_for_load,
    split_total,
    worths_by_cost,
)
from inference_fleet.scaling.types import (
    Decision,
    Limits,
    Mode,
    Observation,
    Rule,
    SignalState,
    Term,
    VariantObservation,
)

# Idleness is believed after this long without a token: shorter than the hold, longer than a gap in a chat.
IDLE_AFTER_SECONDS: Final = 60.0


class _Situation(NamedTuple):
    """Counts of replicas the rules look at.

    wanted: what the load takes, in replicas of the first variant; need: in the cheapest replicas that carry it.
    current: what the ReplicaSets ask for; removable: worths of those, the dearest first, that may go. raised: those
    that serve or will, and what the load takes beyond; lacks: some variant needs more than its ReplicaSets ask for.
    idle: seconds of proved idleness.
    """

    wanted: float
    need: int
    current: int
    removable: tuple[float, ...]
    raised: int
    lacks: bool
    idle: float


class _Wish(NamedTuple):
    """What one rule wants, before bounds."""

    replicas: int
    rule: Rule
    message: str
    scale_down_allowed_after: float | None = None


def decide(memory: ScalerMemory, observation: Observation, limits: Limits, now: float) -> tuple[Decision, ScalerMemory]:
    """The replicas of every variant, the rule that won and its terms; and the memory for the next call.

    `now`: unix seconds. An empty memory is valid: the scaler then holds until its windows have filled.
    """
    load = read_signals(memory.pods, observation, seen_at=memory.seen_at, now=now)
    estimate, learned = estimated(memory, observation, limits, load, now=now)
    idle_since = _since(memory.idle_since, load, SignalState.IDLE, now=now)
    current = {variant.name: variant.desired for variant in observation.variants}
    total = sum(current.values())
    kept, needs = current, memory.needs
    terms: tuple[Term, ...] = ()
    unreachable = "" if estimate is None else estimate.unreachable
    if estimate is None:
        carriers = _carriers(observation, limits, worth=(1.0,) * len(limits.variants))
        # unknown: hold. 5 ready, Prometheus gone -> 5; read as zero it would be the minimum.
        wish = _Wish(total, Rule.SIGNALS_UNKNOWN, f"signals are unknown ({load.problem}): hold {total}")
    else:
        carriers = _carriers(observation, limits, worth=estimate.worth)
        idle = 0.0 if idle_since is None else now - idle_since
        # Nothing to do is no forecast: idleness goes down to the minimum.
        carried = 0 if idle >= IDLE_AFTER_SECONDS else estimate.choice.replicas
        wanted = max(carried, estimate.standby) if carried else 0
        need = replicas_for_load(wanted, carriers, kept={})
        raised = replicas_for_load(wanted, carriers, kept={v.name: _coming(v) for v in observation.variants})
        if not any(count > current.get(name, 0) for name, count in raised.items()):
            raised = cheaper_fleet(current, need, carriers, cold_start=estimate.cold_start, most=limits.max_replicas)
        situation = _Situation(
            wanted=wanted,
            need=sum(need.values()),
            current=total,
            removable=worths_by_cost(current, carriers),
            raised=sum(raised.values()),
            lacks=any(count > current.get(name, 0) for name, count in raised.items()),
            idle=idle,
        )
        wish = _wish(learned, load, situation, estimate, now=now)
        # Without those that stand by: they are no need that lasts because it lasts.
        needs = (*needs, (now, float(carried)))[-MAXIMUM_NEEDS:]
        if wish.rule in (Rule.BACKLOG, Rule.SATURATION, Rule.FORECAST):
            kept = raised
        terms = _terms(load, estimate, carriers, need)
    bounded = within_bounds(wish.replicas, limits, now=now)
    # A recommendation that nobody follows is no step down: the next one is not rate-limited by it.
    lowers = limits.mode is Mode.AUTOMATIC and bounded.replicas < total
    if limits.mode is Mode.AUTOMATIC:
        decision = _automatic(wish, bounded, carriers, kept=kept, load=load, terms=terms, now=now)
    else:
        decision = _followed(wish, bounded, carriers, observation, limits, load=load, terms=terms, now=now)
    kept_promises = attainments(learned.attained, limits.objectives, now=now)
    return changed(decision, unreachable=unreachable, attainments=kept_promises), changed(
        learned,
        needs=needs,
        idle_since=idle_since,
        unknown_since=_since(memory.unknown_since, load, SignalState.UNKNOWN, now=now),
        last_down=now if lowers else memory.last_down,
    )


def _wish(memory: ScalerMemory, load: FleetLoad, situation: _Situation, estimate: Estimate, *, now: float) -> _Wish:
    """The rules, strongest first. Each branch is one rule."""
    need, current, cold_start = situation.need, situation.current, estimate.cold_start
    # up: at once, in one step. Replicas that start count; those without a device or that fail do not, so another
    # variant takes their share: 3 wanted of a, 1 of them unschedulable -> 1 of b.
    if situation.lacks:
        rule, message = _up(load, situation, estimate)
        return _Wish(situation.raised, rule, message)
    # down is frozen while some pods are unknown: they may carry the load that is not seen.
    if load.answered < load.ready:
        return _Wish(current, Rule.SIGNALS_UNKNOWN, f"{load.problem}: no scale-down until they do")
    assert memory.started is not None
    hold = held(memory.needs, need=situation.wanted, cold_start=cold_start, started=memory.started, now=now)
    if hold is None:
        words = f"{need} would do; hold {current} while the scaler is young"
        return _Wish(current, Rule.HOLD, words, young_until(started=memory.started, cold_start=cold_start))
    surplus = _surplus(situation.removable, keep=hold.replicas)
    if surplus == 0:
        if _surplus(situation.removable, keep=situation.wanted) == 0:
            return _Wish(current, Rule.HOLD, _enough(situation, estimate))
        words = f"{need} would do now; hold {current} for the peak of the last minutes"
        return _Wish(current, Rule.HOLD, words, hold.lets_go)
    next_down = (memory.last_down or -math.inf) + cold_start
    if now < next_down:
        return _Wish(current, Rule.DOWN_RATE, f"{current - surplus} would do; one step down per cold start", next_down)
    lowered = current - min(surplus, largest_step_down(current))
    if situation.idle >= IDLE_AFTER_SECONDS:
        return _Wish(lowered, Rule.IDLE, f"no request for {situation.idle:.0f} s: {lowered} replicas")
    words = f"{current - surplus} were enough for {HOLD_COLD_STARTS * cold_start:.0f} s"
    return _Wish(lowered, Rule.DOWN_RATE, words)


def _enough(situation: _Situation, estimate: Estimate) -> str:
    if estimate.standby > estimate.choice.replicas:
        return f"{estimate.choice.replicas:.0f} replicas would do; {_stand_by(situation)}"
    return f"{situation.need} of {situation.current} replicas carry the load"


def _stand_by(situation: _Situation) -> str:
    return f"{situation.need} stand by for loads like those that came unforeseen"


def _surplus(removable: tuple[float, ...], *, keep: float) -> int:
    """How many replicas may go, the dearest first, while those that stay carry `keep`."""
    capacity = sum(removable)
    for count, worth in enumerate(removable):
        capacity -= worth
        if capacity < keep - ROUNDING:
            return count
    return len(removable)


def _up(load: FleetLoad, situation: _Situation, estimate: Estimate) -> tuple[Rule, str]:
    """Why more are needed, and in words."""
    demand, forecast = estimate.demand, estimate.outlook.demand
    turned_away = f" ({load.rejected:.0f} were turned away)" if load.rejected else ""
    if estimate.queue_breaks_promise or load.waiting + load.rejected > load.running:
        words = f"{load.running:.0f} requests run and {load.waiting:.0f} wait{turned_away}"
        return Rule.BACKLOG, f"{words}: {situation.raised} replicas carry them"
    if demand > situation.current:
        words = f"{load.running:.0f} requests run and {load.waiting:.0f} wait, as much as {demand:.1f} full replicas do"
        return Rule.SATURATION, f"{words}{turned_away}: {situation.raised} carry them"
    words = f"the load fills {demand:.1f} replicas now and {forecast:.1f} in {estimate.cold_start:.0f} s"
    if estimate.standby > estimate.choice.replicas:
        return Rule.FORECAST, f"{words}{turned_away}; {_stand_by(situation)}"
    misses = f"{100 * estimate.choice.misses:.2g} % of the requests may be late"
    return Rule.FORECAST, f"{words}{turned_away}: with {situation.raised}, {misses}"


def _since(former: float | None, load: FleetLoad, state: SignalState, *, now: float) -> float | None:
    """Since when the signals are in this state, None if they are in another."""
    if load.state is not state:
        return None
    return now if former is None else former


def _automatic(
    wish: _Wish,
    bounded: Bounded,
    carriers: tuple[Carrier, ...],
    *,
    kept: dict[str, int],
    load: FleetLoad,
    terms: tuple[Term, ...],
    now: float,
) -> Decision:
    return Decision(
        time=now,
        replicas=split_total(bounded.replicas, carriers, kept),
        recommended=bounded.replicas,
        rule=bounded.rule or wish.rule,
        message=_message(wish, bounded, load),
        signals=load.state,
        terms=terms,
        limited_by=bounded.limited_by,
        scale_down_allowed_after=wish.scale_down_allowed_after,
    )


def _message(wish: _Wish, bounded: Bounded, load: FleetLoad) -> str:
    """A bound that won speaks; that nothing is known is said all the same."""
    if not bounded.message:
        return wish.message
    return f"{bounded.message}; {wish.message}" if load.state is SignalState.UNKNOWN else bounded.message


def _followed(
    wish: _Wish,
    bounded: Bounded,
    carriers: tuple[Carrier, ...],
    observation: Observation,
    limits: Limits,
    *,
    load: FleetLoad,
    terms: tuple[Term, ...],
    now: float,
) -> Decision:
    """Manual and External: spec.replicas in list order up to each maximum; the recommendation is only recorded."""
    rule = Rule.MANUAL if limits.mode is Mode.MANUAL else Rule.EXTERNAL
    live = sum(variant.desired for variant in observation.variants)
    wanted = live if observation.spec_replicas is None else observation.spec_replicas
    replicas = []
    rest = wanted
    for carrier in carriers:
        count = min(rest, carrier.limits.max_replicas)
        replicas.append((carrier.limits.name, count))
        rest -= count
    source = "spec.replicas" if rule is Rule.MANUAL else "/scale"
    message = f"{source} says {wanted}; the scaler recommends {bounded.replicas} ({wish.message})"
    return Decision(
        time=now,
        replicas=tuple(replicas),
        recommended=bounded.replicas,
        rule=rule,
        message=message,
        signals=load.state,
        terms=terms,
        limited_by=("variants.maxReplicas",) if rest > 0 else (),
    )


def _coming(variant: VariantObservation) -> int:
    """Replicas that serve or will: unschedulable and failing ones are not on their way."""
    return max(0, variant.desired - variant.unschedulable - variant.failing)


def _carriers(observation: Observation, limits: Limits, *, worth: tuple[float, ...]) -> tuple[Carrier, ...]:
    seen = {variant.name: variant for variant in observation.variants}
    return tuple(
        Carrier(
            limits=variant,
            seen=seen.get(variant.name) or VariantObservation(name=variant.name, desired=0, ready=0),
            worth=value,
        )
        for variant, value in zip(limits.variants, worth, strict=True)
    )


def _terms(
    load: FleetLoad, estimate: Estimate, carriers: tuple[Carrier, ...], need: dict[str, int]
) -> tuple[Term, ...]:
    seen = load.sample_time
    return (
        Term("running", load.running, "requests", sample_time=seen),
        Term("waiting", load.waiting, "requests", sample_time=seen),
        Term("rejected", load.rejected, "requests", sample_time=seen),
        Term("demand", estimate.demand, "replicas", sample_time=seen),
        Term("backlog", estimate.backlog, "replicas", sample_time=seen),
        Term("forecast", estimate.outlook.demand, "replicas", math.ceil(estimate.choice.replicas - ROUNDING)),
        Term("expectedMisses", 100 * estimate.choice.misses, "percent of requests"),
        Term("unavoidableMisses", 100 * estimate.floor, "percent of requests"),
        Term("errorBudgetSpent", 100 * estimate.spent, "percent"),
        Term("price", estimate.price, "replicas for all requests"),
        Term("standby", float(estimate.standby), "replicas"),
        Term("coldStart", estimate.cold_start, "seconds"),
        *(
            Term(f"worth/{c.limits.name}", c.worth, f"replicas of {carriers[0].limits.name}", need.get(c.limits.name))
            for c in carriers
        ),
    )
