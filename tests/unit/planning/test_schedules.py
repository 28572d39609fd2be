"""Schedules become windows in their own time zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from inference_fleet.api.inference_deployment import Schedule
from inference_fleet.planning.schedules import schedule_limits, schedule_refusals


def schedule(**changes: Any) -> Schedule:
    values = {"name": "day", "start": "0 8 * * 1-5", "durationSeconds": 3600, "minReplicas": 3}
    return Schedule.model_validate({**values, **changes})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def holds(entry: Schedule, text: str) -> bool:
    now = at(text)
    (limit,) = schedule_limits([entry], now=now)
    return any(start <= now < end for start, end in limit.windows)


def test_a_schedule_holds_from_its_start_for_its_duration() -> None:
    entry = schedule()
    assert not holds(entry, "2026-11-20T07:59:59")
    assert holds(entry, "2026-11-20T08:00:00")
    assert holds(entry, "2026-11-20T08:59:59")
    assert not holds(entry, "2026-11-20T09:00:00")


def test_a_schedule_holds_on_its_days_only() -> None:
    assert not holds(schedule(), "2026-11-21T08:30:00")


def test_a_schedule_follows_its_time_zone_through_the_change_of_clocks() -> None:
    berlin = schedule(timeZone="Europe/Berlin")
    assert holds(berlin, "2026-07-20T06:30:00")
    assert holds(berlin, "2026-11-20T07:30:00")
    assert not holds(berlin, "2026-11-20T06:30:00")


def test_a_window_longer_than_a_day_still_holds_on_the_next_day() -> None:
    assert holds(schedule(start="0 8 * * 1", durationSeconds=2 * 86400), "2026-11-18T07:00:00")


def test_starts_more_frequent_than_their_duration_always_hold() -> None:
    assert holds(schedule(start="* * * * *", durationSeconds=86400), "2026-11-20T12:34:56")


def test_a_bad_time_zone_and_a_bad_expression_are_named() -> None:
    found = schedule_refusals([schedule(timeZone="Europe/Nowhere"), schedule(start="99 8 * * *")])
    assert [refusal.path for refusal in found] == [
        "spec.scaling.schedules[0].timeZone",
        "spec.scaling.schedules[1].start",
    ]
    assert schedule_limits([schedule(timeZone="Europe/Nowhere")], now=0.0)[0].windows == ()
    assert schedule_limits([schedule(start="99 8 * * *")], now=0.0)[0].windows == ()
