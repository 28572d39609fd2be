"""Objects that are older than a rule: reading them says what the API server would say, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from builders.rule_examples import CLASS_RULES, DEPLOYMENT_RULES, RuleExample
from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd
from inference_fleet.api.parse import parse_accelerator_class, parse_inference_deployment
from inference_fleet.api.schema_rules import KEY

# Metadata is the API server's to check; the keys of maps are named in the path.
READ = [one for one in DEPLOYMENT_RULES if not one.path.startswith("metadata")]
READ_CLASSES = [one for one in CLASS_RULES if not one.path.startswith("metadata")]


def identity(example: RuleExample) -> str:
    return f"{example.path}: {example.message}"[:90]


@pytest.mark.parametrize("example", READ, ids=identity)
def test_reading_a_deployment_keeps_the_rules_of_the_server(example: RuleExample) -> None:
    assert not isinstance(parse_inference_deployment(example.good), tuple)
    refusals = parse_inference_deployment(example.bad)
    assert isinstance(refusals, tuple)
    (refusal,) = refusals
    assert refusal.path.startswith(example.path)
    if not example.message.startswith("keys have"):
        assert (refusal.path, refusal.message) == (example.path, example.message)


@pytest.mark.parametrize("example", READ_CLASSES, ids=identity)
def test_reading_a_class_keeps_the_rules_of_the_server(example: RuleExample) -> None:
    assert not isinstance(parse_accelerator_class(example.good), tuple)
    refusals = parse_accelerator_class(example.bad)
    assert isinstance(refusals, tuple)
    assert any(refusal.path.startswith(example.path) for refusal in refusals)
    if not example.message.startswith("keys have"):
        assert (example.path, example.message) in [(refusal.path, refusal.message) for refusal in refusals]


def messages(node: Any) -> Iterator[str]:
    """The messages of all rules in a definition."""
    if isinstance(node, Mapping):
        if isinstance(node.get(KEY), list):
            yield from (one["message"] for one in node[KEY])
        for value in node.values():
            yield from messages(value)
    elif isinstance(node, list):
        for value in node:
            yield from messages(value)


def test_every_rule_of_both_definitions_has_an_example() -> None:
    for crd, examples in ((inference_deployment_crd(), DEPLOYMENT_RULES), (accelerator_class_crd(), CLASS_RULES)):
        assert set(messages(crd)) == {example.message for example in examples}
