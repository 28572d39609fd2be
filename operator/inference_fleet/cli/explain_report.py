"""Why a deployment has this many replicas, or why it is not ready: for people, and as `inference-fleet/explain/v1`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from inference_fleet.api.conditions import Condition, Reason
from inference_fleet.api.counted import counted, serving
from inference_fleet.api.reason_meanings import REASON_MEANINGS
from inference_fleet.api.status import DecisionSummary, Remark
from inference_fleet.cli.cluster_access import one_line
from inference_fleet.cli.decision_words import decision_words
from inference_fleet.cli.deployment_view import NOT_SEEN, DeploymentView, clock, duration
from inference_fleet.cli.objective_view import objective_report, objective_words, objectives_of
from inference_fleet.cli.pod_events import PodEvent
from inference_fleet.cli.status_report import deployment_report
from inference_fleet.cli.text_table import coloured, wrapped
from inference_fleet.planning.judgement import WHILE_SILENT
from inference_fleet.planning.times import unix_seconds

SCHEMA_VERSION: Final = "inference-fleet/explain/v1"
_CHANGES_SHOWN: Final = 5
# What a refusal says to do stands in its own message.
_NO_STEP: Final = ("Nothing.", "The message names")
# A new replica is measured within a few scrapes and ticks: until then missing figures are nobody's fault.
_FIRST_FIGURES_SECONDS: Final = 60
_FIRST_FIGURES: Final = "Wait: the first figures come within a minute."
# A condition tells several refusals in one message; each begins with its field.
_REFUSALS: Final = re.compile(r"; (?=spec[.\[])")
# Figures of a decision that has stood for longer are not those of now.
_OLD_SECONDS: Final = 60
# A refusal that says itself what would work needs no advice for all refusals of its reason.
_WAY_OUT: Final = re.compile(r"\. [A-Z]")
_TOLD: Final = "The message names what would work."
_OPERATOR_STEP: Final = "See whether the operator runs, and whether it may work in this namespace."


@dataclass(frozen=True, kw_only=True)
class Hindrance:
    """What keeps a deployment from being as it should be: the reason, the fact, what to do."""

    condition: str
    reason: str
    cause: str
    next_step: str


def explain_report(deployment: DeploymentView, *, events: Sequence[PodEvent] = ()) -> dict[str, Any]:
    """The JSON object. events: warnings about pods that are not ready."""
    scaling = deployment.status.scaling
    return {
        "schemaVersion": SCHEMA_VERSION,
        **deployment_report(deployment),
        "hindrances": [
            {"condition": each.condition, "reason": each.reason, "cause": each.cause, "nextStep": each.next_step}
            for each in hindrances(deployment)
        ],
        "podEvents": [
            {"pod": each.pod, "reason": each.reason, "message": each.message, "nextStep": each.next_step}
            for each in events
        ],
        "scaling": scaling.model_dump(by_alias=True, exclude_none=True) if scaling else None,
        "limits": _bounds(deployment),
        "objectives": [objective_report(each) for each in objectives_of(deployment)],
        "variants": [each.model_dump(by_alias=True, exclude_none=True) for each in deployment.status.variants or ()],
        "warnings": [each.model_dump(by_alias=True, exclude_none=True) for each in deployment.status.warnings or ()],
    }


def hindrances(deployment: DeploymentView) -> tuple[Hindrance, ...]:
    """Everything in the way, the cause of unreadiness first; the same fact is told once."""
    if not deployment.seen:
        return (Hindrance(condition="Ready", reason="-", cause=NOT_SEEN, next_step=_OPERATOR_STEP),)
    suspended = deployment.condition("Suspended")
    remarks = deployment.remarks if suspended is None else (suspended,)
    refused = any(each.type == "Accepted" for each in remarks)
    if refused and deployment.ready != "True" and not deployment.status.accepted_revision:
        # Nothing runs because of it, and so nothing is measured.
        remarks = tuple(each for each in remarks if each.type == "Accepted")
    found: dict[str, Hindrance] = {}
    for condition in sorted(remarks, key=_precedence):
        if condition.type in ("Reconciling", "Stalled") and found:
            continue
        if refused and condition.reason == Reason.SPEC_NOT_ACCEPTED:
            continue
        for cause in _REFUSALS.split(one_line(condition.message)):
            if any(cause in each or each in cause for each in found):
                continue
            told = condition.type == "Accepted" and _WAY_OUT.search(cause)
            step = _TOLD if told else _next_step(condition)
            found[cause] = Hindrance(condition=condition.type, reason=condition.reason, cause=cause, next_step=step)
    return tuple(found.values())


def _precedence(condition: Condition) -> int:
    """The refused field says more than that a spec was refused."""
    order = ("Accepted", "Ready", "Available", "CapacityAvailable", "RolledOut")
    return order.index(condition.type) if condition.type in order else len(order)


def _next_step(condition: Condition) -> str:
    try:
        return REASON_MEANINGS[Reason(condition.reason)][1]
    except (ValueError, KeyError):
        return "See the message."


def explain_text(
    deployment: DeploymentView, *, events: Sequence[PodEvent] = (), now: float, zone: tzinfo, width: int
) -> str:
    """The first line is the answer; then why, what is in the way, and what happened last."""
    lines = [coloured(headline(deployment, now=now, zone=zone), by=deployment.ready)]
    for place, hindrance in enumerate(hindrances(deployment)):
        label = "cause" if place == 0 and deployment.ready != "True" else "note"
        lines += wrapped(hindrance.cause, label=label, width=width)
        if not hindrance.next_step.startswith(_NO_STEP):
            step = _FIRST_FIGURES if _is_new(deployment, hindrance, now=now) else hindrance.next_step
            lines += wrapped(step, label="you can", width=width)
    for event in events:
        lines += wrapped(f"pod {event.pod}: {event.reason}: {event.message}", label="event", width=width)
        if event.next_step:
            lines += wrapped(event.next_step, label="you can", width=width)
    for label, words in _paragraphs(deployment, now=now, zone=zone):
        lines += wrapped(words, label=label, width=width)
    changes = _changes(deployment, now=now, zone=zone)
    if changes:
        lines.append("last changes")
        for change in changes:
            first, *rest = wrapped(change, label="", width=width)
            lines += [f"  {first.strip()}", *rest]
    return "\n".join(lines)


def _is_new(deployment: DeploymentView, hindrance: Hindrance, *, now: float) -> bool:
    """Whether figures are missing, and the deployment became ready a moment ago."""
    ready = deployment.condition("Ready")
    since = unix_seconds(ready.last_transition_time) if ready else None
    unknown = hindrance.reason == Reason.SIGNALS_UNKNOWN
    return unknown and deployment.ready == "True" and since is not None and now - since < _FIRST_FIGURES_SECONDS


def headline(deployment: DeploymentView, *, now: float, zone: tzinfo) -> str:
    """One sentence: does it serve, with how much, since when."""
    name, ready = deployment.name, deployment.ready_replicas
    counts = serving(ready, wanted=deployment.desired_replicas)
    condition = deployment.condition("Ready")
    if not deployment.seen or condition is None:
        return f"{name}: {NOT_SEEN}."
    changed = unix_seconds(condition.last_transition_time)
    since = "" if changed is None else f" since {clock(changed, now=now, zone=zone)}"
    if deployment.condition("Suspended") is not None:
        return f"{name} is suspended: the operator changes nothing; {counts}."
    if condition.reason == Reason.SPEC_NOT_ACCEPTED:
        meanwhile = f"the last accepted one still runs: {counts}" if ready else "nothing serves"
        return f"{name}'s spec is refused{since}; {meanwhile}."
    if condition.reason == Reason.SCALED_TO_ZERO:
        return f"{name} has no replicas, as requested{since}."
    waiting = deployment.unschedulable
    if waiting:
        verb = "serves, but waits" if condition.status == "True" else "waits"
        return f"{name} {verb} for devices: {counts}, {waiting} cannot be scheduled."
    if condition.status == "True":
        return f"{name} serves with {counted(deployment.desired_replicas, 'replica')} ({ready} ready){since}."
    return f"{name} is not ready ({condition.reason}){since}: {counts}."


def _paragraphs(deployment: DeploymentView, *, now: float, zone: tzinfo) -> Iterator[tuple[str, str]]:
    if deployment.outdated:
        yield "note", "this is about an older spec: the operator has not seen the newest one yet"
    scaling = deployment.status.scaling
    decision = scaling.last_decision if scaling else None
    if scaling is not None and decision is not None:
        yield f"why {scaling.desired_replicas}", f"{decision.rule}: {one_line(decision.message or '')}"
        figures = decision_words(decision.terms or ())
        decided = unix_seconds(decision.time)
        if figures and decided is not None and now - decided >= _OLD_SECONDS:
            # The status is written when a decision changes, not with every tick.
            yield "", f"since {clock(decided, now=now, zone=zone)}, when it was measured:"
        for words in figures:
            yield "", words
        after = unix_seconds(scaling.scale_down_allowed_after)
        if after is not None and after > now:
            yield "", f"no replica is removed before {clock(after, now=now, zone=zone)}"
    for place, objective in enumerate(objectives_of(deployment)):
        yield "" if place else "objectives", objective_words(objective, now=now, zone=zone)
    if scaling is not None and scaling.signals is not None:
        since = unix_seconds(scaling.signals.since)
        words = "" if since is None else f" since {clock(since, now=now, zone=zone)}"
        yield "signals", f"{(scaling.signals.state or '-').lower()}{words}{_silence(deployment)}"
    yield "limits", _limits(deployment)
    for variant in deployment.status.variants or ():
        yield "variant", _variant(variant.model_dump())
    for warning in deployment.status.warnings or ():
        yield "warning", one_line(f"{warning.path}: {_with_way_out(warning)}")


def _silence(deployment: DeploymentView) -> str:
    """What is not heard of, where the decision does not say it: it has other words when it adds replicas."""
    active, scaling = deployment.condition("ScalingActive"), deployment.status.scaling
    told = scaling.last_decision.message if scaling and scaling.last_decision else ""
    if active is None or active.status != "True":
        return ""
    words = active.message.partition(", but ")[2].removeprefix(WHILE_SILENT)
    return f"; {one_line(words)}" if words and words not in (told or "") else ""


def _with_way_out(warning: Remark) -> str:
    message = warning.message or ""
    return f"{message.removesuffix('.')}. {warning.suggestion}" if warning.suggestion else message


def _bounds(deployment: DeploymentView) -> dict[str, Any]:
    scaling = deployment.spec.get("scaling") or {}
    decision = deployment.status.scaling.last_decision if deployment.status.scaling else None
    return {
        "mode": deployment.mode,
        "minReplicas": scaling.get("minReplicas"),
        "maxReplicas": scaling.get("maxReplicas"),
        "replicas": deployment.spec.get("replicas"),
        "limitedBy": list(decision.limited_by or ()) if decision else [],
    }


def _limits(deployment: DeploymentView) -> str:
    bounds = _bounds(deployment)
    if deployment.mode != "Automatic":
        who = "spec.replicas" if deployment.mode == "Manual" else "/scale"
        return f"{deployment.mode}: {who} sets the replicas"
    words = f"limited by {', '.join(bounds['limitedBy'])}" if bounds["limitedBy"] else "none applies"
    shown = ["?" if bounds[key] is None else str(bounds[key]) for key in ("minReplicas", "maxReplicas")]
    return f"{words} ({shown[0]} .. {shown[1]})"


def _variant(variant: Mapping[str, Any]) -> str:
    pools = variant.get("pools") or ()
    counts = {key: sum(pool.get(key) or 0 for pool in pools) for key in ("ready", "unschedulable", "terminating")}
    words = f"{variant['name']}: wants {variant.get('desired_replicas') or 0}, {counts['ready']} ready"
    words += "".join(f", {counts[key]} {key}" for key in ("unschedulable", "terminating") if counts[key])
    resolved = variant.get("resolved") or {}
    if resolved.get("version"):
        words += (
            f"; vLLM {resolved['version']}, {counted(resolved.get('devices_per_replica') or 0, 'device')} a replica"
        )
    if variant.get("current_revision") != variant.get("update_revision"):
        words += f"; rolling from {variant.get('current_revision')} to {variant.get('update_revision')}"
    startup = variant.get("startup") or {}
    if startup.get("samples"):
        words += f"; starts in {duration(startup.get('p50_seconds'))} (95 %: {duration(startup.get('p95_seconds'))})"
    refusals = variant.get("refusals") or ()
    return words + "".join(one_line(f"; refused: {each['path']}: {each['message']}") for each in refusals)


def _changes(deployment: DeploymentView, *, now: float, zone: tzinfo) -> list[str]:
    scaling = deployment.status.scaling
    return [
        _change(each, now=now, zone=zone) for each in ((scaling.history if scaling else None) or ())[:_CHANGES_SHOWN]
    ]


def _change(change: DecisionSummary, *, now: float, zone: tzinfo) -> str:
    when = unix_seconds(change.time)
    time = "-" if when is None else clock(when, now=now, zone=zone)
    return f"{time}  {change.from_} -> {change.to}  {change.rule}: {one_line(change.message or '')}"
