"""What a rule wishes, brought within the bounds and put into words: the decision."""

from __future__ import annotations

from typing import NamedTuple

from inference_fleet.scaling.bounds import Bounded
from inference_fleet.scaling.changed import changed
from inference_fleet.scaling.fleets import cut_to
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.spread import Carrier, split_total
from inference_fleet.scaling.types import Decision, Limits, Mode, Observation, Rule, SignalState, Term


class Wish(NamedTuple):
    """What one rule wants, before bounds: replicas by variant."""

    fleet: dict[str, int]
    rule: Rule
    message: str
    scale_down_allowed_after: float | None = None

    @property
    def replicas(self) -> int:
        """Of all variants."""
        return sum(self.fleet.values())


def decision_of(
    wish: Wish,
    bounded: Bounded,
    carriers: tuple[Carrier, ...],
    observation: Observation,
    limits: Limits,
    *,
    load: FleetLoad,
    terms: tuple[Term, ...],
    now: float,
) -> Decision:
    """Automatic: the wish within `bounded`. Manual and External: what is asked for, beside what the scaler would."""
    decision = Decision(
        time=now,
        replicas=_spread(wish, bounded, carriers),
        recommended=bounded.replicas,
        rule=bounded.rule or wish.rule,
        message=_message(wish, bounded, load),
        signals=load.state,
        terms=terms,
        limited_by=bounded.limited_by,
        scale_down_allowed_after=wish.scale_down_allowed_after,
    )
    if limits.mode is not Mode.AUTOMATIC:
        return _followed(decision, carriers, observation, limits.mode)
    exchange = _exchange(dict(decision.replicas), carriers)
    return changed(decision, message=f"{decision.message}; {exchange}", exchange=exchange) if exchange else decision


def _spread(wish: Wish, bounded: Bounded, carriers: tuple[Carrier, ...]) -> tuple[tuple[str, int], ...]:
    """The fleet as it is wished where no bound changes it; else their total over the variants."""
    if all(c.limits.min_replicas <= wish.fleet.get(c.name, 0) <= c.usable for c in carriers) and (
        bounded.replicas == wish.replicas
    ):
        return tuple((carrier.name, wish.fleet.get(carrier.name, 0)) for carrier in carriers)
    raises = any(wish.fleet.get(c.name, 0) > c.seen.desired for c in carriers)
    there = {
        c.name: min(wish.fleet.get(c.name, 0), c.limits.max_replicas, c.seen.desired - c.seen.failing) for c in carriers
    }
    if not raises and sum(there.values()) >= bounded.replicas:
        # More than the bound allows is there: what carries most stays. Of these some may wait for a device: they cost
        # nothing, what serves goes only when they do, and a node may be made for them.
        left = cut_to(bounded.replicas, there, carriers)
        return tuple((carrier.name, left[carrier.name]) for carrier in carriers)
    return split_total(bounded.replicas, carriers, wish.fleet)


def _exchange(replicas: dict[str, int], carriers: tuple[Carrier, ...]) -> str:
    """Words on replicas of one variant that take the place of another's, while their number stays; empty if none do."""
    if len(carriers) == 1:
        return ""
    changes = {carrier.name: replicas[carrier.name] - carrier.seen.desired for carrier in carriers}
    if sum(changes.values()) != 0 or not any(changes.values()):
        return ""
    go = " and ".join(f"{-change} of {name}" for name, change in changes.items() if change < 0)
    come = " and ".join(f"{change} of {name}" for name, change in changes.items() if change > 0)
    return f"{come} {'replaces' if come.startswith('1 ') and ' and ' not in come else 'replace'} {go}"


def _message(wish: Wish, bounded: Bounded, load: FleetLoad) -> str:
    """A bound that won speaks; that nothing is known is said all the same."""
    if not bounded.message:
        return wish.message
    return f"{bounded.message}; {wish.message}" if load.state is SignalState.UNKNOWN else bounded.message


def _followed(advice: Decision, carriers: tuple[Carrier, ...], observation: Observation, mode: Mode) -> Decision:
    """Manual and External: spec.replicas in list order up to each maximum; the recommendation is only recorded."""
    rule = Rule.MANUAL if mode is Mode.MANUAL else Rule.EXTERNAL
    live = sum(variant.desired for variant in observation.variants)
    wanted = live if observation.spec_replicas is None else observation.spec_replicas
    replicas = []
    rest = wanted
    for carrier in carriers:
        count = min(rest, carrier.limits.max_replicas)
        replicas.append((carrier.limits.name, count))
        rest -= count
    source = "spec.replicas" if rule is Rule.MANUAL else "/scale"
    return changed(
        advice,
        replicas=tuple(replicas),
        rule=rule,
        message=f"{source} says {wanted}; the scaler recommends {advice.recommended} ({advice.message})",
        limited_by=("variants.maxReplicas",) if rest > 0 else (),
        scale_down_allowed_after=None,
    )
