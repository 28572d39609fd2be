"""How many replicas: the scaler. Pure; everything it knows is an argument, everything it learns is returned.

`estimate` says what the load asks for; here stand the rules that act on it, strongest first. Up at once; down only to
the largest need of the hold window, and then in steps. Unknown never lowers; bounds come last.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from inference_fleet.api.counted import counted
from inference_fleet.scaling.attainment import attainments
from inference_fleet.scaling.bounds import most_allowed, within_bounds
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.estimate import Estimate, estimated
from inference_fleet.scaling.fleets import (
    carries,
    cheaper_fleet,
    smallest,
    step_down,
    wanted_fleet,
    without_hindrance,
    worth_exchanging,
)
from inference_fleet.scaling.hold import HOLD_COLD_STARTS, MAXIMUM_NEEDS, Held, held, young_until
from inference_fleet.scaling.learned_variants import starts_known
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.misses import unjudged
from inference_fleet.scaling.signals import FleetLoad, read_signals
from inference_fleet.scaling.spread import ROUNDING, Carrier, capacity, split_total, together
from inference_fleet.scaling.terms import terms_of
from inference_fleet.scaling.tick import carriers_of
from inference_fleet.scaling.types import Decision, Limits, Mode, Observation, Rule, SignalState, Term
from inference_fleet.scaling.wish import Wish, decision_of

# Idleness is believed after this long without a token: shorter than the hold, longer than a gap in a chat.
IDLE_AFTER_SECONDS: Final = 60.0
# A maximum that bound is named for so long.
BOUND_SECONDS: Final = 600.0


class _Situation(NamedTuple):
    """Fleets that the rules look at: replicas by variant.

    wanted: what the load takes, in replicas of the first variant; need: the fleet that carries it. hold: what is held;
    None while the scaler is young, or how long starts take is unknown. current: what the ReplicaSets ask for. raised:
    with what the load takes beyond those that serve or will, or with a cheaper fleet beside them. idle: seconds of
    proved idleness.
    """

    wanted: float
    need: dict[str, int]
    hold: Held | None
    current: dict[str, int]
    raised: dict[str, int]
    carriers: tuple[Carrier, ...]
    idle: float

    @property
    def total(self) -> int:
        """Replicas that the ReplicaSets ask for."""
        return sum(self.current.values())

    @property
    def lacks(self) -> bool:
        """Whether some variant needs more than its ReplicaSets ask for."""
        return any(count > self.current.get(name, 0) for name, count in self.raised.items())

    def smallest(self, keep: float) -> dict[str, int]:
        """Of the current replicas, those that are enough for `keep`."""
        return smallest(self.current, keep, self.carriers)


def decide(memory: ScalerMemory, observation: Observation, limits: Limits, now: float) -> tuple[Decision, ScalerMemory]:
    """The replicas of every variant, the rule that won and its terms; and the memory for the next call.

    `now`: unix seconds. An empty memory is valid: the scaler then holds until its windows have filled.
    """
    load = read_signals(memory.pods, observation, seen_at=memory.seen_at, now=now)
    estimate, learned = estimated(memory, observation, limits, load, now=now)
    idle_since = _since(memory.idle_since, load, SignalState.IDLE, now=now)
    current = {variant.name: variant.desired for variant in observation.variants}
    total = sum(current.values())
    needs = learned.needs
    if memory.unknown_since is not None and load.state is not SignalState.UNKNOWN:
        # A time that nobody saw proves nothing: the hold goes on from what was needed before it.
        needs = tuple((time + now - memory.unknown_since, count) for time, count in needs)
        learned = changed(learned, needs=needs)
    terms: tuple[Term, ...] = ()
    boundless = None
    unreachable = "" if estimate is None else estimate.unreachable
    if estimate is None:
        carriers = carriers_of(observation, limits)
        # unknown: hold. 5 ready, Prometheus gone -> 5; read as zero it would be the minimum.
        wish = Wish(current, Rule.SIGNALS_UNKNOWN, f"signals are unknown ({load.problem}): hold {total}")
    else:
        carriers = estimate.carriers
        idle = 0.0 if idle_since is None else now - idle_since
        # Nothing to do is no forecast: idleness goes down to the minimum.
        carried = 0.0 if idle >= IDLE_AFTER_SECONDS else estimate.choice.replicas
        all_serve = load.answered == load.ready == total
        situation = _situation(
            learned, estimate, current, limits, carried=carried, idle=idle, all_serve=all_serve, now=now
        )
        wish = _wish(learned, load, situation, estimate, now=now)
        boundless = _boundless(wish, situation, estimate, needs, now=now)
        # Without those that stand by: they are no need that lasts because it lasts.
        newest = (now, carried / estimate.unit)
        needs = needs[1 - MAXIMUM_NEEDS :] + (newest,)  # noqa: RUF005 - unpacked, all of them are copied once more
        terms = terms_of(load, estimate, situation.need)
    bounded = within_bounds(wish.replicas, limits, now=now, boundless=boundless)
    # A recommendation that nobody follows is no step down: the next one is not rate-limited by it.
    lowers = limits.mode is Mode.AUTOMATIC and bounded.replicas < total
    decision = decision_of(wish, bounded, carriers, observation, limits, load=load, terms=terms, now=now)
    kept_promises = attainments(learned.attained, limits.objectives, now=now)
    problem = "" if load.answered + load.unborn == load.ready > 0 and not observation.problem else load.problem
    decision = changed(
        decision,
        unreachable=unreachable,
        attainments=kept_promises,
        problem=problem,
        unjudged=unjudged(observation, limits.objectives),
    )
    return decision, changed(
        learned,
        needs=needs,
        idle_since=idle_since,
        unknown_since=_since(memory.unknown_since, load, SignalState.UNKNOWN, now=now),
        last_down=now if lowers else memory.last_down,
    )


def _situation(
    memory: ScalerMemory,
    estimate: Estimate,
    current: dict[str, int],
    limits: Limits,
    *,
    carried: float,
    idle: float,
    all_serve: bool,
    now: float,
) -> _Situation:
    """all_serve: whether every replica that is asked for is ready and answers."""
    carriers, cold_start = estimate.carriers, estimate.cold_start
    # What comes at its hour comes from idleness, too.
    wanted = max(carried, estimate.standby if carried else 0.0, estimate.season)
    most = most_allowed(limits, now=now)
    need = wanted_fleet(wanted, carriers, main=estimate.main, cold_start=cold_start, most=most)
    assert memory.started is not None
    hold = held(memory.needs, need=wanted / estimate.unit, cold_start=cold_start, started=memory.started, now=now)
    starts_unknown = not starts_known(memory.variants, [carrier.seen for carrier in carriers])
    hold = None if hold is None or starts_unknown else Held(hold.replicas * estimate.unit, hold.lets_go)
    coming = {carrier.name: carrier.coming for carrier in carriers}
    # Replicas that start count; those without a device or that fail do not, so another variant takes their share: 3
    # wanted of a, 1 of them unschedulable -> 1 of b.
    if not carries(coming, wanted, carriers):
        raised = together(coming, need)
        if len(carriers) > 1 and sum(raised.values()) > most and not _gains(raised, coming, carriers, most=most):
            better = None
            if hold is not None and all_serve:
                better = worth_exchanging(
                    coming,
                    wanted,
                    carriers,
                    cheapest=estimate.cheapest,
                    lacked=_lacked(memory.needs, carried=capacity(coming, carriers) / estimate.unit, now=now),
                    cold_start=cold_start,
                    most=most,
                )
            raised = better or coming
    elif hold is not None:
        # Moved is what the hold window takes: a load of a moment would have the fleet move to and fro.
        raised = cheaper_fleet(coming, hold.replicas, carriers, main=estimate.main, cold_start=cold_start, most=most)
    else:
        raised = coming
    return _Situation(wanted=wanted, need=need, hold=hold, current=current, raised=raised, carriers=carriers, idle=idle)


def _gains(raised: dict[str, int], coming: dict[str, int], carriers: tuple[Carrier, ...], *, most: int) -> bool:
    """Whether as many of these as the bound allows carry more than what serves or will."""
    return capacity(dict(split_total(most, carriers, raised)), carriers) > capacity(coming, carriers) + ROUNDING


def _lacked(needs: tuple[tuple[float, float], ...], *, carried: float, now: float) -> float:
    """For how long the load has taken more than this, without a pause. needs: as of `held`. Seconds."""
    since = now
    for time, count in reversed(needs):
        if count <= carried:
            break
        since = time
    return now - since


def _wish(memory: ScalerMemory, load: FleetLoad, situation: _Situation, estimate: Estimate, *, now: float) -> Wish:
    """The rules, strongest first. Each branch is one rule."""
    current, total, cold_start = situation.current, situation.total, estimate.cold_start
    need = sum(situation.need.values())
    # up: at once, in one step.
    if situation.lacks:
        rule, message = _up(load, situation, estimate)
        return Wish(situation.raised, rule, message)
    # down is frozen while some pods are unknown: they may carry the load that is not seen.
    if load.answered < load.ready:
        who = "it answers" if load.answered + 1 == load.ready else "they answer"
        return Wish(current, Rule.SIGNALS_UNKNOWN, f"{load.problem}; no scale-down until {who}")
    freed = without_hindrance(current, situation.carriers)
    if freed != current and not carries(current, situation.wanted, situation.carriers):
        left = sum(freed.values())
        words = f"{counted(left, 'replica')} {'carries' if left == 1 else 'carry'} as much"
        return Wish(freed, Rule.DOWN_RATE, f"{words} as {total} of unlike variants")
    hold = situation.hold
    if hold is None:
        assert memory.started is not None
        young = young_until(started=memory.started, cold_start=cold_start)
        if now >= young:
            # Without those that will not come: another variant would be given them, unless none may have more.
            coming = {carrier.name: carrier.coming for carrier in situation.carriers}
            coming = coming if carries(coming, situation.wanted, situation.carriers) else current
            words = f"{need} would do; hold {total}: how long a start takes is not known before some are ready"
            return Wish(coming, Rule.HOLD, words if need != total else _enough(situation, estimate))
        words = f"{need} would do; hold {total} in the first minutes, while little is known"
        if need == total:
            words = f"{_enough(situation, estimate)}; none goes in the first minutes"
        return Wish(current, Rule.HOLD, words, young)
    goal = situation.smallest(hold.replicas)
    enough = sum(goal.values())
    if enough == total:
        if sum(situation.smallest(situation.wanted).values()) == total:
            return Wish(current, Rule.HOLD, _enough(situation, estimate))
        words = f"{need} would do now; hold {total}: so many were needed in the last minutes"
        return Wish(current, Rule.HOLD, words, hold.lets_go)
    next_down = (memory.last_down or -math.inf) + cold_start
    if now < next_down:
        return Wish(current, Rule.DOWN_RATE, f"{enough} would do; one step down per cold start", next_down)
    lowered = step_down(current, goal, situation.carriers)
    if situation.idle >= IDLE_AFTER_SECONDS:
        words = f"no request for {situation.idle:.0f} s: {counted(sum(lowered.values()), 'replica')}"
        return Wish(lowered, Rule.IDLE, words)
    words = f"{counted(enough, 'replica')} {'was' if enough == 1 else 'were'} enough"
    words += f" for {HOLD_COLD_STARTS * cold_start:.0f} s"
    words += "; down in steps" if sum(lowered.values()) > enough else ""
    return Wish(lowered, Rule.DOWN_RATE, words)


def _boundless(
    wish: Wish, situation: _Situation, estimate: Estimate, needs: tuple[tuple[float, float], ...], *, now: float
) -> int:
    """What would be wanted if no variant had bounds: fewer than it has at least, or more than it may have.

    needs: as of `held`. More counts for minutes: a bound that binds every other minute is no news every other minute.
    While there is nothing to do none binds.
    """
    recent = 0.0
    past = reversed(needs) if situation.idle < IDLE_AFTER_SECONDS else ()
    for time, count in past:
        if now - time > BOUND_SECONDS:
            break
        if count > recent:
            recent = count
    most = max(situation.wanted, estimate.unit * recent)
    short = most - capacity(wish.fleet, situation.carriers)
    if short > ROUNDING:
        return wish.replicas + math.ceil(short / estimate.unit - ROUNDING)
    # Of pods that did not answer nobody knows that fewer would do.
    known = wish.rule is not Rule.SIGNALS_UNKNOWN
    return min(wish.replicas, math.ceil(situation.wanted / estimate.unit - ROUNDING)) if known else wish.replicas


def _enough(situation: _Situation, estimate: Estimate) -> str:
    cheapest = math.ceil(estimate.choice.replicas / estimate.unit - ROUNDING)
    if cheapest < sum(situation.need.values()) and _stands_by(estimate):
        return f"{cheapest} would do; {_stand_by(situation, estimate)}"
    return f"the load takes {sum(situation.need.values())} of {counted(situation.total, 'replica')}"


def _stands_by(estimate: Estimate) -> bool:
    """Whether more are kept for what may come than for what is there and forecast."""
    return max(estimate.standby, estimate.season) > estimate.choice.replicas


def _stand_by(situation: _Situation, estimate: Estimate) -> str:
    loads = "bursts like those that came unforeseen"
    if estimate.season > estimate.standby:
        loads = "a load as on the last days at this hour"
    return f"{sum(situation.need.values())} are kept for {loads}"


def _up(load: FleetLoad, situation: _Situation, estimate: Estimate) -> tuple[Rule, str]:
    """Why more are needed, and in words."""
    demand, forecast, raised = estimate.demand, estimate.outlook.demand, sum(situation.raised.values())
    turned_away = f" ({load.rejected:.0f} were turned away)" if load.rejected else ""
    if estimate.queue_breaks_promise or load.waiting + load.rejected > load.running:
        words = f"{load.running:.0f} requests run and {load.waiting:.0f} wait{turned_away}"
        # Engines hand over nothing of what waits in them.
        return Rule.BACKLOG, f"{words}: {raised} replicas, so that what comes need not wait"
    if demand > capacity(situation.current, situation.carriers):
        words = f"{load.running:.0f} requests run and {load.waiting:.0f} wait, work for {demand:.1f} full replicas"
        return Rule.SATURATION, f"{words}{turned_away}: {raised} carry it"
    words = f"the load fills {demand:.1f} replicas now and {forecast:.1f} in {estimate.cold_start:.0f} s"
    if _stands_by(estimate):
        return Rule.FORECAST, f"{words}{turned_away}; {_stand_by(situation, estimate)}"
    misses = f"{100 * estimate.choice.misses:.2g} % of the requests may be late"
    return Rule.FORECAST, f"{words}{turned_away}: with {raised}, {misses}"


def _since(former: float | None, load: FleetLoad, state: SignalState, *, now: float) -> float | None:
    """Since when the signals are in this state, None if they are in another."""
    if load.state is not state:
        return None
    return now if former is None else former
