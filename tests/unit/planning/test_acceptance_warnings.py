"""Fields that have no effect as things are say so in status.warnings."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import World


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"replicas": 2}, "spec.replicas"),
        ({"rollout": {"minReadySeconds": 0, "onNoSurgeCapacity": "UseSlack"}}, "spec.rollout.onNoSurgeCapacity"),
        ({"rollout": {"minReadySeconds": 0, "surgeTimeoutSeconds": 60}}, "spec.rollout.surgeTimeoutSeconds"),
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
