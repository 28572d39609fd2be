"""The operator as a pod, under its own role, against the real control plane, kubelet and Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from builders.operator_sandbox import OPERATOR_ACCOUNT, OperatorSandbox, manifest

SLOW = [
    {"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "1"},
    {"name": "INFERENCE_FLEET_EMULATOR_STEP_BASE_SECONDS", "value": "0.1"},
]
PROMPT = {"model": "chat", "prompt": [11, 12, 13], "max_tokens": 8}


@pytest.fixture
def world(operator_world: OperatorSandbox) -> OperatorSandbox:
    return operator_world


@pytest.fixture
def name(world: OperatorSandbox, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for an InferenceDeployment that is gone after the test."""
    chosen = "t" + str(abs(hash(request.node.name)) % 10**8)
    yield chosen
    world.remove(chosen)


def test_an_inference_deployment_becomes_ready_and_serves_tokens_behind_its_service(
    world: OperatorSandbox, name: str
) -> None:
    world.deploy(name)
    world.wait_condition(name, "Ready")
    status, text = world.request(name, "/v1/completions", {**PROMPT, "model": name})
    assert status == 200
    assert json.loads(text)["usage"]["completion_tokens"] == 8
    found = world.get("infd", name)["status"]
    assert found["summary"]["replicas"] == "1/1"
    assert found["endpoint"]["url"] == f"http://{name}.default.svc:8000"


def test_manual_replicas_and_scale_are_followed(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, scaling={"mode": "Manual"}, replicas=1)
    world.wait_condition(name, "Ready")
    world.kubectl("scale", "infd", name, "--replicas=3")
    world.wait(name, ".status.readyReplicas", "3")
    world.kubectl("scale", "infd", name, "--replicas=1")
    world.wait(name, ".status.replicas", "1")


@pytest.mark.parametrize(
    ("mode", "count"), [("Automatic", None), ("Manual", 1), ("Manual", None)], ids=["automatic", "manual", "by-hand"]
)
def test_git_and_cluster_stay_the_same_under_the_operators_writes(
    world: OperatorSandbox, name: str, mode: str, count: int | None
) -> None:
    in_git = json.dumps(manifest(name, scaling={"mode": mode}, **({} if count is None else {"replicas": count})))
    world.kubectl("apply", "--server-side", "-f", "-", stdin=in_git)
    if mode == "Manual" and count is None:
        # Whoever leaves the count out of Git may set it by hand.
        world.kubectl("scale", "infd", name, "--replicas=1")
    world.wait_condition(name, "Ready")
    before = world.get("infd", name)
    # It ends with an error where anything differs.
    world.kubectl("diff", "--server-side", "-f", "-", stdin=in_git)
    world.kubectl("apply", "--server-side", "-f", "-", stdin=in_git)
    after = world.get("infd", name)
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    shown = json.loads(world.kubectl("get", "infd", name, "-o", "json", "--show-managed-fields"))
    ours = [entry for entry in shown["metadata"]["managedFields"] if entry["manager"] == "inference-fleet"]
    owned = {f"{part}.{field}" for entry in ours for part, fields in entry["fieldsV1"].items() for field in fields}
    assert "f:status.f:conditions" in owned
    # A count that nobody says is filled in, so that it can be set by hand.
    allowed = {"f:spec.f:replicas"} if mode == "Manual" and count is None else set()
    assert {field for field in owned if not field.startswith("f:status.")} <= allowed


def test_a_settled_object_costs_no_writes_through_resyncs(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, scaling={"mode": "Manual"}, replicas=2)
    world.wait_condition(name, "Ready")
    world.wait(name, ".status.readyReplicas", "2")
    # Its first decisions are told; then there is nothing left to say.
    world.wait(name, ".status.scaling.signals.state", "Idle")
    before = len(world.audit())
    lists = _lists(world, before)
    while _lists(world, before) < lists + 3:
        # The resync lists everything every five seconds; the cluster's own clock is what is waited for.
        world.kubectl("get", "--raw", "/livez")
    writes = [write for write in world.operator_writes(since=before) if write[1] != "configmaps"]
    assert writes == []


def test_a_refused_spec_keeps_what_serves_and_is_corrected_without_help(world: OperatorSandbox, name: str) -> None:
    world.deploy(name)
    world.wait_condition(name, "Ready")
    pods = {pod["metadata"]["name"] for pod in world.items("pods", of=name)}
    world.deploy(name, engine={"vllm": {"extraArgs": ["--no-such-flag=1"]}})
    world.wait_condition(name, "Accepted", "False")
    condition = world.condition(name, "Accepted")
    assert condition["reason"] == "UnsupportedFlag"
    assert "spec.engine.vllm.extraArgs[0]" in condition["message"]
    status, _ = world.request(name, "/v1/completions", {**PROMPT, "model": name})
    assert status == 200
    world.deploy(name)
    world.wait_condition(name, "Ready")
    assert {pod["metadata"]["name"] for pod in world.items("pods", of=name)} == pods


def test_a_new_revision_replaces_the_old_without_losing_a_request(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, scaling={"mode": "Manual"}, replicas=2)
    world.wait_condition(name, "Ready")
    load = _load(world, name, seconds=25, rate=3)
    world.deploy(name, scaling={"mode": "Manual"}, replicas=2, engine={"vllm": {"maxModelLen": 1024}})
    world.wait_condition(name, "RolledOut", "False")
    world.wait_condition(name, "RolledOut")
    summary = _summary(load)
    assert summary["failed"] == 0
    assert summary["cut"] == 0
    assert summary["sent"] > 30
    counts = [pool["spec"]["replicas"] for pool in world.items("replicasets", of=name)]
    assert sorted(counts) == [0, 2]


def test_scaling_down_cuts_no_stream(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, scaling={"mode": "Manual"}, replicas=3, pod={"env": SLOW})
    world.wait_condition(name, "Ready")
    world.wait(name, ".status.readyReplicas", "3")
    load = _load(world, name, seconds=20, rate=2)
    world.kubectl("scale", "infd", name, "--replicas=1")
    world.wait(name, ".status.replicas", "1")
    summary = _summary(load)
    assert (summary["failed"], summary["cut"]) == (0, 0)


def test_an_engine_that_does_not_start_is_named(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, pod={"env": [{"name": "INFERENCE_FLEET_EMULATOR_OUT_OF_MEMORY", "value": "1"}]})
    world.wait_condition(name, "Accepted")
    world.kubectl(
        "wait",
        f"infd/{name}",
        '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=OutOfDeviceMemory',
        "--timeout=90s",
    )
    assert "memory is not enough" in world.condition(name, "Ready")["message"]
    assert world.condition(name, "Reconciling")["status"] == "True"


def test_replicas_without_devices_are_named_by_the_schedulers_words(world: OperatorSandbox, name: str) -> None:
    # Of six devices one replica takes four.
    wide = {"vllm": {"parallelism": {"tensorParallelSize": 4}}}
    world.deploy(name, scaling={"mode": "Manual"}, replicas=2, engine=wide)
    world.wait_condition(name, "CapacityAvailable", "False")
    condition = world.condition(name, "CapacityAvailable")
    assert condition["reason"] == "WaitingForDevices"
    assert "Insufficient nvidia.com/gpu" in condition["message"]
    # An engine heeds no SIGTERM while it starts: one that serves ends sooner.
    world.wait(name, ".status.readyReplicas", "1")


def test_deleting_takes_the_children_along_with_the_operator_down(world: OperatorSandbox, name: str) -> None:
    world.deploy(name)
    world.deploy(f"{name}-other")
    world.wait_condition(name, "Ready")
    world.wait_condition(f"{name}-other", "Ready")
    world.scale_operator(0)
    try:
        world.remove(name)
        for kind in ("replicasets", "services", "poddisruptionbudgets", "serviceaccounts", "controllerrevisions"):
            selector = f"inferencefleet.io/deployment={name}"
            world.kubectl("wait", "--for=delete", kind, "-l", selector, "--timeout=60s")
        assert len(world.items("pods", of=f"{name}-other")) == 1
    finally:
        world.scale_operator(1)
        world.remove(f"{name}-other")


def test_killing_the_operator_during_a_scale_up_changes_no_pod_and_the_end_is_the_same(
    world: OperatorSandbox, name: str
) -> None:
    world.deploy(name, scaling={"mode": "Manual"}, replicas=1)
    world.wait_condition(name, "Ready")
    (pod,) = world.items("pods", of=name)
    world.kubectl("scale", "infd", name, "--replicas=3")
    selector = "app.kubernetes.io/component=operator"
    world.kubectl("delete", "pod", "-l", selector, "-n", "inference-fleet-system", "--grace-period=0", "--force")
    world.wait(name, ".status.readyReplicas", "3")
    names = {found["metadata"]["name"] for found in world.items("pods", of=name)}
    assert pod["metadata"]["name"] in names
    assert len(names) == 3
    world.operator_ready()


def test_load_scales_up_and_quiet_scales_down(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, pod={"env": SLOW}, engine={"vllm": {"batching": {"maxNumSeqs": 4}}})
    world.wait_condition(name, "Ready")
    load = _load(world, name, seconds=40, rate=3)
    world.wait(name, ".status.readyReplicas", "4", seconds=60)
    summary = _summary(load)
    assert (summary["failed"], summary["cut"]) == (0, 0)
    last = world.get("infd", name)["status"]["scaling"]["lastDecision"]
    assert {term["name"] for term in last["terms"]} >= {"running", "waiting"}
    # Young scalers hold for minutes when starts are short of three; here they took seconds.
    world.wait(name, ".status.scaling.desiredReplicas", "1", seconds=200)


def test_an_operator_without_a_memory_goes_on_from_what_prometheus_has(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, pod={"env": SLOW}, engine={"vllm": {"batching": {"maxNumSeqs": 4}}})
    world.wait_condition(name, "Ready")
    load = _load(world, name, seconds=60, rate=3)
    world.wait(name, ".status.readyReplicas", "4", seconds=60)
    selector = "app.kubernetes.io/component=operator"
    place = ("-n", "inference-fleet-system")
    # Killed, it saves nothing; what it saved before is taken away.
    world.kubectl("delete", "pod", "-l", selector, *place, "--grace-period=0", "--force")
    world.kubectl("delete", "configmap", f"{name}-scaler-memory", "--ignore-not-found")
    world.operator_ready()
    assert int(world.get("infd", name)["status"]["readyReplicas"]) == 4
    summary = _summary(load)
    assert (summary["failed"], summary["cut"]) == (0, 0)
    told = world.kubectl("logs", "-l", selector, *place, "--tail=-1")
    assert "scalers go on from the last" in told
    assert "cannot be asked for" not in told


def test_a_pod_that_prometheus_does_not_scrape_is_named_until_it_does_again(world: OperatorSandbox, name: str) -> None:
    world.deploy(name, scaling={"mode": "Automatic", "minReplicas": 2, "maxReplicas": 2})
    world.wait_condition(name, "Ready")
    world.wait(name, ".status.scaling.signals.state", "Idle")
    pod, other = sorted(pod["metadata"]["name"] for pod in world.items("pods", of=name))
    with _unscraped(world, pod):
        world.wait(name, ".status.scaling.signals.state", "Fresh")
        told = f"1 of 2 pods is silent: Prometheus has no sample of {pod}"
        assert told in world.condition(name, "ScalingActive")["message"]
        assert told in world.get("infd", name)["status"]["scaling"]["lastDecision"]["message"]
    world.wait(name, ".status.scaling.signals.state", "Idle")
    assert "silent" not in world.condition(name, "ScalingActive")["message"]
    assert {found["metadata"]["name"] for found in world.items("pods", of=name)} == {pod, other}


@contextlib.contextmanager
def _unscraped(world: OperatorSandbox, pod: str) -> Iterator[None]:
    """While Prometheus scrapes no target of this name: its series end as those of one that is refused do."""
    file = world.sandbox.folder.path / "prometheus.yml"
    usual = file.read_text(encoding="utf-8")
    config = yaml.safe_load(usual)
    for job in config["scrape_configs"]:
        job["relabel_configs"].append({"source_labels": ["pod"], "regex": pod, "action": "drop"})
    (pid,) = (each["pid"] for each in world.sandbox.status()["processes"] if each["name"] == "prometheus")
    try:
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        os.kill(pid, signal.SIGHUP)
        yield
    finally:
        file.write_text(usual, encoding="utf-8")
        os.kill(pid, signal.SIGHUP)


def _lists(world: OperatorSandbox, since: int) -> int:
    return sum(
        entry["verb"] == "list"
        and entry["user"]["username"] == OPERATOR_ACCOUNT
        and (entry.get("objectRef") or {}).get("resource") == "replicasets"
        for entry in world.audit()[since:]
    )


def _load(world: OperatorSandbox, name: str, *, seconds: int, rate: int) -> subprocess.Popen[str]:
    command = world.on_node(
        *(sys.executable, "-m", "inference_fleet.load", "--url", world.service_url(name), "--model", name),
        *("--duration", str(seconds), "--base-rate", str(rate), "--peak-rate", str(rate), "--timeout", "90"),
    )
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _summary(load: subprocess.Popen[str]) -> dict[str, float]:
    out, errors = load.communicate(timeout=150)
    assert load.returncode == 0, errors
    lines = [json.loads(line) for line in out.splitlines()]
    failures = [line["error"] for line in lines if line["kind"] == "outcome" and line["error"]]
    summary: dict[str, float] = lines[-1]
    assert not failures, failures[:5]
    return summary
