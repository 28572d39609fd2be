"""The list of all deployments: for people, and as `inference-fleet/status/v1`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from inference_fleet.api.conditions import Reason
from inference_fleet.api.counted import counted, serving
from inference_fleet.cli import deployment_columns as columns
from inference_fleet.cli.cluster_access import one_line
from inference_fleet.cli.deployment_view import NOT_SEEN, DeploymentView, duration
from inference_fleet.cli.text_table import coloured, fitted

SCHEMA_VERSION: Final = "inference-fleet/status/v1"
_COLUMNS: Final = (
    columns.NAMESPACE,
    columns.NAME,
    columns.READY,
    columns.REASON,
    columns.MODEL,
    columns.REPLICAS,
    columns.DEVICES,
    columns.COST,
    columns.AGE,
)
# Told by other conditions of the same object in the same words.
_ECHOES: Final = ("Reconciling", "Available", "Stalled")


def status_report(views: Sequence[DeploymentView]) -> dict[str, Any]:
    """The JSON object; times are those of the API server."""
    return {"schemaVersion": SCHEMA_VERSION, "deployments": [deployment_report(each) for each in views]}


def deployment_report(deployment: DeploymentView) -> dict[str, Any]:
    """One deployment as the JSON outputs have it."""
    return {
        "namespace": deployment.namespace,
        "name": deployment.name,
        "ready": deployment.ready,
        "reason": deployment.reason,
        "message": deployment.message,
        "statusIsOutdated": deployment.outdated,
        "model": deployment.model,
        "mode": deployment.mode,
        "signals": deployment.signals,
        "replicas": {
            "desired": deployment.desired_replicas,
            "ready": deployment.ready_replicas,
            "starting": deployment.starting,
            "unschedulable": deployment.unschedulable,
            "terminating": deployment.terminating,
        },
        "devices": deployment.devices,
        "costPerHour": None if deployment.cost_per_hour is None else float(deployment.cost_per_hour),
        "currency": deployment.currency,
        "conditions": [each.model_dump(by_alias=True) for each in deployment.status.conditions or ()],
    }


def status_text(views: Sequence[DeploymentView], *, now: float, width: int) -> str:
    """The first line says whether all is well; then the table; then what is not as it should be, and why."""
    if not views:
        return "no InferenceDeployments"
    lines = columns.deployment_table(_COLUMNS, views, now=now, width=width)
    coloured_lines = [lines[0], *(coloured(line, by=tone(each)) for line, each in zip(lines[1:], views, strict=True))]
    remarks = [line for each in views for line in _remarks(each, now=now, width=width)]
    return "\n".join([headline(views), "", *coloured_lines, *([""] if remarks else []), *remarks])


def headline(views: Sequence[DeploymentView]) -> str:
    """Counts of everything, in one line."""
    bad = [each for each in views if each.ready != "True"]
    verdict = "all ready" if not bad else f"{len(views) - len(bad)} ready, {len(bad)} not"
    ready, desired = sum(each.ready_replicas for each in views), sum(each.desired_replicas for each in views)
    parts = [
        f"{counted(len(views), 'deployment')}: {verdict}",
        serving(ready, wanted=desired),
        counted(sum(each.devices for each in views), "device"),
        *_costs(views),
    ]
    return ", ".join(parts)


def _costs(views: Sequence[DeploymentView]) -> list[str]:
    totals: dict[str, Decimal] = {}
    for each in views:
        if each.cost_per_hour is not None and each.currency:
            totals[each.currency] = totals.get(each.currency, Decimal(0)) + each.cost_per_hour
    unpriced = sum(1 for each in views if each.cost_per_hour is None and each.devices)
    costs = [f"{total:.2f} {currency}/h" for currency, total in sorted(totals.items())]
    return [*costs, *([f"{unpriced} without a price"] if unpriced else [])]


def tone(deployment: DeploymentView) -> str:
    """Nothing is coloured while all is well: red and yellow are to be found at a glance."""
    if deployment.ready == "True":
        return "Unknown" if any(each.type == "CapacityAvailable" for each in deployment.remarks) else ""
    return "False" if deployment.seen else "Unknown"


def _remarks(deployment: DeploymentView, *, now: float, width: int) -> list[str]:
    name = f"{deployment.namespace}/{deployment.name}"
    if not deployment.seen:
        age = duration(None if deployment.created is None else now - deployment.created)
        return [fitted(f"{name}: {NOT_SEEN} (created {age} ago): is the operator running?", width=width)]
    lines = []
    if deployment.outdated:
        lines.append(fitted(f"{name}: the operator has not seen the newest spec yet", width=width))
    told: set[str] = set()
    refused = any(each.type == "Accepted" for each in deployment.remarks)
    # Ready first: it names the cause; what repeats it is left out.
    for condition in sorted(deployment.remarks, key=lambda each: each.type != "Ready"):
        words = one_line(condition.message)
        if words in told or condition.type in _ECHOES:
            continue
        if refused and condition.reason == Reason.SPEC_NOT_ACCEPTED:
            # Accepted names every field; Ready repeats the first.
            continue
        told.add(words)
        lines.append(fitted(f"{name}: {condition.type}={condition.status} ({condition.reason}): {words}", width=width))
    return lines
