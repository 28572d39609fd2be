"""What kubectl or the API server would refuse is refused without them."""

from __future__ import annotations

from typing import Any

import pytest

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.cli.manifest_check import manifest_faults, with_faults

GOOD: dict[str, Any] = {
    "apiVersion": "inferencefleet.io/v1alpha1",
    "kind": "InferenceDeployment",
    "metadata": {"name": "llama-8b"},
    "spec": {"variants": [{"name": "l4", "acceleratorClassName": "mine"}]},
}
CLASS: dict[str, Any] = {"apiVersion": "inferencefleet.io/v1alpha1", "spec": {"devicesPerNode": 4}}


def texts(document: dict[str, Any], **classes: dict[str, Any]) -> list[str]:
    return [fault.text() for fault in manifest_faults(document, accelerator_classes=classes)]


def test_a_good_manifest_has_no_fault() -> None:
    assert texts(GOOD, mine=CLASS) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"apiVersion": "inferencefleet.io/v1"}, "apiVersion: inferencefleet.io/v1 is not a version that this"),
        ({"apiVersion": None}, "apiVersion: is missing. Set inferencefleet.io/v1alpha1."),
        ({"metadata": {"name": "Llama_8B"}}, "metadata.name: Llama_8B is not a name for an InferenceDeployment."),
        ({"metadata": {"name": "8b"}}, "metadata.name: 8b is not a name"),
        ({"metadata": {"name": "a" * 41}}, "Use at most 40 lower-case letters"),
        ({"metadata": {"name": 8}}, "metadata.name: 8 is not a name"),
        ({"metadata": None}, "metadata.name: is missing."),
        ({"spec": {"modle": {}}}, "spec.modle: is not a field of this API. Did you mean model?"),
    ],
)
def test_a_fault_is_named_with_its_place(changed: dict[str, Any], words: str) -> None:
    (text,) = texts({**GOOD, **changed})

    assert words in text


def test_the_longest_name_that_the_definition_takes_is_taken() -> None:
    assert texts({**GOOD, "metadata": {"name": "a" * 40}}) == []


def test_faults_of_a_class_are_told_where_it_is_used() -> None:
    assert texts(GOOD, mine={**CLASS, "spec": {"perfomance": {}}}, other={**CLASS, "spec": {"bad": 1}}) == [
        "spec.variants[0].acceleratorClassName: AcceleratorClass mine: spec.perfomance is not a field of this API."
        " Did you mean performance?"
    ]


def test_a_field_is_refused_once() -> None:
    fault = Refusal("spec.a", Reason.INVALID_SPEC, "first")
    later = (Refusal("spec.a", Reason.INVALID_SPEC, "second"), Refusal("spec.b", Reason.INVALID_SPEC, "third"))

    assert [each.message for each in with_faults((fault,), later)] == ["first", "third"]
