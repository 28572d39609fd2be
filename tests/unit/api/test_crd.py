"""The definitions the API server gets: structural, bounded, described, without defaults where revisions come from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd
from inference_fleet.api.schema_rules import KEY

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS = {"inferencedeployments": inference_deployment_crd(), "acceleratorclasses": accelerator_class_crd()}
KIND = pytest.mark.parametrize("kind", sorted(DEFINITIONS))


def schema(kind: str) -> dict[str, Any]:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    root: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return root


def nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, value in node.get("properties", {}).items():
        yield from nodes(value, f"{path}.{name}")
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def own_nodes(kind: str) -> list[tuple[str, dict[str, Any]]]:
    """All nodes but those that Kubernetes owns."""
    return [(path, node) for path, node in nodes(schema(kind)) if path not in ("", ".apiVersion", ".kind", ".metadata")]


@KIND
def test_files_are_small_enough_for_plain_apply(kind: str) -> None:
    assert (ROOT / "crds" / f"{kind}.yaml").stat().st_size < 100 * 1024


@KIND
def test_files_hold_what_the_models_say(kind: str) -> None:
    assert yaml.safe_load((ROOT / "crds" / f"{kind}.yaml").read_text(encoding="utf-8")) == DEFINITIONS[kind]


def test_kustomization_lists_every_file() -> None:
    listed = yaml.safe_load((ROOT / "crds" / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == sorted(f"{kind}.yaml" for kind in DEFINITIONS)


@KIND
def test_every_string_list_and_map_is_bounded(kind: str) -> None:
    unbounded = [
        path
        for path, node in own_nodes(kind)
        if (node.get("type") == "string" and "maxLength" not in node and "enum" not in node)
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
        or (node.get("x-kubernetes-preserve-unknown-fields") and "maxProperties" not in node)
    ]
    assert unbounded == []


def test_every_number_of_the_spec_is_bounded() -> None:
    for kind in DEFINITIONS:
        for path, node in own_nodes(kind):
            if node.get("type") == "integer" and path.startswith(".spec"):
                assert {"minimum", "maximum"} <= set(node), path


@KIND
def test_every_field_is_described(kind: str) -> None:
    undescribed = [
        path for path, node in own_nodes(kind) if not path.endswith(("[]", "{}")) and not node.get("description")
    ]
    assert undescribed == []


@KIND
def test_every_list_says_how_it_is_merged(kind: str) -> None:
    for path, node in own_nodes(kind):
        if node.get("type") != "array":
            continue
        assert node.get("x-kubernetes-list-type") in ("atomic", "set", "map"), path
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], path


@KIND
def test_only_structural_vocabulary_is_used(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        assert not {"anyOf", "oneOf", "allOf", "$ref", "$defs", "title", "const", "patternProperties"} & set(node), path
        if not node.get("x-kubernetes-int-or-string"):
            assert "type" in node, path


def test_nothing_under_model_engine_or_pod_has_a_default() -> None:
    """A default there would change with the operator and so restart pods that nobody touched."""
    inside = ("model", "engine", "pod")
    defaults = [
        path
        for path, node in own_nodes("inferencedeployments")
        if "default" in node and set(path.replace("[]", "").split(".")) & set(inside)
    ]
    assert defaults == []


def test_objects_default_to_the_defaults_of_their_fields() -> None:
    spec = schema("inferencedeployments")["properties"]["spec"]["properties"]
    for name in ("drain", "scaling", "rollout", "routing"):
        assert spec[name]["default"] == {}
    assert spec["drain"]["properties"]["timeoutSeconds"]["default"] == 600


@KIND
def test_every_rule_says_what_to_do(kind: str) -> None:
    for path, node in nodes(schema(kind)):
        for one in node.get(KEY, ()):
            assert {"rule", "message"} <= set(one) <= {"rule", "message", "fieldPath"}, path
            assert one["message"], path
            assert "\n" not in one["message"], path


def test_scale_points_at_the_counts_and_the_selector() -> None:
    (version,) = DEFINITIONS["inferencedeployments"]["spec"]["versions"]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_columns_show_state_first_and_details_on_request() -> None:
    (version,) = DEFINITIONS["inferencedeployments"]["spec"]["versions"]
    columns = version["additionalPrinterColumns"]
    plain = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority") == 1]
    assert plain == ["Ready", "Reason", "Model", "Replicas", "Devices", "Cost", "Age"]
    assert wide == ["Version", "Quantization", "Message"]


@KIND
def test_columns_of_one_field_point_into_the_schema(kind: str) -> None:
    (version,) = DEFINITIONS[kind]["spec"]["versions"]
    known = {path for path, _ in nodes(schema(kind))} | {".metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        if "[" not in column["jsonPath"]:
            assert column["jsonPath"] in known
