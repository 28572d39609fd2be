"""Misspelt fields: named with the nearest one, at any depth; and none that the definition has is called unknown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from inference_fleet.api.crd import inference_deployment_crd
from inference_fleet.api.unknown_fields import unknown_fields


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
    (refusal,) = unknown_fields(spec)

    assert refusal.path == path
    assert words in (refusal.suggestion or "")


@pytest.mark.parametrize("spec", [None, "text", [], {"engine": "vllm"}, {"variants": {"name": 1}}, {"variants": "ab"}])
def test_values_of_another_type_are_left_to_the_parser(spec: object) -> None:
    assert [refusal.path for refusal in unknown_fields(spec)] in ([], ["spec.variants.name"])


def test_no_field_of_the_definition_is_unknown() -> None:
    schema = inference_deployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    examples = list(_examples(schema))

    assert len(examples) > 150
    assert [refusal.text() for example in examples for refusal in unknown_fields(example)] == []


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
        yield {"free": 1} if schema.get("type") == "object" else 1
