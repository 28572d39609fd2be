"""The mode External with what people scale by elsewhere: a real HorizontalPodAutoscaler through /scale."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.operator_sandbox import OperatorSandbox

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "manifests/samples/scaling-modes/external.yaml"
STUB = ROOT / "tests/builders/external_metrics.py"
ADDRESS, PORT = "10.244.0.1", 18443
NAME = "external"


@pytest.fixture
def metric(operator_world: OperatorSandbox, tmp_path: Path) -> Iterator[Path]:
    """The file that holds the metric's value, and the API that serves it."""
    pki = operator_world.sandbox.folder.pki
    value = tmp_path / "value"
    value.write_text("1", encoding="utf-8")
    words = (ADDRESS, str(PORT), str(pki / "kube-apiserver.crt"), str(pki / "kube-apiserver.key"), str(value))
    command = operator_world.sandbox.exec_command((sys.executable, str(STUB), *words))
    stub = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "external-metrics", "namespace": "kube-system"},
        # The API server asks there itself; no pod of the sandbox serves it.
        "spec": {"type": "ExternalName", "externalName": ADDRESS, "ports": [{"port": PORT}]},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "external-metrics", "namespace": "kube-system", "port": PORT},
        },
    }
    try:
        operator_world.apply(service)
        operator_world.apply(registration)
        operator_world.kubectl(
            "wait", "apiservice/v1beta1.external.metrics.k8s.io", "--for=condition=Available", "--timeout=60s"
        )
        yield value
    finally:
        for kind, name in (("apiservice", "v1beta1.external.metrics.k8s.io"), ("service", "external-metrics")):
            operator_world.kubectl("delete", kind, name, "-n", "kube-system", "--ignore-not-found")
        stub.terminate()
        stub.wait(10)


def autoscaler() -> dict[str, Any]:
    """The sample's, for the deployment of this test, and without the half hour."""
    found: list[dict[str, Any]] = list(yaml.safe_load_all(SAMPLE.read_text(encoding="utf-8")))
    (hpa,) = (obj for obj in found if obj["kind"] == "HorizontalPodAutoscaler")
    hpa["metadata"] = {"name": NAME, "namespace": "default"}
    hpa["spec"]["scaleTargetRef"]["name"] = NAME
    hpa["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 0
    return hpa


def test_an_autoscaler_scales_through_the_scale_subresource(operator_world: OperatorSandbox, metric: Path) -> None:
    world = operator_world
    world.deploy(NAME, scaling={"mode": "External"})
    try:
        world.wait_condition(NAME, "Ready")
        world.apply(autoscaler())
        # 40 requests in flight at 16 a replica.
        metric.write_text("40", encoding="utf-8")
        world.wait(NAME, ".status.readyReplicas", "3")
        hpa = json.loads(world.kubectl("get", "hpa", NAME, "-o", "json"))
        conditions = {each["type"]: each["status"] for each in hpa["status"]["conditions"]}
        assert (conditions["AbleToScale"], conditions["ScalingActive"]) == ("True", "True")
        found = world.get("infd", NAME)
        assert found["spec"]["replicas"] == 3
        assert found["status"]["scaling"]["lastDecision"]["rule"] == "External"
        # What Git says is applied again: nothing changes, the count least of all.
        world.deploy(NAME, scaling={"mode": "External"})
        again = world.get("infd", NAME)
        assert (again["spec"], again["metadata"]["generation"]) == (found["spec"], found["metadata"]["generation"])
        metric.write_text("16", encoding="utf-8")
        world.wait(NAME, ".status.replicas", "1")
        # The count is the autoscaler's: the operator has not written it.
        managers = {
            entry["manager"]: entry["fieldsV1"].get("f:spec", {})
            for entry in json.loads(world.kubectl("get", "infd", NAME, "-o", "json", "--show-managed-fields"))[
                "metadata"
            ]["managedFields"]
        }
        assert "f:replicas" not in managers["kubectl"]
    finally:
        world.kubectl("delete", "hpa", NAME, "--ignore-not-found")
        world.remove(NAME)
