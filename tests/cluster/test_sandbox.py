from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_fleet.sandbox import cluster, namespaces
from inference_fleet.sandbox.cluster import Sandbox, SandboxError
from inference_fleet.sandbox.hollow import HOLLOW_LABEL
from inference_fleet.sandbox.state import Settings

_END_SECONDS = 20.0
NODES = ["node-1", "node-2"]
CONTROL_PLANE = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "prometheus"]


@pytest.fixture(scope="module")
def second() -> Iterator[Sandbox]:
    """Another one beside the first, with hollow nodes only."""
    with Sandbox.start(Settings(name=f"second-{os.getpid()}", nodes=0, hollow_nodes=2)) as running:
        yield running


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=10) as response:
        content = json.load(response)
    assert isinstance(content, dict)
    return content


def _all_processes(sandbox: Sandbox) -> set[int]:
    """Everything in the sandbox, pods and their helpers included: all below its outermost process."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {sandbox.outside.pid}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _wait_until_gone(processes: dict[int, int | None]) -> None:
    """`processes`: id -> start; fails with those that are still there."""
    deadline = time.monotonic() + _END_SECONDS
    for pid, started in processes.items():
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            gone = select.select((descriptor,), (), (), max(0.0, deadline - time.monotonic()))[0]
            assert gone or namespaces.start_ticks(pid) != started, Path(f"/proc/{pid}/cmdline").read_text()
        finally:
            os.close(descriptor)


def test_status_tells_the_ways_in_and_every_process(sandbox: Sandbox) -> None:
    found = sandbox.status()
    assert found["schemaVersion"] == "inference-fleet/sandbox/v1"
    assert [process["name"] for process in found["processes"]] == [*CONTROL_PLANE, *NODES]
    for process in found["processes"]:
        assert process["ready"]
        assert process["pid"] in _all_processes(sandbox)
    assert found["nodes"] == NODES
    assert found["kubernetesVersion"] == json.loads(sandbox.kubectl("version", "-o", "json"))["serverVersion"][
        "gitVersion"
    ].removeprefix("v")
    assert Path(found["kubeconfig"]).exists()
    assert found["apiServer"] in Path(found["kubeconfig"]).read_text()
    assert _get(found["prometheusUrl"] + "/api/v1/status/buildinfo")["status"] == "success"


def test_nodes_offer_their_gpus_when_the_sandbox_is_ready(sandbox: Sandbox) -> None:
    nodes = json.loads(sandbox.kubectl("get", "nodes", "-o", "json"))["items"]
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes] == ["2", "2"]


def test_the_hosts_kernel_settings_stay(sandbox: Sandbox, kernel_settings_before: dict[str, str]) -> None:
    assert sandbox.status()["nodes"] == NODES  # the kubelets, which want others, have been running
    assert {name: (Path("/proc/sys") / name).read_text() for name in kernel_settings_before} == kernel_settings_before


def test_commands_run_inside_with_kubectl_at_hand(sandbox: Sandbox) -> None:
    assert sandbox.exec("kubectl", "get", "nodes", "-o", "name").stdout == "node/node-1\nnode/node-2\n"
    assert sandbox.exec("sh", "-c", "exit 7").returncode == 7


def test_an_error_of_kubectl_carries_its_message(sandbox: Sandbox) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        sandbox.kubectl("get", "pod", "nobody")
    assert 'pods "nobody" not found' in str(failed.value.stderr)


def test_requests_show_in_the_audit_log(sandbox: Sandbox) -> None:
    sandbox.kubectl("create", "configmap", "seen")
    events = [json.loads(line) for line in (sandbox.folder.logs / "audit.log").read_text().splitlines()]
    created = [
        event for event in events if event["verb"] == "create" and event.get("objectRef", {}).get("name") == "seen"
    ]
    assert [event["user"]["username"] for event in created] == ["sandbox-admin"]
    resources = {event.get("objectRef", {}).get("resource") for event in events}
    assert "configmaps" in resources
    assert not resources & {"leases", "events"}
    sandbox.kubectl("delete", "configmap", "seen")


def test_two_sandboxes_do_not_see_each_other(sandbox: Sandbox, second: Sandbox) -> None:
    second.kubectl("create", "namespace", "only-here")
    assert "only-here" in second.kubectl("get", "namespaces", "-o", "name")
    assert "only-here" not in sandbox.kubectl("get", "namespaces", "-o", "name")
    assert second.kubectl("get", "nodes", "-o", "name") == "node/hollow-1\nnode/hollow-2\n"


def test_pods_seem_to_run_on_hollow_nodes_and_go_when_deleted(second: Sandbox) -> None:
    pod = {
        "nodeSelector": {HOLLOW_LABEL: "true"},
        "tolerations": [{"key": HOLLOW_LABEL, "operator": "Exists"}],
        "containers": [{"name": "c", "image": "any", "resources": {"limits": {"nvidia.com/gpu": "4"}}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "seeming"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "seeming"}},
            "template": {"metadata": {"labels": {"app": "seeming"}}, "spec": pod},
        },
    }
    second.kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    # Four GPUs on each of two nodes: the third pod stays out.
    second.kubectl("wait", "deployment/seeming", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=50s")
    second.kubectl("delete", "deployment", "seeming", "--cascade=foreground", "--timeout=50s")
    assert second.kubectl("get", "pods", "-o", "name") == ""


def test_a_name_that_is_up_cannot_be_brought_up_again(second: Sandbox) -> None:
    with pytest.raises(SandboxError, match="already up"):
        cluster.launch_detached(second.settings)
    assert second.running


def test_nothing_is_left_after_down() -> None:
    with Sandbox.start(Settings(name="brief", nodes=1)) as running:
        processes = {pid: namespaces.start_ticks(pid) for pid in _all_processes(running)}
        assert len(processes) > len(CONTROL_PLANE) + 3  # node, kubelet, kube-proxy: or this looks at nothing
        assert running.folder.read_outside() is not None
    assert not [pid for pid, started in processes.items() if namespaces.start_ticks(pid) == started]
    assert [entry.name for entry in running.folder.path.iterdir()] == ["logs"]
    assert "node-1-kubelet.log" in {log.name for log in running.folder.logs.iterdir()}
    assert cluster.find("brief") is None


_PARENT = """
import signal, sys, time
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.state import Settings
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
with Sandbox.start(Settings(name=sys.argv[1], nodes=0)):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["crash", "ctrl-c"])
def test_nothing_is_left_when_the_parent_goes(number: signal.Signals) -> None:
    name = f"orphan-{number.value}"
    with subprocess.Popen(
        (sys.executable, "-c", _PARENT, name), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        orphan = cluster.find(name)
        assert orphan is not None
        processes = {pid: namespaces.start_ticks(pid) for pid in _all_processes(orphan)}
        assert len(processes) > len(CONTROL_PLANE)
        parent.send_signal(number)
    _wait_until_gone(processes)
    assert cluster.find(name) is None


def test_a_control_plane_that_cannot_start_says_why() -> None:
    settings = Settings(name="wrong", nodes=0, apiserver_args=("--no-such-argument",))
    with (
        pytest.raises(SandboxError, match=r"kube-apiserver ended with status 1\n(?s:.*)unknown flag: --no-such-arg"),
        Sandbox.start(settings),
    ):
        pytest.fail("it started")
    assert cluster.find("wrong") is None
