"""One picture of the fleet as `top` shows it, and as `inference-fleet/top/v1`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from inference_fleet.cli import deployment_columns as columns
from inference_fleet.cli.deployment_view import DeploymentView
from inference_fleet.cli.objective_view import objective_report, objectives_of
from inference_fleet.cli.status_report import deployment_report, headline, tone
from inference_fleet.cli.text_table import coloured

SCHEMA_VERSION: Final = "inference-fleet/top/v1"
_COLUMNS: Final = (
    columns.NAMESPACE,
    columns.NAME,
    columns.REASON,
    columns.WANTED,
    columns.SERVING,
    columns.STARTING,
    columns.WAITING,
    columns.LEAVING,
    columns.SIGNALS,
    columns.BUDGET,
    columns.LAST_CHANGE,
    columns.COST,
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
    titles, *rows = columns.deployment_table(_COLUMNS, shown, now=now, width=width)
    lines += ["", titles, *(coloured(row, by=tone(each)) for row, each in zip(rows, shown, strict=True))]
    if len(shown) < len(ordered):
        lines.append(f"and {len(ordered) - len(shown)} more (a taller terminal, or -n NAMESPACE)")
    return "\n".join(lines)
