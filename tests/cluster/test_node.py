"""A sandbox's node treats pods as a real one does: the kubelet is the real one, and its runtime answers as it must."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from inference_fleet.sandbox.cluster import Sandbox

pytestmark = pytest.mark.timeout(180)

ENGINE = "vllm/vllm-openai:v0.33.0"
OPERATOR = "ghcr.io/inference-fleet/operator:test"
QUICK = {"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "0.2"}


@pytest.fixture(scope="module", autouse=True)
def _account(sandbox: Sandbox) -> None:
    sandbox.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")


@pytest.fixture
def pods(sandbox: Sandbox) -> Iterator[Callable[..., str]]:
    """Makes a pod of one container; all of them are gone afterwards."""
    made: list[str] = []

    def make(name: str, *, image: str = ENGINE, spec: Mapping[str, Any] | None = None, **container: Any) -> str:
        given = {"name": "engine", "image": image, "args": ["some/model"], "env": [QUICK], **container}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [given], "terminationGracePeriodSeconds": 1, **(spec or {})},
        }
        sandbox.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        made.append(name)
        return name

    yield make
    sandbox.kubectl("delete", "pod", *made, "--ignore-not-found", "--grace-period=1", "--wait=false")


def pod(sandbox: Sandbox, name: str) -> Any:
    return json.loads(sandbox.kubectl("get", "pod", name, "-o", "json"))


def engine_state(sandbox: Sandbox, name: str) -> Any:
    statuses = pod(sandbox, name)["status"].get("containerStatuses") or [{}]
    return statuses[0]


def until(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Whatever the condition returns once it is not empty."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)
    return found


def ready(sandbox: Sandbox, name: str) -> None:
    sandbox.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s", timeout_seconds=70)


def on_node(sandbox: Sandbox, node: str, *command: str) -> str:
    """What a command prints in the namespaces of a node, where Services are reached."""
    first = (sandbox.folder.node(node) / "node.pid").read_text().strip()
    return sandbox.exec("nsenter", f"--target={first}", "--mount", "--net", "--pid", "--", *command).stdout


HEALTH = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1}
PROBED = {"startupProbe": {**HEALTH, "failureThreshold": 60}, "readinessProbe": HEALTH}


def checking(script: str) -> dict[str, Any]:
    """The fields of a container that is ready if a shell script succeeds inside; its output is the probe's event."""
    return {"readinessProbe": {"exec": {"command": ["sh", "-ec", script]}, "periodSeconds": 1, "timeoutSeconds": 10}}


def test_a_pod_with_the_engines_image_becomes_ready_and_answers_by_its_service(
    sandbox: Sandbox, pods: Callable[..., str]
) -> None:
    name = pods("serves", **PROBED)
    sandbox.kubectl("expose", "pod", name, "--port=80", "--target-port=8000")
    ready(sandbox, name)
    pod_address = pod(sandbox, name)["status"]["podIP"]
    # From the control plane's network, where Prometheus is.
    assert "some/model" in sandbox.exec("curl", "-s", "--max-time", "5", f"http://{pod_address}:8000/v1/models").stdout
    service = sandbox.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
    for node in ("node-1", "node-2"):
        get = ("curl", "-s", "--max-time", "3", f"http://{service}/v1/models")
        until(lambda node=node, get=get: "some/model" in on_node(sandbox, node, *get))
    sandbox.kubectl("delete", "service", name)


def test_a_container_finds_what_its_pod_promises(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    checks = """
        test "$(id -u):$(id -g)" = 65532:65532
        test "$(hostname)" = finds
        test "$(cat /proc/1/comm)" != sh
        echo x > /cache/file
        echo x > /dev/shm/file
        test $(df --output=size -B1 /dev/shm | tail -1) != 67108864
        touch /file 2>/dev/null && exit 1
        touch /etc/file 2>/dev/null && exit 1
        touch /proc/sys/vm/overcommit_memory 2>/dev/null && exit 1
        grep -q finds /etc/hosts
        grep -q "nameserver 127.0.0.1" /etc/resolv.conf
        test -n "$NVIDIA_VISIBLE_DEVICES"
        folder=/var/run/secrets/kubernetes.io/serviceaccount
        url=https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/default/pods
        curl -s --cacert $folder/ca.crt -H "Authorization: Bearer $(cat $folder/token)" $url |
            grep -q system:serviceaccount:default:default
    """
    spec = {
        "hostname": "finds",
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "runAsNonRoot": True},
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory"}}, {"name": "cache", "emptyDir": {}}],
    }
    name = pods(
        "finds",
        spec=spec,
        **checking(checks),
        securityContext={"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        resources={"limits": {"nvidia.com/gpu": 1}},
        volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}, {"name": "cache", "mountPath": "/cache"}],
    )
    ready(sandbox, name)


def test_a_container_without_a_volume_for_it_has_little_shared_memory(
    sandbox: Sandbox, pods: Callable[..., str]
) -> None:
    checks = 'test $(df --output=size -B1 /dev/shm | tail -1) = 67108864; echo x > /tmp/file; test "$(id -u)" = 0'
    ready(sandbox, pods("little", **checking(checks)))


def test_the_operators_image_is_its_commands_and_not_root(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    spec = {"restartPolicy": "Never", "securityContext": {"runAsNonRoot": True}}
    name = pods("operator", image=OPERATOR, args=["--version"], spec=spec)
    until(lambda: pod(sandbox, name)["status"]["phase"] == "Succeeded")
    assert "inference-fleet" in sandbox.kubectl("logs", name)
    root = pods("root", spec=spec)  # vLLM's image is root's
    state = until(lambda: engine_state(sandbox, root).get("state", {}).get("waiting"))
    until(lambda: "runAsNonRoot" in engine_state(sandbox, root)["state"]["waiting"].get("message", ""))
    assert state


@pytest.mark.parametrize("image", ["busybox", "vllm/vllm-openai:latest"])
def test_an_image_that_is_not_mapped_is_not_pulled(sandbox: Sandbox, pods: Callable[..., str], image: str) -> None:
    name = pods(f"unmapped-{len(image)}", image=image)

    def refused() -> bool:
        waiting = engine_state(sandbox, name).get("state", {}).get("waiting", {})
        return waiting.get("reason") in ("ErrImagePull", "ImagePullBackOff") and image in waiting.get("message", "")

    until(refused)


def test_a_command_that_is_not_mapped_does_not_run(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    name = pods("shell", command=["sh", "-c", "touch /tmp/x"])
    ended = until(lambda: engine_state(sandbox, name).get("lastState", {}).get("terminated"))
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "only vllm" in ended["message"]


def test_a_crash_is_told_with_its_last_lines_and_the_container_comes_back(
    sandbox: Sandbox, pods: Callable[..., str]
) -> None:
    name = pods("crashes", args=["m", "--no-such-flag"], terminationMessagePolicy="FallbackToLogsOnError")
    until(lambda: engine_state(sandbox, name).get("restartCount", 0) >= 1)
    ended = engine_state(sandbox, name)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (2, "Error")
    assert "--no-such-flag" in ended["message"]


def test_a_written_termination_message_is_told(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    crash = {"name": "INFERENCE_FLEET_EMULATOR_OUT_OF_MEMORY", "value": "1"}
    write = {"postStart": {"exec": {"command": ["sh", "-c", "echo 'last words' > /dev/termination-log"]}}}
    slow = {"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "2"}
    name = pods("speaks", env=[crash, slow], lifecycle=write, spec={"restartPolicy": "Never"})
    ended = until(lambda: engine_state(sandbox, name).get("state", {}).get("terminated"))
    assert ended["exitCode"] != 0
    assert ended["message"] == "last words\n"


def test_the_end_waits_for_the_hook_and_keeps_to_the_grace(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    waits = pods("waits", lifecycle=hook, spec={"terminationGracePeriodSeconds": 30}, **PROBED)
    # Its end alone takes longer than the grace.
    slow_end = [QUICK, {"name": "INFERENCE_FLEET_EMULATOR_EXIT_SECONDS", "value": "60"}]
    killed = pods("killed", env=slow_end, spec={"terminationGracePeriodSeconds": 2}, **PROBED)
    for name in (waits, killed):
        ready(sandbox, name)
    for name, least, most in ((waits, 3.0, 20.0), (killed, 2.0, 15.0)):
        began = time.monotonic()
        sandbox.kubectl("delete", "pod", name, "--wait=true")
        assert least <= time.monotonic() - began < most, name


def test_devices_are_counted_and_each_is_given_once(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    until(
        lambda: (
            "2 2" in sandbox.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}")
        )
    )
    limits = {"limits": {"nvidia.com/gpu": 1}}
    names = [pods(f"gpu-{number}", resources=limits) for number in range(5)]

    def phases() -> list[str]:
        return sorted(pod(sandbox, name)["status"]["phase"] for name in names)

    until(lambda: phases() == ["Pending", *["Running"] * 4])
    (waiting,) = (name for name in names if pod(sandbox, name)["status"]["phase"] == "Pending")
    (condition,) = pod(sandbox, waiting)["status"]["conditions"]
    assert "Insufficient nvidia.com/gpu" in condition["message"]
    labels = json.loads(sandbox.kubectl("get", "node", "node-1", "-o", "json"))["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-L40S"
    assert labels["nvidia.com/gpu.count"] == "2"


def test_pods_outlive_their_kubelet(sandbox: Sandbox, pods: Callable[..., str]) -> None:
    name = pods("outlives", spec={"nodeName": "node-1"}, **PROBED)
    ready(sandbox, name)
    file = sandbox.folder.node("node-1") / "kubelet.pid"
    former = file.read_text()
    began = engine_state(sandbox, name)["state"]["running"]["startedAt"]
    on_node(sandbox, "node-1", "kill", "-9", former.strip())
    until(lambda: file.read_text() != former)
    late = pods("late", spec={"nodeName": "node-1"}, **PROBED)  # the new kubelet works
    ready(sandbox, late)
    ready(sandbox, name)
    assert engine_state(sandbox, name)["state"]["running"]["startedAt"] == began
    until(
        lambda: (
            "2 2" in sandbox.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.allocatable.nvidia\\.com/gpu}")
        )
    )
