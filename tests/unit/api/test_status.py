"""The status that is planned is one that the API server stores whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from builders.crd_schema import violations
from builders.rule_examples import DEPLOYMENT_RULES
from builders.world import World
from inference_fleet.scaling.types import Rule

# etcd takes 1.5 MiB an object, spec and managed fields included.
MOST_BYTES = 256 * 1024


def serving() -> World:
    world = World()
    world.settle()
    return world


def scaled() -> World:
    world = serving()
    world.decide(5)
    world.settle()
    world.decide(2, rule=Rule.DOWN_RATE)
    world.settle()
    return world


def refused() -> World:
    world = World(engine={"vllm": {"version": "0.10.0"}})
    world.reconcile()
    return world


def unreadable() -> World:
    world = World(variants=[{"name": "a"}])
    world.reconcile()
    return world


def partly_refused() -> World:
    world = World(
        variants=[
            {"name": "l4", "acceleratorClassName": "nvidia-l4"},
            {"name": "none", "acceleratorClassName": "no-such-class"},
        ]
    )
    world.settle()
    return world


def suspended() -> World:
    world = World(suspend=True)
    world.reconcile()
    return world


def manual() -> World:
    world = World(scaling={"mode": "Manual"}, replicas=2)
    world.settle()
    return world


def refused_a_thousand_times() -> World:
    """As many and as long faults as the schema lets through, beside one variant that is good."""
    faulty = {"vllm": {"dtype": "none", "extraArgs": [f"--{'a' * 1000}-{index}" for index in range(64)]}}
    world = World(
        variants=[
            *({"name": f"bad-{index}", "acceleratorClassName": "nvidia-l4", "engine": faulty} for index in range(7)),
            {"name": "good", "acceleratorClassName": "nvidia-l4"},
        ]
    )
    world.settle()
    assert world.holds("Accepted") == ("True", "SomeVariantsRefused")
    return world


CASES = (serving, scaled, refused, unreadable, partly_refused, suspended, manual, refused_a_thousand_times)


@pytest.mark.parametrize("case", CASES)
def test_a_planned_status_is_stored_whole(case: Callable[[], World]) -> None:
    status = case().status
    assert status["conditions"]
    assert violations("InferenceDeployment", "status", status) == []
    assert len(json.dumps(status)) < MOST_BYTES


@pytest.mark.parametrize("example", DEPLOYMENT_RULES, ids=lambda example: example.message[:60])
def test_the_checker_accepts_what_the_server_accepts(example: Any) -> None:
    assert violations("InferenceDeployment", "spec", example.good["spec"]) == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"phase": "Running"}, "status.phase: is unknown"),
        ({"replicas": "3"}, "status.replicas: '3' is no integer"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status: is missing"),
        ({"selector": "x" * 1000}, "status.selector: 1000 is out of bounds"),
    ],
)
def test_the_checker_sees_what_the_server_would_drop_or_refuse(status: dict[str, Any], said: str) -> None:
    assert any(found.startswith(said) for found in violations("InferenceDeployment", "status", status))
