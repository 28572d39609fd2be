"""An objective beside what of it was kept: the spec's promise and the operator's own count of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from inference_fleet.cli.deployment_view import DeploymentView, clock, duration
from inference_fleet.planning.times import unix_seconds

_MEASURED: Final = {"TimeToFirstToken": "to the first token", "InterTokenLatency": "a token"}
_USUAL_WINDOW_HOURS: Final = 24
# The count is of whole 24ths of the window.
_WHOLE_WINDOW: Final = 23 / 24


@dataclass(frozen=True, kw_only=True)
class ObjectiveView:
    """One objective. What was kept is None before a request was judged; times are those of the API server."""

    name: str
    metric: str
    threshold_milliseconds: int
    target_percent: str
    window_hours: int
    attained_percent: float | None
    error_budget_left_percent: int | None
    requests: int | None
    since: str | None
    counted_at: str | None


def objectives_of(deployment: DeploymentView) -> Iterator[ObjectiveView]:
    """The spec's objectives in its order."""
    counted = {entry.name: entry for entry in deployment.status.objectives or ()}
    for promise in deployment.spec.get("objectives") or ():
        kept = counted.get(str(promise.get("name")))
        yield ObjectiveView(
            name=str(promise.get("name")),
            metric=str(promise.get("metric")),
            threshold_milliseconds=int(promise.get("thresholdMilliseconds") or 0),
            target_percent=str(promise.get("targetPercent")),
            window_hours=int(promise.get("windowHours") or _USUAL_WINDOW_HOURS),
            attained_percent=_number(kept.attained_percent) if kept else None,
            error_budget_left_percent=kept.error_budget_left_percent if kept else None,
            requests=kept.requests if kept else None,
            since=kept.since if kept else None,
            counted_at=kept.time if kept else None,
        )


def least_budget_left(deployment: DeploymentView) -> int | None:
    """Of the objective that is worst off, percent; None if nothing was counted."""
    left = [each.error_budget_left_percent for each in objectives_of(deployment)]
    return min((one for one in left if one is not None), default=None)


def objective_report(objective: ObjectiveView) -> dict[str, Any]:
    """As the JSON outputs have it."""
    return {
        "name": objective.name,
        "metric": objective.metric,
        "thresholdMilliseconds": objective.threshold_milliseconds,
        "targetPercent": objective.target_percent,
        "windowHours": objective.window_hours,
        "attainedPercent": objective.attained_percent,
        "errorBudgetLeftPercent": objective.error_budget_left_percent,
        "requests": objective.requests,
        "since": objective.since,
        "countedAt": objective.counted_at,
    }


def objective_words(objective: ObjectiveView, *, now: float, zone: tzinfo) -> str:
    """What was promised, what was kept, and what may still be missed."""
    within = f"within {objective.threshold_milliseconds} ms {_MEASURED.get(objective.metric, objective.metric)}"
    promised = f"{objective.target_percent} % promised"
    if objective.window_hours != _USUAL_WINDOW_HOURS:
        promised += f" in every {_window(objective)}"
    if objective.attained_percent is None:
        return f"{objective.name}: {promised} {within}; no request was judged in the last {objective.window_hours} h"
    kept = f"{objective.attained_percent:g} % of requests {within} ({promised})"
    return f"{objective.name}: {kept}; {_budget(objective)} ({', '.join(_counted(objective, now=now, zone=zone))})"


def _budget(objective: ObjectiveView) -> str:
    left = objective.error_budget_left_percent or 0
    if left >= 0:
        return f"{left} % of the error budget left"
    return f"the error budget is spent {(100 - left) / 100:.1f} times"


def _window(objective: ObjectiveView) -> str:
    return "hour" if objective.window_hours == 1 else f"{objective.window_hours} h"


def _counted(objective: ObjectiveView, *, now: float, zone: tzinfo) -> Iterator[str]:
    since, counted_at = unix_seconds(objective.since), unix_seconds(objective.counted_at)
    if counted_at is not None and since is not None:
        lived = counted_at - since
        whole = lived >= _WHOLE_WINDOW * 3600 * objective.window_hours
        yield f"{objective.window_hours} h" if whole else f"last {duration(lived)}"
    if objective.requests is not None:
        yield f"{objective.requests:,} requests"
    if counted_at is not None:
        yield f"counted {clock(counted_at, now=now, zone=zone)}"


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
