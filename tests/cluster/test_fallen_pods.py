"""Pods that the real kubelet refuses: said with the node, followed by others, not left to pile up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from builders.operator_sandbox import OperatorSandbox
from inference_fleet.planning.fallen_removals import KEPT_FALLEN_PODS

NAME, NEIGHBOUR = "falls", "takes-all"
NODE, DEVICES = "node-1", 6
READY_REASON = '.status.conditions[?(@.type=="Ready")].reason'


@pytest.fixture
def world(operator_world: OperatorSandbox) -> Iterator[OperatorSandbox]:
    yield operator_world
    operator_world.remove(NAME, NEIGHBOUR)


@contextmanager
def promising(world: OperatorSandbox, devices: int) -> Iterator[None]:
    """The node says that it has more devices than its kubelet knows, as after a fault that was not told yet."""
    over = threading.Event()
    patch = json.dumps({"status": {key: {"nvidia.com/gpu": str(devices)} for key in ("capacity", "allocatable")}})

    def promise() -> None:
        # The kubelet puts it right every ten seconds.
        while not over.wait(1.0):
            world.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", patch)

    thread = threading.Thread(target=promise, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        wait_for_devices(world, DEVICES)


def wait_for_devices(world: OperatorSandbox, devices: int) -> None:
    path = r"{.status.allocatable.nvidia\.com/gpu}"
    world.kubectl("wait", "node", NODE, f"--for=jsonpath={path}={devices}", "--timeout=60s")


def fallen(world: OperatorSandbox) -> list[str]:
    """Reasons of the pods that ended for good."""
    pods = world.items("pods", of=NAME)
    return [pod["status"]["reason"] for pod in pods if pod["status"]["phase"] == "Failed"]


def removed(world: OperatorSandbox) -> int:
    """How many pods the operator has removed."""
    return sum(
        (verb, resource) == ("delete", "pods") and name.startswith(NAME)
        for verb, resource, name in world.operator_writes(since=0)
    )


def test_a_node_that_refuses_every_pod_is_named_and_its_pods_do_not_pile_up(world: OperatorSandbox) -> None:
    wide = {"vllm": {"parallelism": {"tensorParallelSize": 2}}}
    world.deploy(NEIGHBOUR, scaling={"mode": "Manual"}, replicas=DEVICES // 2, engine=wide)
    world.wait(NEIGHBOUR, ".status.readyReplicas", str(DEVICES // 2))
    with promising(world, 2 * DEVICES):
        world.deploy(NAME, scaling={"mode": "Manual"}, replicas=1)
        world.wait(NAME, READY_REASON, "RefusedByNode")
        message = world.condition(NAME, "Ready")["message"]
        while removed(world) < 2:
            # One a second falls, later one in a few; the test's own time-out ends a wait in vain.
            world.kubectl("get", "--raw", "/readyz")
    assert "fewer healthy devices" in message
    assert "nvidia.com/gpu" in message
    assert NODE in message
    world.remove(NEIGHBOUR)
    world.wait_condition(NAME, "Ready")
    # Some stay to be looked at.
    assert fallen(world) == ["UnexpectedAdmissionError"] * KEPT_FALLEN_PODS
