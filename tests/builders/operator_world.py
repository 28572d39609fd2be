"""A whole operator over a cluster in memory, with its pods, its Prometheus and one clock."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from builders.clock import VirtualClock
from builders.fleet_signals import FleetSignals
from builders.in_memory_cluster import InMemoryCluster, Write
from builders.pod_life import PodLife
from inference_fleet.adapters.ports import Object
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, CHILDREN, INFERENCE_DEPLOYMENTS, REPLICA_SETS
from inference_fleet.controller.loop import OWN_KINDS, Loop, LoopSettings

NAMESPACE = "chat"
CLASS: Object = {
    "metadata": {"name": "h100"},
    "spec": {
        "platform": "CUDA",
        "architecture": "9.0",
        "deviceMemory": "81079Mi",
        "devicesPerNode": 8,
        "devices": {"extendedResource": "nvidia.com/gpu"},
        "cost": {"perDeviceHour": "2.00", "currency": "USD"},
    },
}
SPEC: dict[str, Any] = {
    "model": {"huggingFace": {"repository": "NousResearch/Meta-Llama-3.1-8B-Instruct"}},
    "engine": {
        "vllm": {
            "version": "0.33.0",
            "maxModelLen": 4096,
            "batching": {"maxNumSeqs": 16, "maxNumBatchedTokens": 2048},
        }
    },
    "pod": {"resources": {"requests": {"cpu": "1", "memory": "8Gi"}}},
    "variants": [{"name": "a", "acceleratorClassName": "h100"}],
    "scaling": {"mode": "Automatic", "minReplicas": 1, "maxReplicas": 6},
    "rollout": {"minReadySeconds": 5},
}
# Events, leases and checkpoints are not what an object costs.
_NOT_COUNTED = ("events", "leases", "configmaps")


@dataclass
class World:
    """What a test turns and looks at."""

    clock: VirtualClock
    cluster: InMemoryCluster
    pods: PodLife
    signals: FleetSignals

    def deploy(self, name: str = "llama", **spec: Any) -> Object:
        """Apply an InferenceDeployment as a user does."""
        # The status is the definition's default.
        body = {
            "metadata": {"name": name},
            "spec": {**copy.deepcopy(SPEC), **spec},
            "status": {"observedGeneration": -1},
        }
        return self.cluster.add(INFERENCE_DEPLOYMENTS, body, namespace=NAMESPACE)

    def edit(self, name: str = "llama", **spec: Any) -> None:
        """Change fields of a spec as a user does."""

        def change(obj: Object) -> None:
            obj["spec"] = {**obj["spec"], **spec}

        self.cluster.edit(INFERENCE_DEPLOYMENTS, name, NAMESPACE, change)

    def status(self, name: str = "llama") -> dict[str, Any]:
        """The status as it stands, empty if there is none."""
        found = self.cluster.find(INFERENCE_DEPLOYMENTS, name, NAMESPACE) or {}
        return dict(found.get("status") or {})

    def condition(self, kind: str, name: str = "llama") -> str:
        """`True Serving`: status and reason of a condition."""
        for entry in self.status(name).get("conditions") or ():
            if entry["type"] == kind:
                return f"{entry['status']} {entry['reason']}"
        return "absent"

    def desired(self) -> int:
        """What all ReplicaSets ask for."""
        return sum(replica_set["spec"]["replicas"] for replica_set in self.cluster.all(REPLICA_SETS))

    def counted_writes(self, since: int = 0) -> list[Write]:
        """Writes of the operator, events, leases and checkpoints apart."""
        return [write for write in self.cluster.writes[since:] if write.plural not in _NOT_COUNTED]

    def loop(self, **settings: Any) -> Loop:
        """An operator that has not begun."""
        wanted = {"reflected": (*OWN_KINDS, *CHILDREN), "workers": 4, **settings}
        return Loop(self.cluster, self.signals, self.clock, settings=LoopSettings(**wanted), jitter=lambda: 0.5)

    @asynccontextmanager
    async def running(self, loop: Loop | None = None, **settings: Any) -> AsyncIterator[Loop]:
        """An operator at work; it ends in order when the block does."""
        loop = loop or self.loop(**settings)
        task = asyncio.create_task(loop.run())
        try:
            await self.clock.settle()
            yield loop
        finally:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise AssertionError("the operator ended by itself") from task.exception()
            await stop(task)
            await loop.stop()


async def stop(task: asyncio.Task[None]) -> None:
    """End a task and wait for it."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def world(**pods: Any) -> AsyncIterator[World]:
    """A cluster with one accelerator class and nothing else."""
    clock = VirtualClock()
    cluster = InMemoryCluster(clock)
    life = PodLife(cluster, **pods)
    cluster.add(ACCELERATOR_CLASSES, CLASS)
    try:
        yield World(clock, cluster, life, FleetSignals(life))
    finally:
        await life.end()
