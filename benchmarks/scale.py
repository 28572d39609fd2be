"""How long 500 InferenceDeployments take, beside 500 plain Deployments in the same run, on hollow nodes.

    python benchmarks/scale.py [--objects 500] [--nodes 20] [--output FILE]

Measured: seconds until all pods exist and until all are Ready, counted from the first create; processor seconds and
peak memory of the operator (for the Deployments: of the controller manager); the operator's writes. The goal is a
ratio: at most three times the Deployments.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from inference_fleet.adapters.kubernetes import KubernetesCluster, connect
from inference_fleet.adapters.ports import NotFound, Resource
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, INFERENCE_DEPLOYMENTS, PODS
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.state import Settings
from inference_fleet.sandbox.tools import shown

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
PROJECT = Path(__file__).resolve().parents[1]
CREATES_AT_ONCE = 16
POLL_SECONDS = 0.5
GIVE_UP_SECONDS = 600.0
GOAL_RATIO = 3.0
# Hollow nodes only say that they run pods; what should land on them says so.
HOLLOW = {"sandbox.inferencefleet.io/hollow": "true"}
TOLERATION = {"key": "sandbox.inferencefleet.io/hollow", "operator": "Exists"}


def deployment(name: str) -> dict[str, Any]:
    labels = {"bench": name}
    container = {"name": "engine", "image": "vllm/vllm-openai:v0.33.0"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "nodeSelector": HOLLOW, "tolerations": [TOLERATION]},
            },
        },
    }


def inference_deployment(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name},
        "spec": {
            "model": {"huggingFace": {"repository": "example/model"}},
            "engine": {"vllm": {"version": "0.33.0", "maxModelLen": 4096}},
            "variants": [{"name": "cpu", "acceleratorClassName": "cpu"}],
        },
    }


CPU_CLASS: Mapping[str, Any] = {
    "apiVersion": "inferencefleet.io/v1alpha1",
    "kind": "AcceleratorClass",
    "metadata": {"name": "cpu"},
    "spec": {
        "platform": "CPU",
        "architecture": "x86_64",
        "deviceMemory": "64Gi",
        "nodeSelector": HOLLOW,
        "tolerations": [TOLERATION],
    },
}


async def measure(
    cluster: KubernetesCluster,
    resource: Resource,
    make: Callable[[str], dict[str, Any]],
    *,
    namespace: str,
    objects: int,
) -> dict[str, float | None]:
    """Create all objects and watch their pods; seconds since the first create, None if it was given up."""
    limit = asyncio.Semaphore(CREATES_AT_ONCE)

    async def create(number: int) -> None:
        async with limit:
            await cluster.create(resource, make(f"bench-{number:04d}"), namespace=namespace)

    began = time.monotonic()
    creating = asyncio.create_task(_all(create, objects))
    created = existing = ready = None
    while ready is None and time.monotonic() - began < GIVE_UP_SECONDS:
        await asyncio.sleep(POLL_SECONDS)
        at = time.monotonic() - began
        if creating.done():
            creating.result()
            created = created or at
        pods = [pod async for pod in _pods(cluster, namespace)]
        if existing is None and len(pods) >= objects:
            existing = at
        if sum(_is_ready(pod) for pod in pods) >= objects:
            ready = at
    await creating
    return {"created": created, "existing": existing, "ready": ready}


async def _served(cluster: KubernetesCluster, resource: Resource) -> None:
    """Until the API server answers for this kind."""
    while True:
        try:
            await cluster.list_page(resource, limit=1)
        except NotFound:
            await asyncio.sleep(POLL_SECONDS)
        else:
            return


async def _leads(cluster: KubernetesCluster) -> None:
    """Until the operator holds its Lease: like the controller manager, it is there before the objects come."""
    while True:
        with contextlib.suppress(NotFound):
            await cluster.get(LEASES, name="inference-fleet", namespace="default")
            return
        await asyncio.sleep(POLL_SECONDS)


async def _all(create: Callable[[int], Awaitable[None]], objects: int) -> None:
    await asyncio.gather(*(create(number) for number in range(objects)))


async def _pods(cluster: KubernetesCluster, namespace: str) -> AsyncIterator[dict[str, Any]]:
    token = None
    while True:
        page = await cluster.list_page(PODS, namespace=namespace, continue_token=token)
        for pod in page.items:
            yield pod
        token = page.continue_token
        if token is None:
            return


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def usage(pid: int) -> tuple[float, int]:
    """Processor seconds so far and peak memory (bytes) of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    peak = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return seconds, int(peak.split()[1]) * 1024


@contextlib.contextmanager
def operator(sandbox: Sandbox, log: Path) -> Iterator[int]:
    """The operator as a process of this machine; its process id."""
    words = ["run", f"--kubeconfig={sandbox.kubeconfig}", f"--prometheus-url={sandbox.prometheus_url}"]
    words += ["--port=0", "--lease-namespace=default", "--log-format=console", "--log-level=warning"]
    with log.open("wb") as output:
        command = [sys.executable, "-m", "inference_fleet", *words]
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1), (os.POSIX_SPAWN_DUP2, output.fileno(), 2)],
        )
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


# What the benchmark itself writes, through the same client.
_OURS = {
    ("deployments", "create"),
    ("inferencedeployments", "create"),
    ("namespaces", "create"),
    ("acceleratorclasses", "create"),
    ("leases", "patch"),
    ("leases", "update"),
    ("leases", "create"),
}


def writes(sandbox: Sandbox) -> dict[str, int]:
    """The operator's writes by verb and resource, Lease apart."""
    found: dict[str, int] = {}
    for line in (sandbox.folder.logs / "audit.log").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        resource = (entry.get("objectRef") or {}).get("resource")
        if (
            entry.get("stage") == "ResponseComplete"
            and entry["verb"] in ("create", "update", "patch", "delete")
            and str(entry.get("userAgent", "")).startswith("inference-fleet")
            and (resource, entry["verb"]) not in _OURS
        ):
            subresource = (entry.get("objectRef") or {}).get("subresource")
            key = f"{entry['verb']} {resource}{f'/{subresource}' if subresource else ''}"
            found[key] = found.get(key, 0) + 1
    return dict(sorted(found.items()))


async def run(sandbox: Sandbox, *, objects: int, log: Path) -> dict[str, Any]:
    """Both halves in one cluster."""
    cluster = await connect(kubeconfig=str(sandbox.kubeconfig))
    try:
        for namespace in ("bench-plain", "bench-fleet"):
            await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        for name in ("acceleratorclasses", "inferencedeployments"):
            sandbox.kubectl("apply", "-f", str(PROJECT / "crds" / f"{name}.yaml"))
        for resource in (INFERENCE_DEPLOYMENTS, ACCELERATOR_CLASSES):
            await _served(cluster, resource)
        await cluster.create(ACCELERATOR_CLASSES, CPU_CLASS)
        manager = next(p["pid"] for p in sandbox.status()["processes"] if p["name"] == "kube-controller-manager")
        before, _ = usage(manager)
        plain = await measure(cluster, DEPLOYMENTS, deployment, namespace="bench-plain", objects=objects)
        after, peak = usage(manager)
        plain_usage = {"processorSeconds": round(after - before, 2), "peakBytes": peak}
        with operator(sandbox, log) as pid:
            await _leads(cluster)
            started, _ = usage(pid)
            fleet = await measure(
                cluster, INFERENCE_DEPLOYMENTS, inference_deployment, namespace="bench-fleet", objects=objects
            )
            seconds, peak = usage(pid)
        fleet_usage = {"processorSeconds": round(seconds - started, 2), "peakBytes": peak, "writes": writes(sandbox)}
    finally:
        await cluster.close()
    ratio = None if not (plain["ready"] and fleet["ready"]) else round(fleet["ready"] / plain["ready"], 2)
    return {
        "schemaVersion": "inference-fleet/bench-scale/v1",
        "objects": objects,
        "deployments": {**_rounded(plain), **plain_usage},
        "inferenceDeployments": {**_rounded(fleet), **fleet_usage},
        "readyRatio": ratio,
        "goalRatio": GOAL_RATIO,
        "reached": ratio is not None and ratio <= GOAL_RATIO,
    }


def _rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{key}Seconds": None if value is None else round(value, 2) for key, value in figures.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=20, help="hollow nodes")
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks" / "results" / "scale.json")
    arguments = parser.parse_args()
    settings = Settings(name="bench-scale", nodes=0, hollow_nodes=arguments.nodes, audit=True)
    with shown() as progress, Sandbox.start(settings, progress=progress) as sandbox:
        result = asyncio.run(run(sandbox, objects=arguments.objects, log=sandbox.folder.logs / "operator.log"))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if result["reached"] else 3


if __name__ == "__main__":
    sys.exit(main())
