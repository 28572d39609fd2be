"""How many replicas: the scaler. Pure; everything it knows is an argument, everything it learns is returned.

A plain rule for now: requests that run or wait, and their growth over a cold start, against what a replica carries
within the objectives. Up at once; down only to the largest need of the hold window, and then slowly. Unknown never
lowers; bounds come last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from inference_fleet.scaling.bounds import Bounded, within_bounds
from inference_fleet.scaling.capacity import planned_requests
from inference_fleet.scaling.growth import growth
from inference_fleet.scaling.memory import (
    MAXIMUM_COLD_STARTS,
    MAXIMUM_LOADS,
    MAXIMUM_NEEDS,
    ScalerMemory,
    VariantMemory,
)
from inference_fleet.scaling.signals import FleetLoad, read_signals
from inference_fleet.scaling.spread import Carrier, replicas_for_load, split_total
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

# Until three starts were seen (design 3.4).
DEFAULT_COLD_START_SECONDS: Final = 120.0
KNOWN_AFTER_STARTS: Final = 3
COLD_START_QUANTILE: Final = 0.8
# A replica removed and wanted again within a cold start costs its whole start for nothing (design 5): hold two of them.
HOLD_COLD_STARTS: Final = 2.0
# Idleness is believed after this long without a token: shorter than the hold, longer than a gap in a chat.
IDLE_AFTER_SECONDS: Final = 60.0
# A young scaler does not go down before this many cold starts, or a cold start and five minutes (design 5).
YOUNG_COLD_STARTS: Final = 3.5
YOUNG_EXTRA_SECONDS: Final = 300.0
# Down-rate: at most this share of the fleet, and always one, per cold start (design 5).
DOWN_SHARE: Final = 0.1


@dataclass(frozen=True)
class _Situation:
    """Counts of replicas the rules look at.

    need: what the load takes. current: what the ReplicaSets ask for. raised: those of them that serve or will, and
    what the load takes beyond. lacks: some variant needs more than its ReplicaSets ask for; lacks_now: without the
    growth to come too. cold_start: seconds. demand, ahead: requests now, and when a replica begun now is ready.
    """

    need: int
    current: int
    raised: int
    lacks: bool
    lacks_now: bool
    demand: float
    ahead: float
    cold_start: float


@dataclass(frozen=True)
class _Wish:
    """What one rule wants, before bounds."""

    replicas: int
    rule: Rule
    message: str
    scale_down_allowed_after: float | None = None


def decide(memory: ScalerMemory, observation: Observation, limits: Limits, now: float) -> tuple[Decision, ScalerMemory]:
    """The replicas of every variant, the rule that won and its terms; and the memory for the next call.

    `now`: unix seconds. An empty memory is valid: the scaler then holds until its windows have filled.
    """
    load = read_signals(memory, observation, now=now)
    memory = _remember(memory, observation, load, now)
    carriers = _carriers(observation, limits, load)
    current = {variant.name: variant.desired for variant in observation.variants}
    coming = {variant.name: _coming(variant) for variant in observation.variants}
    demand = load.running + load.waiting + load.rejected
    cold_start = _cold_start(memory, limits)
    ahead = demand + growth(memory.loads, now=now, load=demand, ahead_seconds=cold_start)
    need = replicas_for_load(ahead, carriers, kept={})
    raised = replicas_for_load(ahead, carriers, kept=coming)
    situation = _Situation(
        need=sum(need.values()),
        current=sum(current.values()),
        raised=sum(raised.values()),
        lacks=any(count > current.get(name, 0) for name, count in raised.items()),
        cold_start=cold_start,
        demand=demand,
        ahead=ahead,
        lacks_now=any(
            count > current.get(name, 0) for name, count in replicas_for_load(demand, carriers, kept=coming).items()
        ),
    )
    wish = _wish(memory, load, situation, now=now)
    if load.state is not SignalState.UNKNOWN:
        memory = replace(
            memory,
            needs=(*memory.needs, (now, situation.need))[-MAXIMUM_NEEDS:],
            loads=(*memory.loads, (now, demand))[-MAXIMUM_LOADS:],
        )
    bounded = within_bounds(wish.replicas, limits, now=now)
    # A recommendation that nobody follows is no step down: the next one is not rate-limited by it.
    if limits.mode is Mode.AUTOMATIC and bounded.replicas < situation.current:
        memory = replace(memory, last_down=now)

    if limits.mode is Mode.AUTOMATIC:
        kept = raised if wish.rule in (Rule.BACKLOG, Rule.SATURATION, Rule.FORECAST) else current
        decision = _automatic(wish, bounded, carriers, kept=kept, load=load, now=now)
    else:
        decision = _followed(wish, bounded, carriers, observation, limits, load=load, now=now)
    return replace(decision, terms=_terms(load, carriers, need, situation)), memory


def _wish(memory: ScalerMemory, load: FleetLoad, situation: _Situation, *, now: float) -> _Wish:
    """The rules, strongest first. Each branch is one rule."""
    need, current, cold_start = situation.need, situation.current, situation.cold_start
    # unknown: hold. 5 ready, Prometheus gone -> 5; read as zero it would be the minimum.
    if load.state is SignalState.UNKNOWN:
        return _Wish(current, Rule.SIGNALS_UNKNOWN, f"signals are unknown ({load.problem}): hold {current}")
    # up: at once, in one step. Replicas that start count; those without a device or that fail do not, so another
    # variant takes their share: 3 wanted of a, 1 of them unschedulable -> 1 of b.
    if situation.lacks and not situation.lacks_now:
        words = f"{situation.demand:.0f} requests now, {situation.ahead:.0f} in {cold_start:.0f} s at this rise"
        return _Wish(situation.raised, Rule.FORECAST, f"{words}: {situation.raised} replicas carry them")
    if situation.lacks:
        waiting = load.waiting + load.rejected > load.running
        rule = Rule.BACKLOG if waiting else Rule.SATURATION
        message = f"{load.running:.0f} requests run and {load.waiting:.0f} wait: {situation.raised} replicas carry them"
        if load.rejected:
            message += f" ({load.rejected:.0f} were turned away)"
        return _Wish(situation.raised, rule, message)
    # down is frozen while some pods are unknown: they may carry the load that is not seen.
    if load.answered < load.ready:
        return _Wish(current, Rule.SIGNALS_UNKNOWN, f"{load.problem}: no scale-down until they do")
    held, allowed_after = _hold(memory, need=need, cold_start=cold_start, now=now)
    if held >= current:
        if need >= current:
            return _Wish(current, Rule.HOLD, f"{need} of {current} replicas carry the load")
        return _Wish(
            current, Rule.HOLD, f"{need} would do now; hold {current} for the peak of the last minutes", allowed_after
        )
    step = max(1, math.floor(current * DOWN_SHARE))
    next_down = (memory.last_down or -math.inf) + cold_start
    if now < next_down:
        return _Wish(current, Rule.DOWN_RATE, f"{held} would do; one step down per cold start", next_down)
    lowered = max(held, current - step)
    if (
        load.state is SignalState.IDLE
        and memory.idle_since is not None
        and now - memory.idle_since >= IDLE_AFTER_SECONDS
    ):
        return _Wish(lowered, Rule.IDLE, f"no request for {now - memory.idle_since:.0f} s: {lowered} replicas")
    return _Wish(lowered, Rule.DOWN_RATE, f"need was at most {held} for {HOLD_COLD_STARTS * cold_start:.0f} s")


def _hold(memory: ScalerMemory, *, need: int, cold_start: float, now: float) -> tuple[int, float | None]:
    """The largest need of the hold window, and when it lets go; a young scaler holds everything."""
    assert memory.started is not None
    young_until = memory.started + min(cold_start + YOUNG_EXTRA_SECONDS, YOUNG_COLD_STARTS * cold_start)
    if now < young_until:
        return 2**31, young_until
    window = HOLD_COLD_STARTS * cold_start
    recent = [(time, count) for time, count in memory.needs if now - time <= window]
    held = max((count for _, count in recent), default=need)
    lets_go = max((time for time, count in recent if count > need), default=now) + window
    return max(held, need), lets_go


def _automatic(
    wish: _Wish,
    bounded: Bounded,
    carriers: tuple[Carrier, ...],
    *,
    kept: dict[str, int],
    load: FleetLoad,
    now: float,
) -> Decision:
    return Decision(
        time=now,
        replicas=split_total(bounded.replicas, carriers, kept),
        recommended=bounded.replicas,
        rule=bounded.rule or wish.rule,
        message=_message(wish, bounded, load),
        signals=load.state,
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
        limited_by=("variants.maxReplicas",) if rest > 0 else (),
    )


def _coming(variant: VariantObservation) -> int:
    """Replicas that serve or will: unschedulable and failing ones are not on their way."""
    return max(0, variant.desired - variant.unschedulable - variant.failing)


def _carriers(observation: Observation, limits: Limits, load: FleetLoad) -> tuple[Carrier, ...]:
    seen = {variant.name: variant for variant in observation.variants}
    return tuple(
        Carrier(
            limits=variant,
            seen=seen.get(variant.name, VariantObservation(name=variant.name, desired=0, ready=0)),
            planned_requests=planned_requests(variant, limits, prompt_per_generated=load.prompt_per_generated),
        )
        for variant in limits.variants
    )


def _cold_start(memory: ScalerMemory, limits: Limits) -> float:
    """The slowest variant's: the 80 % quantile of its last starts, or the default until three are known."""
    known = []
    for variant in limits.variants:
        starts = sorted(memory.variant(variant.name).cold_start_seconds)
        if len(starts) >= KNOWN_AFTER_STARTS:
            known.append(starts[min(len(starts) - 1, math.floor(COLD_START_QUANTILE * len(starts)))])
        elif variant.cold_start_seconds is not None:
            known.append(variant.cold_start_seconds)
    return max(known, default=DEFAULT_COLD_START_SECONDS)


def _remember(memory: ScalerMemory, observation: Observation, load: FleetLoad, now: float) -> ScalerMemory:
    learned = []
    for variant in observation.variants:
        # A fleet that has shrunk shows fewer starts than were learned: what was learned stays.
        known, seen = memory.variant(variant.name).cold_start_seconds, variant.cold_start_seconds
        starts = seen if len(seen) >= min(len(known), KNOWN_AFTER_STARTS) else known
        learned.append((variant.name, VariantMemory(tuple(starts[-MAXIMUM_COLD_STARTS:]))))
    idle = load.state is SignalState.IDLE
    unknown = load.state is SignalState.UNKNOWN
    return replace(
        memory,
        started=now if memory.started is None else memory.started,
        idle_since=(now if memory.idle_since is None else memory.idle_since) if idle else None,
        unknown_since=(now if memory.unknown_since is None else memory.unknown_since) if unknown else None,
        prompt_per_generated=load.prompt_per_generated,
        pods=memory.pods if unknown else load.pods,
        variants=tuple(learned),
    )


def _terms(
    load: FleetLoad, carriers: tuple[Carrier, ...], need: dict[str, int], situation: _Situation
) -> tuple[Term, ...]:
    terms = [
        Term("running", load.running, "requests", sample_time=load.sample_time),
        Term("waiting", load.waiting, "requests", sample_time=load.sample_time),
        Term("rejected", load.rejected, "requests", sample_time=load.sample_time),
        Term("ahead", situation.ahead, "requests", situation.need),
        Term("coldStart", situation.cold_start, "seconds"),
    ]
    terms += [
        Term(f"planned/{c.limits.name}", c.planned_requests, "requests per replica", need.get(c.limits.name))
        for c in carriers
    ]
    return tuple(terms)
