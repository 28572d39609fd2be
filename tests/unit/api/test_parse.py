"""Reading an object never raises: it gives the spec, or fields and what is wrong with them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.rule_examples import DEPLOYMENT_RULES, accelerator_class, deployment
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.intent import variant_intents
from inference_fleet.api.parse import MAXIMUM_REFUSALS, parse_accelerator_class, parse_inference_deployment
from inference_fleet.api.refusal import Refusal

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FULL = [example.good for example in DEPLOYMENT_RULES]


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into an object."""
    found = [at] if at else []
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        found += places(value, (*at, key))
    return found


def replaced(obj: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The object with another value in one place."""
    changed = copy.deepcopy(obj)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return changed


def read(obj: Any) -> InferenceDeploymentSpec | tuple[Refusal, ...]:
    found = parse_inference_deployment(obj)
    if isinstance(found, tuple):
        assert found
        assert len(found) <= MAXIMUM_REFUSALS
        for refusal in found:
            assert refusal.path.startswith("spec")
            assert refusal.reason == Reason.INVALID_SPEC
            assert refusal.message
    else:
        variant_intents(found, name="x")
    return found


@given(anything)
def test_any_object_at_all_is_answered(obj: Any) -> None:
    read(obj)
    read({"spec": obj})
    parse_accelerator_class(obj)
    parse_accelerator_class({"spec": obj})


@settings(max_examples=300)
@given(st.data())
def test_any_value_anywhere_in_a_good_object_is_answered(data: st.DataObject) -> None:
    obj = data.draw(st.sampled_from(FULL))
    place = data.draw(st.sampled_from([at for at in places(obj) if at[0] == "spec"]))
    read(replaced(obj, place, data.draw(anything)))


def test_a_deeply_nested_object_is_answered() -> None:
    nested: dict[str, Any] = {}
    for _ in range(5000):
        nested = {"model": nested}
    assert isinstance(read({"spec": nested}), tuple)


@pytest.mark.parametrize("obj", [{}, {"spec": None}, {"spec": []}, {"spec": "x"}, [], None])
def test_an_object_without_a_spec_says_so(obj: Any) -> None:
    assert read(obj) == (Refusal("spec", Reason.INVALID_SPEC, "is missing or not an object"),)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"engine": {"vllm": {"version": 33}}}, "spec.engine.vllm.version"),
        ({"variants": [{"name": "a"}]}, "spec.variants[0].acceleratorClassName"),
        ({"variants": []}, "spec.variants"),
        ({"scaling": {"mode": "Sometimes"}}, "spec.scaling.mode"),
        ({"rollout": {"maxSurge": []}}, "spec.rollout.maxSurge"),
        ({"drain": {"timeoutSeconds": 0}}, "spec.drain.timeoutSeconds"),
        ({"pod": {"labels": {"a": 1}}}, "spec.pod.labels.a"),
        ({"variants": [{"name": "a", "acceleratorClassName": "x"}] * 2}, "spec.variants"),
    ],
)
def test_refusals_name_the_field(spec: dict[str, Any], path: str) -> None:
    refusals = read(deployment(**spec))
    assert isinstance(refusals, tuple)
    assert path in [refusal.path for refusal in refusals]


def test_several_faults_are_all_named() -> None:
    refusals = read(deployment(drain={"timeoutSeconds": 0}, scaling={"minReplicas": 2}, suspend="perhaps"))
    assert isinstance(refusals, tuple)
    assert {refusal.path for refusal in refusals} == {
        "spec.drain.timeoutSeconds",
        "spec.scaling.minReplicas",
        "spec.suspend",
    }


@pytest.mark.parametrize(
    ("vllm", "words"),
    [
        ({"version": "0.33.0", "maxModelLen": "8k"}, "spec.engine.vllm.maxModelLen: must be a whole number"),
        (
            {"version": "0.33.0", "kvCache": {"gpuMemoryUtilizationPercent": 0.9}},
            "spec.engine.vllm.kvCache.gpuMemoryUtilizationPercent: must be a whole number",
        ),
        ({"version": "0.33.0", "maxModelLen": 0}, "spec.engine.vllm.maxModelLen: must be 1 or more"),
        ({"version": "0.33.0", "enforceEager": "often"}, "spec.engine.vllm.enforceEager: must be true or false"),
        ({"version": "0.33.0", "batching": 64}, "spec.engine.vllm.batching: must be an object"),
        ({"version": "0.33.0", "extraArgs": "--a"}, "spec.engine.vllm.extraArgs: must be a list"),
        (
            {"version": "0.33.0", "dtype": 16},
            "spec.engine.vllm.dtype: must be a string (a number or a date needs quotes)",
        ),
        ({"version": "0.33.0", "dtype": ""}, "spec.engine.vllm.dtype: must not be empty"),
        ({"version": "0.33.0", "dtype": "a" * 65}, "spec.engine.vllm.dtype: must have at most 64 characters"),
        # Too short, of another type, and of another form: the same sentence says what would be right.
        ({"version": "0.33"}, 'spec.engine.vllm.version: must be a whole release in quotes, such as "0.33.0"'),
        ({"version": 0.33}, 'spec.engine.vllm.version: must be a whole release in quotes, such as "0.33.0"'),
        ({"version": "latest"}, 'spec.engine.vllm.version: must be a whole release in quotes, such as "0.33.0"'),
        ({"version": "0.33.0", "quantization": {}}, "spec.engine.vllm.quantization.method: is missing"),
    ],
)
def test_a_refusal_reads_as_a_sentence_about_its_field(vllm: dict[str, Any], words: str) -> None:
    found = read(deployment(engine={"vllm": vllm}))

    assert isinstance(found, tuple)
    assert [refusal.text() for refusal in found] == [words]


def test_a_list_whose_only_item_cannot_be_read_is_not_called_empty_too() -> None:
    found = read(deployment(variants=[{"name": "a", "acceleratorClassName": "NVIDIA L4"}]))

    assert isinstance(found, tuple)
    assert [refusal.text() for refusal in found] == [
        "spec.variants[0].acceleratorClassName: must hold only lower-case letters, digits, dashes and dots"
    ]
    empty = read(deployment(variants=[]))
    assert isinstance(empty, tuple)
    assert [refusal.text() for refusal in empty] == ["spec.variants: must not be empty"]


def test_fields_of_a_newer_operator_are_ignored() -> None:
    obj = deployment()
    obj["spec"]["adapters"] = [{"name": "later"}]
    assert isinstance(read(obj), InferenceDeploymentSpec)


def test_absent_parts_have_their_documented_defaults() -> None:
    spec = read(deployment())
    assert isinstance(spec, InferenceDeploymentSpec)
    assert (spec.drain.endpoint_delay_seconds, spec.drain.timeout_seconds) == (10, 600)
    assert (spec.scaling.mode, spec.scaling.min_replicas, spec.scaling.max_replicas) == ("Automatic", 1, 1)
    assert (spec.rollout.max_surge, spec.rollout.on_no_surge_capacity, spec.rollout.paused) == (1, "Wait", False)
    assert (spec.routing.service.port, spec.routing.network_policy) == (8000, None)
    assert (spec.replicas, spec.objectives, spec.pod, spec.suspend) == (None, None, None, False)


@pytest.mark.parametrize(
    ("model", "source", "name"),
    [
        ({"huggingFace": {"repository": "meta-llama/Llama-3.1-8B"}}, "huggingFace", "Llama-3.1-8B"),
        ({"persistentVolumeClaim": {"claimName": "weights"}}, "persistentVolumeClaim", "weights"),
        ({"persistentVolumeClaim": {"claimName": "w", "path": "llama/8b"}}, "persistentVolumeClaim", "8b"),
        ({"s3": {"uri": "s3://bucket/models/llama/"}}, "s3", "llama"),
        ({"image": {"reference": "registry.example/llama@sha256:" + "a" * 64}}, "image", "llama"),
    ],
)
def test_a_model_is_called_by_the_last_part_of_its_source(model: dict[str, Any], source: str, name: str) -> None:
    spec = read(deployment(model=model))
    assert isinstance(spec, InferenceDeploymentSpec)
    assert (spec.model.source, spec.model.display_name) == (source, name)


def test_a_class_knows_its_memory_in_bytes_and_its_price() -> None:
    spec = parse_accelerator_class(accelerator_class(cost={"perDeviceHour": "2.49"}))
    assert isinstance(spec, AcceleratorClassSpec)
    assert spec.device_memory_bytes == 81079 * 2**20
    assert str(spec.cost_per_device_hour) == "2.49"
    assert spec.cost is not None
    assert spec.cost.currency == "USD"
