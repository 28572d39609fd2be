"""What we show people is accepted as it stands."""

from __future__ import annotations

from typing import Any

import pytest

from builders.crd_schema import violations
from builders.published_objects import published_objects
from inference_fleet.api.parse import parse_accelerator_class, parse_inference_deployment

OBJECTS = published_objects()
EACH = pytest.mark.parametrize(
    "obj", [obj for _, obj in OBJECTS], ids=[f"{where}:{obj['metadata']['name']}" for where, obj in OBJECTS]
)


def test_samples_of_both_kinds_are_published() -> None:
    assert {obj["kind"] for _, obj in OBJECTS} == {"InferenceDeployment", "AcceleratorClass"}


@EACH
def test_a_published_object_keeps_schema_and_rules(obj: dict[str, Any]) -> None:
    assert violations(obj["kind"], "spec", obj["spec"]) == []
    read = parse_accelerator_class if obj["kind"] == "AcceleratorClass" else parse_inference_deployment
    assert not isinstance(read(obj), tuple)
