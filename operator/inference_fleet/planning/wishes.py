"""What the scaler wants of an object now: its last decision, brought up to date with the spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from inference_fleet.api.conditions import timestamp
from inference_fleet.api.inference_deployment import MOST_REPLICAS
from inference_fleet.planning.acceptance import Acceptance
from inference_fleet.planning.counts import observation_of
from inference_fleet.planning.limits import limits_of
from inference_fleet.planning.pools import Pool
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.scaling.bounds import within_bounds
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Decision, Limits, Mode, Rule, SignalState

# No tick has spoken yet: the scaler's own rule for unknown signals holds what is there, within the bounds.
NOT_MEASURED: Final = "nothing has been measured yet"
# Changes of the count that status remembers, newest first; the definition of the kind takes six times as many.
MOST_HISTORY: Final = 10


def object_limits(acceptance: Acceptance, pools: Sequence[Pool], *, now: float) -> Limits | None:
    """Mode, bounds and promises of the spec in force, with the pools there are; None if it cannot be read."""
    return limits_of(acceptance, carried=frozenset(pool.variant for pool in pools if pool.replicas), now=now)


def spec_replicas(snapshot: Snapshot) -> int | None:
    """`spec.replicas` as it stands, accepted or not: /scale writes it."""
    value = (snapshot.deployment.get("spec") or {}).get("replicas")
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_REPLICAS else None


def recorded_replicas(snapshot: Snapshot) -> Mapping[str, int]:
    """Replicas per variant as status recorded them last."""
    found = {}
    for entry in (snapshot.deployment.get("status") or {}).get("variants") or ():
        if isinstance(entry, Mapping) and isinstance(entry.get("desiredReplicas"), int):
            found[str(entry.get("name"))] = int(entry["desiredReplicas"])
    return found


def effective_decision(
    snapshot: Snapshot, decision: Decision | None, limits: Limits, pools: Sequence[Pool], *, now: float
) -> Decision:
    """The decision to act on.

    The tick's own while it still fits the spec; otherwise what `decide` says of what stands in the object: bounds
    and spec.replicas take effect at once and do not wait for the next measurement.
    """
    if limits.mode is Mode.AUTOMATIC and decision is not None and _fits(decision, limits, now=now):
        return decision
    observation = observation_of(
        pools,
        most={variant.name: variant.max_replicas for variant in limits.variants},
        recorded=recorded_replicas(snapshot),
        spec_replicas=spec_replicas(snapshot),
        problem=NOT_MEASURED,
    )
    fallback, _ = decide(ScalerMemory.empty(), observation, limits, now)
    if decision is None:
        return fallback
    if limits.mode is Mode.AUTOMATIC:
        return dataclasses.replace(
            fallback, signals=decision.signals, attainments=decision.attainments, problem=decision.problem
        )
    if decision.rule is fallback.rule and decision.replicas == fallback.replicas:
        return decision
    return dataclasses.replace(
        fallback,
        recommended=decision.recommended,
        signals=decision.signals,
        terms=decision.terms,
        attainments=decision.attainments,
        problem=decision.problem,
    )


def _fits(decision: Decision, limits: Limits, *, now: float) -> bool:
    if decision.rule in (Rule.MANUAL, Rule.EXTERNAL):
        return False
    if [name for name, _ in decision.replicas] != [variant.name for variant in limits.variants]:
        return False
    bounds = {variant.name: variant for variant in limits.variants}
    if any(count > bounds[name].max_replicas for name, count in decision.replicas):
        return False
    return within_bounds(decision.total, limits, now=now).replicas == decision.total


def scaling_status(
    former: Mapping[str, Any], decision: Decision, *, mode: Mode, current: int, now: float
) -> dict[str, Any]:
    """`status.scaling`: written anew on a transition of count, rule, limit or signal state, and where replicas of one
    variant take the place of another's; otherwise as it was.

    current: replicas of the ReplicaSets, from which a first decision counts. now: unix seconds.
    """
    last = former.get("lastDecision") or {}
    signals = former.get("signals") or {}
    state = decision.signals.value
    same = (
        last.get("to") == decision.total
        and last.get("rule") == decision.rule.value
        and list(last.get("limitedBy") or []) == list(decision.limited_by)
        and signals.get("state") == state
        and former.get("mode") == mode.value
        and former.get("recommendedReplicas") == decision.recommended
        and decision.exchange in last.get("message", "")
    )
    if same and (decision.signals is SignalState.UNKNOWN or decision.rule is Rule.SIGNALS_UNKNOWN):
        # ScalingActive tells the same words: both say what is not known now, and of which pods.
        return {**former, "lastDecision": {**last, "message": decision.message}}
    if same:
        return dict(former)
    before = last.get("to", current)
    record = {
        "time": timestamp(decision.time),
        "from": before,
        "to": decision.total,
        "rule": decision.rule.value,
        "message": decision.message,
        "limitedBy": list(decision.limited_by),
        "terms": [
            {
                "name": term.name,
                "value": f"{term.value:.6g}",
                "unit": term.unit,
                **({} if term.replicas is None else {"replicas": term.replicas}),
                **({} if term.sample_time is None else {"sampleTime": timestamp(term.sample_time)}),
            }
            for term in decision.terms
        ],
    }
    result: dict[str, Any] = {
        **former,
        "mode": mode.value,
        "desiredReplicas": decision.total,
        "recommendedReplicas": decision.recommended,
        "signals": signals if signals.get("state") == state else {"state": state, "since": timestamp(now)},
        "lastDecision": record,
    }
    result.pop("scaleDownAllowedAfter", None)
    if decision.scale_down_allowed_after is not None:
        result["scaleDownAllowedAfter"] = timestamp(decision.scale_down_allowed_after)
    if decision.total != before:
        result["lastScaleUpTime" if decision.total > before else "lastScaleDownTime"] = timestamp(now)
    if decision.total != before or decision.exchange:
        short = {key: record[key] for key in ("time", "from", "to", "rule", "message")}
        result["history"] = [short, *(former.get("history") or [])][:MOST_HISTORY]
    return result
