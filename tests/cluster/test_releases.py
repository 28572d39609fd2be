"""The operator's releases come and go, by kustomize, Helm 4 and Helm 3: models serve through all of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.baseline import recorded, releases, restore
from builders.helm import CHART, SYSTEM, Helm, prepared, settings
from builders.operator_sandbox import OperatorSandbox
from inference_fleet.adapters.ports import Resource
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS, PODS, SERVICES

MODEL_CHART = Path(__file__).resolve().parents[1] / "data/model-chart"
OPERATOR = settings(
    {"prometheus.url": "http://10.244.0.1:9090", "settings.tickSeconds": "5", "settings.resyncSeconds": "10"}
)
DEFINITIONS = ["acceleratorclasses.inferencefleet.io", "inferencedeployments.inferencefleet.io"]
MODEL, LEARNING, RECORDED = "kept", "learning", "manual"
# A secret's value, and one that somebody wrote into an environment variable in plain sight.
TOKEN, WORD = "s3ntinel-0f-a-token", "s3ntinel-0f-a-word"
SPEC_ENV = [{"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "1"}]
PROMPT = {"model": MODEL, "prompt": [11, 12, 13], "max_tokens": 4}
HELMS = [
    pytest.param("helm", id="helm-4"),
    pytest.param("helm3", id="helm-3", marks=pytest.mark.skipif(not prepared("helm3"), reason="make setup-helm")),
]


@pytest.fixture(scope="module")
def world(operator_world: OperatorSandbox) -> Iterator[OperatorSandbox]:
    """A model that serves, and whose operator, once installed by kustomize, is gone as its pages say."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": "default"}}
    operator_world.apply({**secret, "stringData": {"token": TOKEN}})
    source = {"huggingFace": {"repository": "example/model", "tokenSecretRef": {"name": "hub", "key": "token"}}}
    # The operator's own settings of the pod come first, then this one.
    env = [*SPEC_ENV, {"name": "NO_PROXY", "value": WORD}]
    operator_world.deploy(MODEL, scaling={"mode": "Manual"}, replicas=1, model=source, pod={"env": env})
    operator_world.wait_condition(MODEL, "Ready")
    # One whose scaler learns something, and writes it down when its operator ends.
    operator_world.deploy(LEARNING)
    operator_world.wait_condition(LEARNING, "Ready")
    operator_world.kubectl("delete", "namespace", SYSTEM, "--timeout=120s")
    kinds = "clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding"
    operator_world.kubectl("delete", kinds, "-l", "app.kubernetes.io/name=inference-fleet")
    put_back(operator_world)
    yield operator_world
    for name in (MODEL, LEARNING, RECORDED):
        operator_world.remove(name)
    # Kustomize takes over what Helm has left.
    operator_world.install()


def put_back(world: OperatorSandbox) -> None:
    """One model as the first release left it: its objects, and pods that its ReplicaSets make anew."""

    def put(resource: Resource, body: dict[str, Any]) -> str:
        status = body.pop("status", None)
        if resource == PODS:
            return ""
        if resource == SERVICES:
            body["spec"] = {key: value for key, value in body["spec"].items() if not key.startswith("clusterIP")} | (
                {"clusterIP": "None"} if body["spec"]["clusterIP"] == "None" else {}
            )
        made = json.loads(world.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(body)))
        if resource == INFERENCE_DEPLOYMENTS:
            # What the recorded operator said, of the generation that the object has now.
            generation = made["metadata"]["generation"]
            spoken = [{**each, "observedGeneration": generation} for each in status["conditions"]]
            told = {"status": {**status, "observedGeneration": generation, "conditions": spoken}}
            patch = ("--subresource=status", "--type=merge", "-p", json.dumps(told))
            world.kubectl("patch", "infd", body["metadata"]["name"], *patch)
        return str(made["metadata"]["uid"])

    objects = [
        obj
        for obj in recorded(releases()[0])
        if (obj["metadata"].get("labels") or {}).get("inferencefleet.io/deployment") == RECORDED
        or (obj["kind"], obj["metadata"]["name"]) == ("InferenceDeployment", RECORDED)
    ]
    restore(objects, put)
    selector = ("-l", f"inferencefleet.io/deployment={RECORDED}")
    world.kubectl("wait", "pod", *selector, "--for=condition=Ready", "--timeout=90s")


@pytest.fixture
def helm(world: OperatorSandbox, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Helm]:
    found = Helm(request.param, kubeconfig=world.sandbox.kubeconfig, home=tmp_path)
    yield found
    found.run("uninstall", "inference-fleet", "--ignore-not-found", "--wait", "--timeout", "120s")


def engines(world: OperatorSandbox, name: str = MODEL) -> dict[str, Any]:
    """Pods of the model that stay, and how often their engines began anew."""
    return {
        pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in world.items("pods", of=name)
        if "deletionTimestamp" not in pod["metadata"]
    }


def serves(world: OperatorSandbox) -> bool:
    status, text = world.request(MODEL, "/v1/completions", PROMPT)
    return status == 200 and json.loads(text)["usage"]["completion_tokens"] == 4


def told_of(world: OperatorSandbox, secret: str) -> list[str]:
    """Where a secret is told that should not be: everything that people can read, but for the spec that says it."""

    def without_spec(found: dict[str, Any]) -> str:
        return json.dumps([{key: value for key, value in obj.items() if key != "spec"} for obj in found["items"]])

    system = ("-n", SYSTEM)
    (pod, *_) = json.loads(world.kubectl("get", "pods", *system, "-o", "json"))["items"]
    address = f"http://{pod['status']['podIP']}:8080/metrics"
    fetch = "import sys,urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())"
    metrics = subprocess.run(
        world.on_node(sys.executable, "-c", fetch, address), capture_output=True, text=True, timeout=60, check=True
    )
    places = {
        "the operator's log": world.kubectl("logs", *system, "-l", "app.kubernetes.io/component=operator", "--tail=-1"),
        "the operator's metrics": metrics.stdout,
        "events": world.kubectl("get", "events", "-A", "-o", "json"),
    }
    for kind in ("infd", "replicasets", "pods", "services", "configmaps"):
        places[kind] = without_spec(json.loads(world.kubectl("get", kind, "-n", "default", "-o", "json")))
    for pod in world.items("pods", of=MODEL):
        (container,) = pod["spec"]["containers"]
        places["the engine's arguments"] = json.dumps([container["args"], pod["metadata"]])
    assert all(len(text) > 2 for text in places.values()), "all of it was looked at"
    return [place for place, text in places.items() if secret in text]


def follows(world: OperatorSandbox, replicas: int) -> None:
    """Returns when the operator has done as `kubectl scale` says."""
    world.kubectl("scale", "infd", MODEL, f"--replicas={replicas}")
    world.wait(MODEL, ".status.readyReplicas", str(replicas))
    world.wait(MODEL, ".status.replicas", str(replicas))


@pytest.mark.parametrize("helm", HELMS, indirect=True)
def test_a_release_is_installed_upgraded_and_uninstalled_while_a_model_serves(
    world: OperatorSandbox, helm: Helm
) -> None:
    # In all of the cluster, or by Roles in a list of namespaces.
    chosen = [*OPERATOR, *(("--set", "namespaces={default}") if helm.name == "helm3" else ())]
    before, taken_over = engines(world), engines(world, RECORDED)
    assert len(taken_over) == 2
    assert serves(world)
    # Definitions that kustomize or another release left have no owner that this Helm knows.
    begin = ("install", "inference-fleet", str(CHART), "--create-namespace", "--take-ownership", "--wait")
    helm.run(*begin, *chosen, "--timeout", "120s")
    assert world.get_system("deployment", "inference-fleet")["status"]["readyReplicas"] == 2, "--wait has waited"
    assert engines(world) == before
    follows(world, 2)
    follows(world, 1)
    before = engines(world)
    # By now the operator has looked at everything. Of what the first release left it has written status, if anything,
    # and at its end what the scaler has learned.
    assert engines(world, RECORDED) == taken_over
    assert {(kind, name) for _, kind, name in world.operator_writes(since=0) if name.startswith(RECORDED)} <= {
        ("inferencedeployments", RECORDED),
        ("configmaps", f"{RECORDED}-scaler-memory"),
    }
    assert world.get("infd", RECORDED)["metadata"]["generation"] == 1

    upgrade = ("upgrade", "inference-fleet", str(CHART), "--wait", *chosen, "--timeout", "120s")
    helm.run(*upgrade, "--set", "settings.logLevel=debug")
    container = world.get_system("deployment", "inference-fleet")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "INFERENCE_FLEET_LOG_LEVEL", "value": "debug"} in container["env"]
    assert engines(world) == before
    follows(world, 2)
    follows(world, 1)
    before = engines(world)
    # It has logged at its most talkative meanwhile.
    assert told_of(world, TOKEN) == []
    assert told_of(world, WORD) == []

    helm.run("uninstall", "inference-fleet", "--wait", "--timeout", "120s")
    world.kubectl("wait", "--for=delete", "pod", "--all", "-n", SYSTEM, "--timeout=60s")
    listed = json.loads(world.kubectl("get", "crd", "-o", "json"))["items"]
    assert [found["metadata"]["name"] for found in listed] == DEFINITIONS
    assert engines(world) == before
    assert serves(world)
    # Nothing of the release is left that a later one, by whatever tool, would stumble over.
    left = ("clusterrole,clusterrolebinding,validatingadmissionpolicy", "-l", "app.kubernetes.io/name=inference-fleet")
    assert world.kubectl("get", *left, "-o", "name") == ""


@pytest.mark.parametrize("helm", HELMS[:1], indirect=True)
def test_helm_waits_until_a_model_serves_and_fails_when_it_cannot(world: OperatorSandbox, helm: Helm) -> None:
    helm.run("install", "inference-fleet", str(CHART), "--create-namespace", "--wait", *OPERATOR, "--timeout", "120s")
    words = ("--wait", "--timeout", "100s")
    chart = str(MODEL_CHART)
    try:
        began = time.monotonic()
        helm.run("install", "slow", chart, *words, "--set", "coldStartSeconds=8", namespace="default")
        assert time.monotonic() - began > 8
        assert world.condition("slow", "Ready")["status"] == "True"

        # A change that is no good: it fails by what the object says, long before the time-out.
        began = time.monotonic()
        refused = helm.try_run(
            "upgrade", "slow", chart, *words, *settings({"extraArgs[0]": "--no-such-flag=1"}), namespace="default"
        )
        assert refused.returncode != 0
        assert time.monotonic() - began < 60
        assert "slow" in refused.stderr
        assert world.condition("slow", "Stalled")["status"] == "True"
        # The former spec serves on, and the way back is as short.
        helm.run("upgrade", "slow", chart, *words, "--set", "coldStartSeconds=8", namespace="default")
        assert world.condition("slow", "Ready")["status"] == "True"
    finally:
        helm.run("uninstall", "slow", "--wait", "--timeout", "120s", namespace="default")
