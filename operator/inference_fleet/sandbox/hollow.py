"""Hollow nodes: objects that take pods and say that they run, for scale. Nothing runs and nothing answers.

kwok keeps their leases and the status of their pods. Pods come here only if they ask for it: by the node selector
HOLLOW_LABEL = "true" and a toleration of the taint of the same name.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from inference_fleet.sandbox.control_plane import API_SERVER, Credentials
from inference_fleet.sandbox.daemon import AnswersAt, Daemon
from inference_fleet.sandbox.node import GPU_RESOURCE
from inference_fleet.sandbox.node.gpus import Gpus
from inference_fleet.sandbox.process_table import StartFailed, api_session

HOLLOW_LABEL = "sandbox.inferencefleet.io/hollow"
# Addresses of pods that are not there; beside the real pods' and the services' networks.
_POD_NETWORK = "10.192.0.1/16"
_KWOK_PORT = 10247
_LEASE_SECONDS = 40  # the kubelet's default
_CREATIONS_AT_ONCE = 16
# As many as one node may be asked for; CPU and memory never run out here.
_CAPACITY = {"cpu": "1k", "memory": "1Ti", "pods": "1k", "ephemeral-storage": "1Ti"}
_CONDITIONS = {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# Go templates of kwok (Stage, kwok.x-k8s.io/v1alpha1).
_RUNNING = """\
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
podIP: {{ PodIPWith .spec.nodeName false .metadata.uid .metadata.name .metadata.namespace | Quote }}
conditions:
{{ range list "Initialized" "ContainersReady" "Ready" }}
- {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
"""


_ADDRESS = """\
addresses:
- {type: Hostname, address: {{ .metadata.name | Quote }}}
"""


def stages() -> list[dict[str, Any]]:
    """What becomes of a pod on a hollow node: it runs at once, and is gone at once when deleted."""
    return [
        # kwok looks after no node, and so after no pod, without a stage for nodes.
        _stage(
            "node-is-named",
            kind="Node",
            selector=[("status.addresses", "DoesNotExist")],
            following={"statusTemplate": _ADDRESS},
        ),
        _stage(
            "pod-runs",
            kind="Pod",
            selector=[("metadata.deletionTimestamp", "DoesNotExist"), ("status.podIP", "DoesNotExist")],
            following={"statusTemplate": _RUNNING},
        ),
        _stage(
            "pod-goes",
            kind="Pod",
            selector=[("metadata.deletionTimestamp", "Exists"), ("metadata.finalizers", "DoesNotExist")],
            following={"delete": True},
        ),
    ]


def _stage(name: str, *, kind: str, selector: list[tuple[str, str]], following: dict[str, Any]) -> dict[str, Any]:
    expressions = [{"key": f".{key}", "operator": operator} for key, operator in selector]
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": expressions},
            "next": following,
        },
    }


def kwok(binaries: Mapping[str, Path], *, kubeconfig: Path, config: Path) -> Daemon:
    """The one program behind all hollow nodes; writes its configuration to `config`."""
    config.write_text(yaml.safe_dump_all(stages()))
    argv = (
        str(binaries["kwok"]),
        f"--kubeconfig={kubeconfig}",
        f"--config={config}",
        f"--manage-nodes-with-label-selector={HOLLOW_LABEL}=true",
        f"--node-lease-duration-seconds={_LEASE_SECONDS}",
        f"--cidr={_POD_NETWORK}",
        f"--server-address=127.0.0.1:{_KWOK_PORT}",
        "--v=WARN",
    )
    return Daemon("kwok", argv, AnswersAt(f"http://127.0.0.1:{_KWOK_PORT}/healthz"))


def node_names(count: int) -> tuple[str, ...]:
    """What hollow nodes are called."""
    return tuple(f"hollow-{index}" for index in range(1, count + 1))


def node_object(name: str, *, gpus: int, now: str, kubernetes_version: str) -> dict[str, Any]:
    """A Node that is Ready from the start; `now` in RFC 3339."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    offered = {**_CAPACITY, GPU_RESOURCE: str(gpus)} if gpus else dict(_CAPACITY)
    conditions = [
        {"type": kind, "status": status, "reason": "Hollow", "lastTransitionTime": now, "lastHeartbeatTime": now}
        for kind, status in _CONDITIONS.items()
    ]
    labels = {
        HOLLOW_LABEL: "true",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        **Gpus(count=gpus, product="hollow", memory_mebibytes=46068).labels(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": HOLLOW_LABEL, "value": "true", "effect": "NoSchedule"}]},
        "status": {
            "conditions": conditions,
            "capacity": offered,
            "allocatable": offered,
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                "kubeletVersion": f"v{kubernetes_version}",
                **dict.fromkeys(("bootID", "machineID", "systemUUID", "kernelVersion", "osImage"), "hollow"),
                **dict.fromkeys(("containerRuntimeVersion", "kubeProxyVersion"), "hollow"),
            },
        },
    }


async def create_nodes(nodes: list[dict[str, Any]], *, credentials: Credentials) -> None:
    """Create Node objects. Raises StartFailed."""
    limit = asyncio.Semaphore(_CREATIONS_AT_ONCE)
    async with api_session(authority=credentials.authority.file, client=credentials.admin_pair) as session:

        async def create(node: dict[str, Any]) -> None:
            async with limit, session.post(f"{API_SERVER}/api/v1/nodes", json=node) as response:
                if response.status != 201:
                    raise StartFailed(f"{node['metadata']['name']}: {await response.text()}")

        async with asyncio.TaskGroup() as together:
            for node in nodes:
                together.create_task(create(node))
