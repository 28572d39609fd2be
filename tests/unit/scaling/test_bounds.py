"""The clamp that comes last, on every path."""

from __future__ import annotations

import dataclasses
import re

import pytest

from builders.scaling import Scaler, limits, variant, variant_limits
from inference_fleet.scaling.bounds import within_bounds
from inference_fleet.scaling.types import Limits, Mode, Rule, ScheduleLimit


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


@pytest.mark.parametrize(("ready", "running"), [(1, 600), (3, 600), (3, 1800)])
def test_a_maximum_that_every_variant_keeps_already_is_named_when_it_binds(ready: int, running: int) -> None:
    # As of an object whose only variant says no maximum of its own.
    scaler = Scaler(limits(variant_limits(max_replicas=3), max_replicas=3))
    for _ in range(3):
        decision = scaler.tick(variant(at=scaler.now, ready=ready, running=running))
    assert (decision.total, decision.rule, decision.limited_by) == (3, Rule.MAXIMUM, ("scaling.maxReplicas",))
    assert re.fullmatch(r"\d+ wanted, scaling.maxReplicas allows 3", decision.message)


def test_no_maximum_binds_once_nothing_is_to_be_done() -> None:
    scaler = Scaler(limits(variant_limits(max_replicas=3), max_replicas=3))
    for _ in range(3):
        assert scaler.tick(variant(at=scaler.now, ready=3, running=1800)).rule is Rule.MAXIMUM
    rules = [scaler.tick(variant(at=scaler.now, ready=3)).rule for _ in range(12)]
    # For a minute it may be a pause.
    assert rules[0] is Rule.MAXIMUM
    assert {*rules[6:]} <= {Rule.HOLD, Rule.DOWN_RATE, Rule.IDLE}


def test_a_variants_minimum_is_named_when_it_keeps_more_than_would_do() -> None:
    scaler = Scaler(limits(variant_limits(min_replicas=2)))
    for _ in range(3):
        decision = scaler.tick(variant(at=scaler.now, ready=2, running=1))
    assert (decision.total, decision.rule, decision.limited_by) == (2, Rule.MINIMUM, ("variants.minReplicas",))
    # Of a pod that did not answer nobody knows it.
    seen = variant(at=scaler.now, ready=2, running=1)
    decision = scaler.tick(dataclasses.replace(seen, pods=seen.pods[:1]))
    assert (decision.total, decision.rule) == (2, Rule.SIGNALS_UNKNOWN)


def test_a_limit_that_binds_is_told_by_a_recommendation() -> None:
    scaler = Scaler(limits(variant_limits(max_replicas=3), max_replicas=3, mode=Mode.EXTERNAL))
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=600))
    assert decision.recommended == 3
    assert " the scaler recommends 3 (" in decision.message
    assert decision.message.endswith(" wanted, scaling.maxReplicas allows 3)")
