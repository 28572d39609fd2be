"""`status.objectives`: what of each objective was kept, told anew only when it has moved far enough to matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from inference_fleet.api.conditions import timestamp
from inference_fleet.planning.times import unix_seconds
from inference_fleet.scaling.types import DAY_SECONDS, Attainment

# Points of the error budget: nobody does anything else at 60 % than at 55 %.
WORTH_TELLING_PERCENT: Final = 10
# A status is no stream of measurements: those are the metrics.
AT_MOST_EVERY_SECONDS: Final = 300


def told_objectives(
    former: Sequence[Mapping[str, Any]], attainments: Sequence[Attainment], *, now: float
) -> list[dict[str, Any]]:
    """The list as it should stand: as it was, or counted anew.

    Anew where an objective came or went, and where the budget left of one has moved by ten points since it was told
    five minutes ago or earlier.
    """
    before = {str(entry.get("name")): entry for entry in former}
    if before.keys() == {attainment.objective for attainment in attainments}:
        moved = any(_has_moved(before[attainment.objective], attainment) for attainment in attainments)
        lately = any(now - _told_at(entry) < AT_MOST_EVERY_SECONDS for entry in former)
        if lately or not moved:
            return [dict(entry) for entry in former]
    return [
        {
            "name": attainment.objective,
            **({} if attainment.window_seconds == DAY_SECONDS else {"windowHours": _hours(attainment)}),
            "attainedPercent": f"{100 * attainment.share:.4g}",
            "errorBudgetLeftPercent": _budget_left(attainment),
            "requests": round(attainment.requests),
            "since": timestamp(attainment.since),
            "time": timestamp(now),
        }
        for attainment in attainments
    ]


def _has_moved(entry: Mapping[str, Any], attainment: Attainment) -> bool:
    if entry.get("windowHours") != (None if attainment.window_seconds == DAY_SECONDS else _hours(attainment)):
        return True
    told = entry.get("errorBudgetLeftPercent")
    return not isinstance(told, int) or abs(told - _budget_left(attainment)) >= WORTH_TELLING_PERCENT


def _hours(attainment: Attainment) -> int:
    return round(attainment.window_seconds / 3600)


def _budget_left(attainment: Attainment) -> int:
    return round(100 * attainment.budget_left)


def _told_at(entry: Mapping[str, Any]) -> float:
    told = unix_seconds(entry.get("time"))
    return float("-inf") if told is None else told
