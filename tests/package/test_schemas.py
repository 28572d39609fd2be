"""kubeconform finds every object that is shipped in order, by the schemas that a real API server publishes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders.api_server import ApiServer
from builders.rendered import CLASSES, MONITORING, ROOT, Object, call, kustomized, overlay, rendered
from builders.server_schemas import write_schemas

MANIFESTS: Final = ROOT / "manifests"
# Kinds of the Prometheus operator: promtool reads the rules (test_monitoring_rules.py), nothing here the monitors.
NEIGHBOURS: Final = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
# What tools read and no API server.
NO_OBJECTS: Final = {"", "Kustomization", "Component", "CustomResourceStateMetrics"}
SECRET: Final = {"name": "prometheus", "key": "token"}
EVERY_SWITCH: Final[Object] = {
    "prometheus": {"url": "https://prometheus:9090", "certificateAuthority": SECRET, "token": SECRET},
    "settings": {"logLevel": "debug", "tickSeconds": 5, "resyncSeconds": 3600, "workers": 4},
    "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "userRoles": {"view": True, "edit": True},
    "admissionPolicies": {"operator": True, "tenants": True},
    "acceleratorCatalogue": {"install": True, "prices": {"nvidia-l4": {"perDeviceHour": "0.80", "currency": "EUR"}}},
    "monitoring": {key: {"enabled": True} for key in ("serviceMonitor", "podMonitor", "rules", "dashboards")},
    "networkPolicy": {"enabled": True},
    "podLabels": {"team": "ml"},
    "podAnnotations": {"note": "x"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "priorityClassName": "high",
    "tolerations": [{"operator": "Exists"}],
}
# The first use builds kubeconform.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the schemas of an API server with our definitions lie."""
    with ApiServer() as server:
        server.define()
        yield write_schemas(server, tmp_path_factory.mktemp("schemas"))


def faults(objects: list[Object], *, schemas: str) -> list[str]:
    """What kubeconform says against the objects; it must have looked at each."""
    words = ("-strict", "-output", "json", "-summary", "-schema-location", schemas, "-skip", ",".join(NEIGHBOURS))
    told = call("kubeconform", *words, stdin="\n---\n".join(map(json.dumps, objects)))
    result = json.loads(told.stdout)
    summary = result["summary"]
    assert summary["skipped"] == sum(each["kind"] in NEIGHBOURS for each in objects)
    assert sum(summary.values()) == len(objects)
    found = [f"{each['kind']} {each['name']}: {each['msg']}" for each in result["resources"]]
    assert bool(found) == bool(summary["invalid"] or summary["errors"]) == bool(told.returncode)
    return found


def shipped_files() -> list[Path]:
    return [path for folder in (MANIFESTS, ROOT / "crds") for path in sorted(folder.rglob("*.yaml"))]


def written_in(path: Path) -> list[Object]:
    """The objects of a file."""
    documents = yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return [each for each in documents if isinstance(each, dict) and each.get("kind", "") not in NO_OBJECTS]


def installations(folder: Path) -> Iterator[list[Object]]:
    """Everything that kustomize and Helm can be made to install."""
    for path in shipped_files():
        if path.name == "kustomization.yaml" and "kind: Kustomization" in path.read_text(encoding="utf-8"):
            yield kustomized(path.parent)
    for path in sorted((MANIFESTS / "components").iterdir()):
        yield overlay(folder / path.name, path.name)
    known = (*MONITORING, *CLASSES)
    yield rendered()
    yield rendered(*known, values=EVERY_SWITCH, folder=folder)
    yield rendered(*known, values={**EVERY_SWITCH, "namespaces": ["chat", "code"]}, folder=folder)


def test_everything_that_is_shipped_is_as_the_api_servers_schemas_want_it(schemas: str, tmp_path: Path) -> None:
    samples = [each for path in sorted((MANIFESTS / "samples").rglob("*.yaml")) for each in written_in(path)]
    # Most objects are in most installations.
    objects = {json.dumps(each): each for some in (samples, *installations(tmp_path)) for each in some}
    looked_at = {(each["kind"], each["metadata"]["name"]) for each in objects.values()}
    files = {(each["kind"], each["metadata"]["name"]): path for path in shipped_files() for each in written_in(path)}
    assert files.keys() - looked_at == set(), "a file that belongs to no installation and is no sample"
    assert faults(list(objects.values()), schemas=schemas) == []


def changed(obj: Object, path: str, value: Any) -> Object:
    """The object with one field set, or left out if the value is None."""
    found: Any = copy.deepcopy(obj)
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    node = found
    for part in parents:
        node = node[part]
    node[last] = value
    if value is None:
        del node[last]
    return dict(found)


BROKEN: Final = [
    ("Deployment", "spec.template.spec.containers.0.port", 1, "additional properties 'port' not allowed"),
    ("Deployment", "spec.replicas", "two", "got string, want integer"),
    ("Deployment", "spec.selector", None, "missing property 'selector'"),
    ("NetworkPolicy", "spec.egress.0.ports.0.port", ["http"], "got array"),
    ("CustomResourceDefinition", "spec.versions.0.storages", True, "additional properties 'storages' not allowed"),
    ("ValidatingAdmissionPolicy", "spec.validations.0.expresion", "x", "additional properties 'expresion' not allowed"),
]


@pytest.mark.parametrize(("kind", "path", "value", "told"), BROKEN)
def test_what_an_api_server_would_refuse_or_drop_is_found(
    schemas: str, tmp_path: Path, kind: str, path: str, value: Any, told: str
) -> None:
    objects = overlay(tmp_path / "overlay", "network-policy", "monitoring")
    place = next(number for number, each in enumerate(objects) if each["kind"] == kind)
    broken = changed(objects[place], path, value)
    (found,) = faults([*objects[:place], broken, *objects[place + 1 :]], schemas=schemas)
    assert told in found, found


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("spec.engine.vllm.maxModelLength", 1, "additional properties 'maxModelLength' not allowed"),
        ("spec.scaling.mode", "Sometimes", "must be one of 'Automatic', 'Manual', 'External'"),
        ("spec.variants", None, "missing property 'variants'"),
    ],
)
def test_a_sample_with_a_mistake_is_found(schemas: str, path: str, value: Any, told: str) -> None:
    (sample,) = (each for each in written_in(MANIFESTS / "samples/llama-8b.yaml"))
    assert faults([sample], schemas=schemas) == []
    (found,) = faults([changed(sample, path, value)], schemas=schemas)
    assert told in found, found
