"""The configuration for kube-state-metrics is well formed, and every path in it leads to a field of the definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CONFIG = yaml.safe_load((ROOT / "manifests/monitoring/kube-state-metrics.yaml").read_text(encoding="utf-8"))
DEFINITIONS = {
    definition["spec"]["names"]["kind"]: definition["spec"]
    for definition in (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "crds").glob("*.yaml"))
    if definition["kind"] == "CustomResourceDefinition"
}
# The fields of metadata that the API server sets on every object.
METADATA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "creationTimestamp": {"type": "string", "format": "date-time"},
        "generation": {"type": "integer"},
    },
}
# What kube-state-metrics can make a number of; strings only where they are quantities or times.
NUMBERS = {"integer", "number", "boolean", "string"}
METRICS = [
    pytest.param(resource, metric, id=f"{resource['metricNamePrefix']}_{metric['name']}")
    for resource in CONFIG["spec"]["resources"]
    for metric in resource["metrics"]
]


def schema(kind: str) -> dict[str, Any]:
    (version,) = DEFINITIONS[kind]["versions"]
    root = dict(version["schema"]["openAPIV3Schema"])
    root["properties"] = {**root["properties"], "metadata": METADATA}
    return root


def at(node: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """The schema of the field that a path leads to; KeyError where it leads nowhere."""
    for part in path:
        node = node["properties"][part]
    return node


def labels(resource: Mapping[str, Any], metric: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for place in (resource, metric):
        yield from place.get("labelsFromPath", {}).items()


@pytest.mark.parametrize(("resource", "metric"), METRICS)
def test_every_path_leads_to_a_field(resource: Mapping[str, Any], metric: Mapping[str, Any]) -> None:
    root = schema(resource["groupVersionKind"]["kind"])
    for _, path in labels(resource, metric):
        assert at(root, path)["type"] in ("string", "integer")
    each = metric["each"]
    found = each[each["type"][0].lower() + each["type"][1:]]
    target = at(root, found.get("path", []))
    item = target["items"] if target.get("type") == "array" else target
    for path in found.get("labelsFromPath", {}).values():
        assert at(item, path)["type"] == "string"
    if each["type"] == "Gauge":
        assert at(item, found.get("valueFrom", []))["type"] in NUMBERS
        # An object would be walked key by key.
        assert target["type"] != "object"
    if each["type"] == "StateSet":
        value = at(item, found["valueFrom"])
        assert value["type"] == "string"
        assert set(found["list"]) >= set(value.get("enum", found["list"]))


@pytest.mark.parametrize(("resource", "metric"), METRICS)
def test_every_metric_has_the_parts_of_its_type(resource: Mapping[str, Any], metric: Mapping[str, Any]) -> None:
    parts = {
        "Gauge": {"path", "valueFrom", "labelsFromPath", "nilIsZero"},
        "Info": {"path", "labelsFromPath"},
        "StateSet": {"path", "valueFrom", "labelsFromPath", "labelName", "list"},
    }
    each = metric["each"]
    assert set(metric) <= {"name", "help", "each", "labelsFromPath"}
    assert set(each) == {"type", each["type"][0].lower() + each["type"][1:]}
    assert set(each[each["type"][0].lower() + each["type"][1:]]) <= parts[each["type"]]
    assert metric["help"].endswith(".")


def test_the_kinds_are_those_of_the_definitions_and_names_are_unique() -> None:
    for resource in CONFIG["spec"]["resources"]:
        kind = resource["groupVersionKind"]
        definition = DEFINITIONS[kind["kind"]]
        assert kind["group"] == definition["group"]
        assert kind["version"] in [version["name"] for version in definition["versions"]]
        names = [metric["name"] for metric in resource["metrics"]]
        assert len(set(names)) == len(names)
    assert {resource["groupVersionKind"]["kind"] for resource in CONFIG["spec"]["resources"]} == set(DEFINITIONS)
