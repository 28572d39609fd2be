"""When schedules hold: cron starts in their time zone, as windows of unix seconds."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cronsim import CronSim, CronSimError

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import Schedule
from inference_fleet.api.refusal import Refusal
from inference_fleet.scaling.types import ScheduleLimit

# Windows are looked up this far ahead; a reconcile comes round far more often.
AHEAD: Final = timedelta(hours=1)


def schedule_refusals(schedules: Sequence[Schedule]) -> tuple[Refusal, ...]:
    """What is wrong with times and time zones."""
    found = []
    for index, schedule in enumerate(schedules):
        path = f"spec.scaling.schedules[{index}]"
        if _zone(schedule) is None:
            message = f"{schedule.time_zone!r} is not a known time zone"
            found.append(Refusal(f"{path}.timeZone", Reason.INVALID_SPEC, message, "Use a name such as Europe/Berlin."))
        try:
            CronSim(schedule.start, datetime(2026, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            message = f"{schedule.start!r} is not a cron expression: {error}"
            way_out = "Use five numeric fields, such as '0 8 * * 1-5'."
            found.append(Refusal(f"{path}.start", Reason.INVALID_SPEC, message, way_out))
    return tuple(found)


def schedule_limits(schedules: Sequence[Schedule], *, now: float) -> tuple[ScheduleLimit, ...]:
    """The windows around `now` (unix seconds) of every schedule that can be read."""
    return tuple(
        ScheduleLimit(
            name=schedule.name,
            windows=_windows(schedule, now=now),
            min_replicas=schedule.min_replicas,
            max_replicas=schedule.max_replicas,
        )
        for schedule in schedules
    )


def _windows(schedule: Schedule, *, now: float) -> tuple[tuple[float, float], ...]:
    zone = _zone(schedule)
    if zone is None:
        return ()
    local = datetime.fromtimestamp(now, tz=zone)
    # A window that began up to its own length ago still holds; a minute more because cron looks strictly ahead.
    start = local - timedelta(seconds=schedule.duration_seconds + 60)
    found: list[tuple[float, float]] = []
    try:
        for moment in CronSim(schedule.start, start):
            if moment > local + AHEAD:
                break
            begin, end = moment.timestamp(), moment.timestamp() + schedule.duration_seconds
            # Starts that come more often than they last are one window.
            if found and begin <= found[-1][1]:
                begin = found.pop()[0]
            found.append((begin, end))
    except CronSimError:
        return ()
    return tuple(found)


def _zone(schedule: Schedule) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(schedule.time_zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
