"""Columns of the tables of deployments: `status` and `top` choose among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.cli.deployment_view import DeploymentView, duration
from inference_fleet.cli.objective_view import least_budget_left
from inference_fleet.cli.text_table import Column, table
from inference_fleet.planning.times import unix_seconds


@dataclass(frozen=True, kw_only=True)
class DeploymentColumn:
    """A column and what stands in it. cell: of a deployment, at a time (unix seconds)."""

    column: Column
    cell: Callable[[DeploymentView, float], str]


def deployment_table(
    columns: Sequence[DeploymentColumn], views: Sequence[DeploymentView], *, now: float, width: int
) -> list[str]:
    """The titles, then one line per deployment."""
    rows = [[each.cell(view, now) for each in columns] for view in views]
    return table([each.column for each in columns], rows, width=width)


def _words(title: str, cell: Callable[[DeploymentView], str], *, yields: bool = False) -> DeploymentColumn:
    return DeploymentColumn(column=Column(title=title, yields=yields), cell=lambda view, now: cell(view))


def _number(title: str, cell: Callable[[DeploymentView], str]) -> DeploymentColumn:
    return DeploymentColumn(column=Column(title=title, right=True), cell=lambda view, now: cell(view))


def _unless_zero(count: int) -> str:
    """Zero is what nobody looks for."""
    return str(count) if count else "."


def _cost(deployment: DeploymentView) -> str:
    cost = deployment.cost_per_hour
    return "-" if cost is None else f"{cost:.2f}"


def _age(deployment: DeploymentView, now: float) -> str:
    return duration(None if deployment.created is None else now - deployment.created)


def _signals(deployment: DeploymentView) -> str:
    return deployment.signals if deployment.mode == "Automatic" else deployment.mode


def _budget(deployment: DeploymentView) -> str:
    left = least_budget_left(deployment)
    return "-" if left is None else f"{left}%"


def _last_change(deployment: DeploymentView, now: float) -> str:
    scaling = deployment.status.scaling
    history = (scaling.history if scaling else None) or ()
    if not history:
        return "-"
    last = history[0]
    when = unix_seconds(last.time)
    ago = "" if when is None else f" {duration(now - when)} ago"
    return f"{last.from_}->{last.to} {last.rule}{ago}"


NAMESPACE: Final = _words("NAMESPACE", lambda view: view.namespace, yields=True)
NAME: Final = _words("NAME", lambda view: view.name, yields=True)
READY: Final = _words("READY", lambda view: view.ready)
REASON: Final = _words("REASON", lambda view: view.reason, yields=True)
MODEL: Final = _words("MODEL", lambda view: view.model, yields=True)
REPLICAS: Final = _number("REPLICAS", lambda view: f"{view.ready_replicas}/{view.desired_replicas}")
DEVICES: Final = _number("DEVICES", lambda view: str(view.devices))
COST: Final = _number("COST/H", _cost)
AGE: Final = DeploymentColumn(column=Column(title="AGE", right=True), cell=_age)
WANTED: Final = _number("WANT", lambda view: str(view.desired_replicas))
SERVING: Final = _number("READY", lambda view: str(view.ready_replicas))
STARTING: Final = _number("START", lambda view: _unless_zero(view.starting))
WAITING: Final = _number("WAIT", lambda view: _unless_zero(view.unschedulable))
LEAVING: Final = _number("LEAVE", lambda view: _unless_zero(view.terminating))
SIGNALS: Final = _words("SIGNALS", _signals)
BUDGET: Final = _number("BUDGET", _budget)
LAST_CHANGE: Final = DeploymentColumn(column=Column(title="LAST CHANGE", yields=True), cell=_last_change)
