"""A real kube-state-metrics exports the state of real objects, with the shipped configuration and permissions."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.api_server import ApiServer
from builders.pages import ROOT, yaml_blocks
from builders.world import CLASS, World
from inference_fleet.sandbox.tools import silent, tool_path

CONFIG = ROOT / "manifests/monitoring/kube-state-metrics.yaml"
GROUP = "inferencefleet.io/v1alpha1"
ACCOUNT = "kube-state-metrics"
_SERIES = re.compile(r"^(?P<name>\w+)\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer(authorization="RBAC") as started:
        started.define()
        objects = yaml.safe_load((ROOT / "manifests/samples/accelerator-class.yaml").read_text().split("---")[0])
        priced = {"apiVersion": GROUP, "kind": "AcceleratorClass", **CLASS}
        world = World(suspend=False)
        world.settle()
        world.decide(3)
        world.settle()
        metadata = {"name": "llama", "namespace": "default"}
        model = {"apiVersion": GROUP, "kind": "InferenceDeployment", "metadata": metadata}
        for obj in (objects, priced, {**model, "spec": world.deployment["spec"]}):
            started.must("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))
        patch = json.dumps({"status": world.deployment["status"]})
        started.must("patch", "infd", "llama", "--subresource=status", "--type=merge", "-p", patch)
        yield started


def kubeconfig(server: ApiServer, folder: Path, *, permitted: bool) -> Path:
    """Of a service account that has the page's permissions, or none."""
    name = ACCOUNT if permitted else f"{ACCOUNT}-without"
    server.must("create", "serviceaccount", name)
    if permitted:
        (rules,) = (block for block in yaml_blocks("docs/how-to/monitor.md") if "customresourcedefinitions" in block)
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
        server.must("create", "-f", "-", stdin=json.dumps({**role, "rules": yaml.safe_load(rules)}))
        server.must("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount=default:{name}")
    config = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"]["token"] = server.must("create", "token", name).strip()
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


@contextlib.contextmanager
def exporter(config: Path, folder: Path) -> Iterator[str]:
    """kube-state-metrics, of our kinds alone; its address."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        port, own = one.getsockname()[1], other.getsockname()[1]
    binary = tool_path("kube-state-metrics", progress=silent)
    command = [
        str(binary),
        f"--kubeconfig={config}",
        f"--custom-resource-state-config-file={CONFIG}",
        "--custom-resource-state-only=true",
        "--host=127.0.0.1",
        f"--port={port}",
        "--telemetry-host=127.0.0.1",
        f"--telemetry-port={own}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}/metrics"
        finally:
            process.terminate()
            process.wait(20)


def page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def series(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for match in _SERIES.finditer(text):
        labels = dict(_LABEL.findall(match["labels"]))
        found.setdefault(match["name"], []).append((labels, float(match["value"])))
    return found


def promised() -> set[str]:
    resources = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["spec"]["resources"]
    return {f"{each['metricNamePrefix']}_{metric['name']}" for each in resources for metric in each["metrics"]}


def until(address: str, names: set[str], *, seconds: float) -> str:
    """The page once it has all these series, or as it is when the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not names <= set(series(page(address))):
        time.sleep(0.2)
    return page(address)


# The first use builds kube-state-metrics.
@pytest.mark.timeout(900)
def test_every_series_of_the_configuration_is_exported_with_values_of_the_objects(
    server: ApiServer, tmp_path: Path
) -> None:
    tool_path("kube-state-metrics", progress=silent)
    with exporter(kubeconfig(server, tmp_path, permitted=True), tmp_path) as address:
        found = series(until(address, promised(), seconds=60))
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert promised() - set(found) == set(), log
    of_model: dict[str, Any] = {"namespace": "default", "inference_deployment": "llama"}
    for name in ("replicas_desired", "replicas_ready", "replicas", "devices"):
        (labels, value) = one(found, f"kube_inference_deployment_status_{name}")
        assert of_model.items() <= labels.items()
        assert value == 3, name
    assert one(found, "kube_inference_deployment_status_cost_per_hour")[1] == pytest.approx(3 * 0.80)
    assert one(found, "kube_inference_deployment_info")[0]["version"] == "0.33.0"
    ready = [
        (labels["status"], value)
        for labels, value in found["kube_inference_deployment_status_condition"]
        if labels["type"] == "Ready"
    ]
    assert sorted(ready) == [("False", 0), ("True", 1), ("Unknown", 0)]
    assert one(found, "kube_inference_deployment_spec_suspend")[1] == 0
    prices = {
        labels["accelerator_class"]: value for labels, value in found["kube_accelerator_class_cost_per_device_hour"]
    }
    assert prices == {"nvidia-h100-80gb": 2.49, "nvidia-l4": 0.80}
    assert "error" not in log.lower(), log


def test_without_the_permissions_of_the_page_it_exports_nothing(server: ApiServer, tmp_path: Path) -> None:
    with exporter(kubeconfig(server, tmp_path, permitted=False), tmp_path) as address:
        until(address, set(), seconds=1)
        deadline = time.monotonic() + 30
        while "forbidden" not in (tmp_path / "log").read_text(encoding="utf-8") and time.monotonic() < deadline:
            time.sleep(0.2)
        assert series(page(address)).keys() & promised() == set()
    assert "cannot list resource" in (tmp_path / "log").read_text(encoding="utf-8")


def one(found: dict[str, list[tuple[dict[str, str], float]]], name: str) -> tuple[dict[str, str], float]:
    (only,) = found[name]
    return only
