"""What of each objective was kept over the last day: whole hours of requests and misses, so that the day is a day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from inference_fleet.scaling.misses import Counted
from inference_fleet.scaling.types import Attainment, ObjectiveLimit

HOUR_SECONDS: Final = 3600
# As the recording rules' longest usual window and the dashboards.
WINDOW_HOURS: Final = 24


@dataclass(frozen=True)
class Hour:
    """Requests of one hour. start: unix seconds."""

    start: float
    requests: float
    misses: float


@dataclass(frozen=True)
class ObjectiveHours:
    """One objective's last day, oldest hour first. promise: what was judged; another threshold starts anew."""

    promise: str
    hours: tuple[Hour, ...]


def with_tick(
    former: Sequence[ObjectiveHours], counted: Sequence[Counted], *, rejected: float, now: float
) -> tuple[ObjectiveHours, ...]:
    """The last day with one tick's requests. A rejected request misses every objective."""
    known = {entry.promise: entry.hours for entry in former}
    begin = HOUR_SECONDS * math.floor(now / HOUR_SECONDS)
    entries = []
    for count in counted:
        promise = _promise(count.objective)
        hours = known.get(promise, ())
        requests = count.requests + rejected if count.whole else 0.0
        if requests > 0:
            misses = min(requests, count.misses + rejected)
            if hours and hours[-1].start == begin:
                misses, requests, hours = misses + hours[-1].misses, requests + hours[-1].requests, hours[:-1]
            hours = (*_within(hours, now=now), Hour(float(begin), requests, misses))
        if hours:
            entries.append(ObjectiveHours(promise, hours))
    return tuple(entries)


def attainments(
    memory: Sequence[ObjectiveHours], objectives: Sequence[ObjectiveLimit], *, now: float
) -> tuple[Attainment, ...]:
    """What was kept of these objectives; nothing of one that no request was judged by for a day."""
    known = {entry.promise: _within(entry.hours, now=now) for entry in memory}
    return tuple(
        Attainment(
            objective=objective.name,
            target=objective.target,
            requests=sum(hour.requests for hour in hours),
            misses=sum(hour.misses for hour in hours),
            since=hours[0].start,
        )
        for objective in objectives
        if (hours := known.get(_promise(objective), ()))
    )


def _promise(objective: ObjectiveLimit) -> str:
    return f"{objective.name} {objective.metric} {objective.threshold_seconds:g}"


def _within(hours: tuple[Hour, ...], *, now: float) -> tuple[Hour, ...]:
    return tuple(hour for hour in hours if hour.start > now - WINDOW_HOURS * HOUR_SECONDS)
