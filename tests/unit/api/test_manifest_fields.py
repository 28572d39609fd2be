"""Misspelt and mistyped fields: named at any depth; and none that the definition has is called unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.crd import inference_deployment_crd
from inference_fleet.api.manifest_fields import field_faults


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"modle": {}}, "spec.modle", "Did you mean model?"),
        ({"engine": {"vllm": {"maxModelLength": 1}}}, "spec.engine.vllm.maxModelLength", "Did you mean maxModelLen?"),
        (
            {"variants": [{"name": "a"}, {"engine": {"vllm": {"kvCache": {"dtype": "fp8"}}}}]},
            "spec.variants[1].engine.vllm.kvCache.dtype",
            "Did you mean kvCacheDtype?",
        ),
        ({"drain": {"qqqq": 1}}, "spec.drain.qqqq", "Here may stand: "),
        ({1: 2}, "spec.1", "Here may stand: "),
    ],
)
def test_a_misspelt_field_is_named_with_the_nearest_one(spec: dict[Any, Any], path: str, words: str) -> None:
    (refusal,) = field_faults(spec)

    assert refusal.path == path
    assert words in (refusal.suggestion or "")


@pytest.mark.parametrize("spec", [None, "text", [], {"engine": "vllm"}, {"variants": {"name": 1}}, {"variants": "ab"}])
def test_values_of_another_type_are_left_to_the_parser(spec: object) -> None:
    assert [refusal.path for refusal in field_faults(spec)] in ([], ["spec.variants.name"])


@pytest.mark.parametrize(
    ("vllm", "words"),
    [
        # Reading an object takes all of these; an API server says "must be of type integer".
        ({"maxModelLen": "8192"}, "spec.engine.vllm.maxModelLen: must be a whole number, without quotes."),
        ({"batching": {"maxNumSeqs": True}}, "spec.engine.vllm.batching.maxNumSeqs: must be a whole number."),
        ({"enforceEager": "true"}, "spec.engine.vllm.enforceEager: must be true or false, without quotes."),
        ({"enforceEager": 1}, "spec.engine.vllm.enforceEager: must be true or false."),
    ],
)
def test_a_value_of_another_type_is_refused_where_reading_would_take_it(vllm: dict[str, Any], words: str) -> None:
    assert [refusal.text() for refusal in field_faults({"engine": {"vllm": vllm}})] == [words]


@pytest.mark.parametrize("surge", [1, "25%"])
def test_a_field_of_two_types_takes_both(surge: object) -> None:
    assert field_faults({"rollout": {"maxSurge": surge}}) == ()


def test_a_class_is_held_to_its_own_fields() -> None:
    (refusal,) = field_faults({"perfomance": {}, "devicesPerNode": 4}, model=AcceleratorClassSpec)

    assert refusal.text() == "spec.perfomance: is not a field of this API. Did you mean performance?"


def test_no_field_of_the_definition_is_unknown() -> None:
    schema = inference_deployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    examples = list(_examples(schema))

    assert len(examples) > 150
    assert [refusal.text() for example in examples for refusal in field_faults(example)] == []


def _examples(schema: Mapping[str, Any]) -> Iterator[Any]:
    """One value for each leaf, with the objects and lists around it."""
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            for example in _examples(inner):
                yield {name: example}
    elif isinstance(schema.get("items"), Mapping):
        for example in _examples(schema["items"]):
            yield [example]
    elif isinstance(schema.get("additionalProperties"), Mapping):
        for example in _examples(schema["additionalProperties"]):
            yield {"anything": example}
    else:
        yield {"object": {"free": 1}, "boolean": True}.get(schema.get("type", ""), 1)
