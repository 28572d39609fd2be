"""Conditions: what holds of an object, each with its reason, from facts that are already known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.api.conditions import ALWAYS_PRESENT, Condition, ConditionType, Reason, set_condition
from inference_fleet.api.counted import counted, serving
from inference_fleet.api.refusal import Refusal
from inference_fleet.scaling.types import Decision, Mode, Rule, SignalState

# Status messages stay readable in a terminal; the rest is in status.variants and events.
LONGEST_MESSAGE: Final = 1024
# Refusals that one message tells; status.variants has all of them.
TOLD_REFUSALS: Final = 5
# The minimum is no limit in this sense: it gives more than the load needs.
_LIMITS = {Rule.MAXIMUM: Reason.MAXIMUM, Rule.SCHEDULE: Reason.SCHEDULE}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the conditions are made of.

    generation: of the spec as it stands. refusals: of that spec and of its variants. serves_accepted: whether some
    accepted spec is in force. needed: replicas that must serve now. lacking: words on replicas that find no devices.
    failing: reason and words on the newest pods that fail. loading: how many of the newest run and only have to load.
    overdue: the newest revision had its time. updates: words on renderings that differ. refused_write: the API
    server's words on a write that it did not take.
    """

    generation: int
    refusals: tuple[Refusal, ...]
    spec_accepted: bool
    refused_variants: tuple[str, ...]
    serves_accepted: bool
    desired: int
    ready: int
    needed: int
    rolled_out: bool
    rollout_words: str
    paused: bool
    lacking: str | None
    lacking_reason: Reason
    failing: Reason | None
    failing_words: str
    loading: int
    overdue: bool
    mode: Mode
    decision: Decision | None
    updates: str | None
    suspended: bool
    refused_write: str | None


def judge(facts: Facts, *, former: Sequence[Condition], now: float) -> tuple[Condition, ...]:
    """All conditions; those that only exist while true are left out when they are not."""
    accepted = _accepted(facts)
    available = _available(facts)
    stalled = _stalled(facts)
    ready = _ready(facts, available=available.status == "True")
    found = [
        accepted,
        available,
        ready,
        _scaling_active(facts),
        _rolled_out(facts),
        _capacity(facts),
    ]
    if stalled is not None:
        found.append(stalled)
    elif ready.status != "True" and not facts.suspended:
        found.append(_condition(facts, ConditionType.RECONCILING, "True", Reason(ready.reason), ready.message))
    decision = facts.decision
    if decision is not None and decision.rule in _LIMITS and decision.limited_by:
        reason = _LIMITS[decision.rule]
        found.append(_condition(facts, ConditionType.SCALING_LIMITED, "True", reason, _bound(decision)))
    elif decision is not None and decision.unreachable:
        words = f"{decision.unreachable}; more replicas do not help"
        found.append(_condition(facts, ConditionType.SCALING_LIMITED, "True", Reason.OBJECTIVE_UNREACHABLE, words))
    if facts.suspended:
        words = "spec.suspend is true: nothing of this object is written"
        found.append(_condition(facts, ConditionType.SUSPENDED, "True", Reason.SUSPENDED, words))
    if facts.updates:
        found.append(_condition(facts, ConditionType.UPDATE_AVAILABLE, "True", Reason.RENDERING_CHANGED, facts.updates))
    kept = [old for old in former if old.type in {new.type for new in found}]
    result: tuple[Condition, ...] = tuple(kept)
    for new in found:
        result = set_condition(result, new, now=now)
    order = [*ALWAYS_PRESENT, *(kind for kind in ConditionType if kind not in ALWAYS_PRESENT)]
    return tuple(sorted(result, key=lambda condition: order.index(ConditionType(condition.type))))


# Before the words on pods that do not answer, of which a reader may only want those.
WHILE_SILENT: Final = "none goes while some pods do not answer: "


def following_words(decision: Decision) -> str:
    """That replicas follow the load, and what of it is not heard of."""
    words = "replicas follow the measured load"
    if decision.problem:
        return f"{words}, but {WHILE_SILENT}{decision.problem}"
    if decision.unjudged:
        return f"{words}, but {decision.unjudged}"
    return words


def _bound(decision: Decision) -> str:
    """The same words for as long as the same bound binds: what the load takes now is the decision's to say."""
    name = ", ".join(decision.limited_by)
    if decision.rule is Rule.MAXIMUM:
        return f"{name} allows {decision.total}; the load takes more"
    return f"{name} decides: {counted(decision.total, 'replica')}"


def _accepted(facts: Facts) -> Condition:
    if not facts.spec_accepted:
        first = facts.refusals[0] if facts.refusals else None
        reason = Reason(first.reason) if first else Reason.INVALID_SPEC
        words = _refusals(facts) or "the spec cannot be read"
        return _condition(facts, ConditionType.ACCEPTED, "False", reason, words)
    if facts.refused_variants:
        words = f"without {', '.join(facts.refused_variants)}: {_refusals(facts)}"
        return _condition(facts, ConditionType.ACCEPTED, "True", Reason.SOME_VARIANTS_REFUSED, words)
    return _condition(facts, ConditionType.ACCEPTED, "True", Reason.ACCEPTED, "the spec is accepted")


def _refusals(facts: Facts) -> str:
    return "; ".join(refusal.text() for refusal in facts.refusals[:TOLD_REFUSALS])


def _available(facts: Facts) -> Condition:
    if facts.desired == 0 and facts.serves_accepted:
        words = "no replicas are wanted"
        return _condition(facts, ConditionType.AVAILABLE, "True", Reason.SCALED_TO_ZERO, words)
    words = _serving(facts)
    if facts.ready >= max(1, facts.needed):
        return _condition(facts, ConditionType.AVAILABLE, "True", Reason.SERVING, words)
    reason = _holdup(facts) or (_beginning(facts) if facts.ready == 0 else Reason.NOT_ENOUGH_REPLICAS)
    return _condition(facts, ConditionType.AVAILABLE, "False", reason, _holdup_words(facts) or words + _loading(facts))


def _ready(facts: Facts, *, available: bool) -> Condition:
    kind = ConditionType.READY
    if facts.suspended:
        return _condition(facts, kind, "False", Reason.SUSPENDED, "spec.suspend is true")
    if not facts.spec_accepted:
        words = facts.refusals[0].text() if facts.refusals else "the spec cannot be read"
        if facts.ready:
            verb = "serves" if facts.ready == 1 else "serve"
            words = f"{words.removesuffix('.')}; {counted(facts.ready, 'replica')} of the last accepted spec {verb}"
        return _condition(facts, kind, "False", Reason.SPEC_NOT_ACCEPTED, words)
    if facts.refused_write:
        return _condition(facts, kind, "False", Reason.WRITE_REFUSED, _refused_words(facts.refused_write))
    if not facts.rolled_out:
        if facts.overdue and facts.failing is not None:
            return _condition(facts, kind, "False", Reason.ROLLOUT_FAILED, facts.failing_words)
        reason = _holdup(facts) or (Reason.ROLLING_OUT if facts.ready else _beginning(facts))
        words = _holdup_words(facts) or facts.rollout_words + _loading(facts)
        return _condition(facts, kind, "False", reason, words)
    if not available:
        reason = _holdup(facts) or Reason.NOT_ENOUGH_REPLICAS
        words = _holdup_words(facts) or _serving(facts)
        return _condition(facts, kind, "False", reason, words)
    if facts.desired == 0:
        return _condition(facts, kind, "True", Reason.SCALED_TO_ZERO, "no replicas are wanted")
    if facts.lacking:
        return _condition(facts, kind, "True", facts.lacking_reason, facts.lacking)
    return _condition(facts, kind, "True", Reason.SERVING, _serving(facts))


def _serving(facts: Facts) -> str:
    return serving(facts.ready, wanted=facts.desired)


def _stalled(facts: Facts) -> Condition | None:
    if facts.suspended:
        return None
    if not facts.spec_accepted:
        words = "nothing changes until the spec is corrected"
        return _condition(facts, ConditionType.STALLED, "True", Reason.SPEC_NOT_ACCEPTED, words)
    if not facts.rolled_out and facts.overdue and facts.failing is not None:
        return _condition(facts, ConditionType.STALLED, "True", Reason.ROLLOUT_FAILED, facts.failing_words)
    return None


def _rolled_out(facts: Facts) -> Condition:
    kind = ConditionType.ROLLED_OUT
    if facts.refused_write:
        return _condition(facts, kind, "False", Reason.WRITE_REFUSED, _refused_words(facts.refused_write))
    if facts.rolled_out:
        return _condition(facts, kind, "True", Reason.ROLLED_OUT, "all replicas run the accepted revision")
    if facts.paused:
        return _condition(facts, kind, "False", Reason.ROLLOUT_PAUSED, "spec.rollout.paused is true")
    if facts.failing is not None:
        return _condition(
            facts, kind, "False", Reason.ROLLOUT_FAILED if facts.overdue else facts.failing, facts.failing_words
        )
    return _condition(facts, kind, "False", Reason.ROLLING_OUT, facts.rollout_words)


def _refused_words(refusal: str) -> str:
    return f"the API server refuses a write, which is tried again: {refusal}"


def _capacity(facts: Facts) -> Condition:
    if facts.lacking:
        return _condition(facts, ConditionType.CAPACITY_AVAILABLE, "False", facts.lacking_reason, facts.lacking)
    words = "no replica waits for devices"
    return _condition(facts, ConditionType.CAPACITY_AVAILABLE, "True", Reason.DEVICES_AVAILABLE, words)


def _scaling_active(facts: Facts) -> Condition:
    kind = ConditionType.SCALING_ACTIVE
    if facts.mode is Mode.MANUAL:
        return _condition(facts, kind, "True", Reason.MANUAL, "replicas follow spec.replicas")
    if facts.mode is Mode.EXTERNAL:
        return _condition(facts, kind, "True", Reason.EXTERNAL, "replicas follow /scale")
    if facts.decision is None:
        return _condition(facts, kind, "False", Reason.SIGNALS_UNKNOWN, "nothing has been measured yet")
    if facts.decision.signals is SignalState.UNKNOWN:
        return _condition(facts, kind, "False", Reason.SIGNALS_UNKNOWN, facts.decision.message)
    reason = Reason.SIGNALS_IDLE if facts.decision.signals is SignalState.IDLE else Reason.SIGNALS_FRESH
    return _condition(facts, kind, "True", reason, following_words(facts.decision))


def _beginning(facts: Facts) -> Reason:
    return Reason.LOADING if facts.loading else Reason.STARTING


def _loading(facts: Facts) -> str:
    return f"; {facts.loading} run and load their model" if facts.loading else ""


def _holdup(facts: Facts) -> Reason | None:
    if facts.failing is not None:
        return facts.failing
    return facts.lacking_reason if facts.lacking else None


def _holdup_words(facts: Facts) -> str | None:
    return facts.failing_words if facts.failing is not None else facts.lacking


def _condition(facts: Facts, kind: ConditionType, status: str, reason: Reason, message: str) -> Condition:
    return Condition.model_validate(
        {
            "type": kind.value,
            "status": status,
            "reason": reason.value,
            "message": message[:LONGEST_MESSAGE],
            "observedGeneration": facts.generation,
            "lastTransitionTime": "",
        }
    )
