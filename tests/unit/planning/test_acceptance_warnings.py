"""Fields that have no effect as things are say so in status.warnings."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import World

NIGHT = {"name": "night", "start": "0 22 * * *", "durationSeconds": 3600, "maxReplicas": 2}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"replicas": 2}, "spec.replicas"),
        ({"rollout": {"minReadySeconds": 0, "onNoSurgeCapacity": "UseSlack"}}, "spec.rollout.onNoSurgeCapacity"),
        ({"rollout": {"minReadySeconds": 0, "surgeTimeoutSeconds": 60}}, "spec.rollout.surgeTimeoutSeconds"),
        ({"scaling": {"mode": "Manual", "schedules": [NIGHT]}}, "spec.scaling.schedules"),
    ],
)
def test_a_field_without_effect_is_named(spec: dict[str, Any], path: str) -> None:
    world = World(**spec)
    world.settle()
    assert (path, "Ignored") in [(warning["path"], warning["reason"]) for warning in world.status["warnings"]]


def test_a_spec_of_defaults_has_no_such_warning() -> None:
    world = World()
    world.settle()
    assert [warning for warning in world.status["warnings"] if warning["reason"] == "Ignored"] == []


@pytest.mark.parametrize(
    ("metric", "milliseconds", "message", "suggestion"),
    [
        ("TimeToFirstToken", 600, "600 ms is judged at 500 ms, the next stricter", "Choose 500 or 750."),
        ("InterTokenLatency", 60, "60 ms is judged at 50 ms, the next stricter", "Choose 50 or 75."),
        ("InterTokenLatency", 5, "5 ms is judged at 10 ms, the smallest", "Choose 10."),
        ("TimeToFirstToken", 1000, None, None),
        ("InterTokenLatency", 75, None, None),
    ],
)
def test_a_threshold_between_two_edges_says_where_it_is_judged(
    metric: str, milliseconds: int, message: str | None, suggestion: str | None
) -> None:
    objective = {"name": "o", "metric": metric, "thresholdMilliseconds": milliseconds, "targetPercent": "99"}
    world = World(objectives=[objective])
    world.settle()
    found = [each for each in world.status["warnings"] if each["reason"] == "JudgedAtAnotherThreshold"]
    assert [each["path"] for each in found] == (["spec.objectives[0].thresholdMilliseconds"] if message else [])
    for each in found:
        assert each["message"] == f"{message} latency that vLLM counts at"
        assert each["suggestion"] == suggestion
