"""One picture of the fleet as `top` shows it, and as `inference-fleet/top/v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from inference_fleet.cli.deployment_view import DeploymentView, duration, unix_seconds
from inference_fleet.cli.objective_view import least_budget_left, objective_report, objectives_of
from inference_fleet.cli.status_report import deployment_report, headline, tone
from inference_fleet.cli.text_table import Column, coloured, table

SCHEMA_VERSION: Final = "inference-fleet/top/v1"
_COLUMNS: Final = (
    Column(title="NAMESPACE", yields=True),
    Column(title="NAME", yields=True),
    Column(title="REASON", yields=True),
    Column(title="WANT", right=True),
    Column(title="READY", right=True),
    Column(title="START", right=True),
    Column(title="WAIT", right=True),
    Column(title="LEAVE", right=True),
    Column(title="SIGNALS"),
    Column(title="BUDGET", right=True),
    Column(title="LAST CHANGE", yields=True),
    Column(title="COST/H", right=True),
)
# Headline, empty line, titles, and the line on what was left out.
_FRAME_LINES: Final = 4


def top_report(views: Sequence[DeploymentView]) -> dict[str, Any]:
    """The JSON object: what `status` has, and each one's scaling."""
    deployments = []
    for each in views:
        scaling = each.status.scaling
        shown = scaling.model_dump(by_alias=True, exclude_none=True) if scaling else None
        kept = [objective_report(objective) for objective in objectives_of(each)]
        deployments.append({**deployment_report(each), "objectives": kept, "scaling": shown})
    return {"schemaVersion": SCHEMA_VERSION, "deployments": deployments}


def top_text(views: Sequence[DeploymentView], *, now: float, width: int, height: int, note: str = "") -> str:
    """The picture: at most `height` lines, what is not ready first. note: what hinders the view itself."""
    first = headline(views) if views else "no InferenceDeployments"
    lines = [f"{first}   {note}" if note else first]
    if not views:
        return lines[0]
    ordered = sorted(views, key=lambda each: (each.ready == "True", each.namespace, each.name))
    room = max(1, height - _FRAME_LINES)
    shown = ordered if len(ordered) <= room + 1 else ordered[:room]
    titles, *rows = table(_COLUMNS, [_row(each, now=now) for each in shown], width=width)
    lines += ["", titles, *(coloured(row, by=tone(each)) for row, each in zip(rows, shown, strict=True))]
    if len(shown) < len(ordered):
        lines.append(f"and {len(ordered) - len(shown)} more (a taller terminal, or -n NAMESPACE)")
    return "\n".join(lines)


def _row(deployment: DeploymentView, *, now: float) -> tuple[str, ...]:
    cost = deployment.cost_per_hour
    return (
        deployment.namespace,
        deployment.name,
        deployment.reason,
        str(deployment.desired_replicas),
        str(deployment.ready_replicas),
        _count(deployment.starting),
        _count(deployment.unschedulable),
        _count(deployment.terminating),
        deployment.signals if deployment.mode == "Automatic" else deployment.mode,
        _budget(deployment),
        _last_change(deployment, now=now),
        "-" if cost is None else f"{cost:.2f}",
    )


def _count(number: int) -> str:
    """Zero is what nobody looks for."""
    return str(number) if number else "."


def _budget(deployment: DeploymentView) -> str:
    left = least_budget_left(deployment)
    return "-" if left is None else f"{left}%"


def _last_change(deployment: DeploymentView, *, now: float) -> str:
    scaling = deployment.status.scaling
    history = (scaling.history if scaling else None) or ()
    if not history:
        return "-"
    last = history[0]
    when = unix_seconds(last.time)
    ago = "" if when is None else f" {duration(now - when)} ago"
    return f"{last.from_}->{last.to} {last.rule}{ago}"
