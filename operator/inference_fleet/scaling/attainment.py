"""What of each objective was kept over its window: whole 24ths of requests and misses, so that the day is a day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from inference_fleet.scaling.misses import Counted
from inference_fleet.scaling.types import DAY_SECONDS, Attainment, ObjectiveLimit

# A day is counted in hours, an hour in two and a half minutes.
PARTS: Final = 24


class Hour(NamedTuple):
    """Requests of one part of a window, of an hour where it is a day. start: unix seconds."""

    start: float
    requests: float
    misses: float


class ObjectiveHours(NamedTuple):
    """One objective's window, oldest part first. promise: what was judged; another threshold starts anew."""

    promise: str
    hours: tuple[Hour, ...]


def with_tick(
    former: Sequence[ObjectiveHours], counted: Sequence[Counted], *, rejected: float, now: float
) -> tuple[ObjectiveHours, ...]:
    """The windows with one tick's requests. A rejected request misses every objective."""
    known = dict(former)
    entries = []
    for count in counted:
        part = count.objective.window_seconds / PARTS
        begin = part * math.floor(now / part)
        promise = _words(count.objective)
        hours = known.get(promise, ())
        requests = count.requests + rejected if count.whole else 0.0
        if requests > 0:
            misses = min(requests, count.misses + rejected)
            if hours and hours[-1].start == begin:
                misses, requests, hours = misses + hours[-1].misses, requests + hours[-1].requests, hours[:-1]
            hours = (*_within(hours, window=count.objective.window_seconds, now=now), Hour(begin, requests, misses))
        if hours:
            entries.append(ObjectiveHours(promise, hours))
    return tuple(entries)


def attainments(
    memory: Sequence[ObjectiveHours], objectives: Sequence[ObjectiveLimit], *, now: float
) -> tuple[Attainment, ...]:
    """What was kept of these objectives; nothing of one that no request was judged by in its window."""
    known = dict(memory)
    kept = []
    for objective in objectives:
        window = objective.window_seconds
        hours = _within(known.get(_words(objective), ()), window=window, now=now)
        if hours:
            starts, requests, misses = zip(*hours, strict=True)
            kept.append(Attainment(objective.name, objective.target, sum(requests), sum(misses), starts[0], window))
    return tuple(kept)


# Asked for every tick, the same for days.
@lru_cache(maxsize=4096)
def _words(objective: ObjectiveLimit) -> str:
    window = objective.window_seconds
    promise = f"{objective.name} {objective.metric} {objective.threshold_seconds:g}"
    # Parts of another length would not add up.
    return promise if window == DAY_SECONDS else f"{promise} {window:g}"


def _within(hours: tuple[Hour, ...], *, window: float, now: float) -> tuple[Hour, ...]:
    # Nearly always all of them: one part in 24 ends its window's last tick.
    if not hours or hours[0].start > now - window:
        return hours
    return tuple(hour for hour in hours if hour.start > now - window)
