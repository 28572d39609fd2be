"""The clamp that comes last, on every path."""

from __future__ import annotations

import dataclasses

import pytest

from builders.scaling import limits, variant_limits
from inference_fleet.scaling.bounds import within_bounds
from inference_fleet.scaling.types import Limits, Rule, ScheduleLimit


def bounds(*schedules: ScheduleLimit, minimum: int = 2, maximum: int = 6) -> Limits:
    made = limits(variant_limits(max_replicas=100), max_replicas=maximum)
    return dataclasses.replace(made, min_replicas=minimum, schedules=schedules)


def schedule(minimum: int | None = None, maximum: int | None = None) -> ScheduleLimit:
    return ScheduleLimit("day", windows=((100.0, 200.0),), min_replicas=minimum, max_replicas=maximum)


@pytest.mark.parametrize(
    ("wanted", "replicas", "rule"),
    [(1, 2, Rule.MINIMUM), (2, 2, None), (4, 4, None), (6, 6, None), (7, 6, Rule.MAXIMUM)],
)
def test_a_bound_speaks_only_where_it_changes_the_count(wanted: int, replicas: int, rule: Rule | None) -> None:
    bounded = within_bounds(wanted, bounds(), now=0.0)
    assert (bounded.replicas, bounded.rule) == (replicas, rule)
    assert bool(bounded.limited_by) == (rule is not None)


@pytest.mark.parametrize(("now", "replicas"), [(99.9, 6), (100.0, 9), (199.9, 9), (200.0, 6)])
def test_a_schedule_holds_from_its_start_and_no_more_at_its_end(now: float, replicas: int) -> None:
    assert within_bounds(9, bounds(schedule(maximum=9)), now=now).replicas == replicas


def test_bounds_that_contradict_each_other_are_settled_for_the_maximum() -> None:
    bounded = within_bounds(1, bounds(schedule(minimum=8)), now=150.0)
    assert bounded.replicas == 6  # by the minimum it would be 8, which nobody allowed
