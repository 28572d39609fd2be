"""What the cluster does by itself: ReplicaSets make and remove pods, a scheduler finds devices, pods become ready."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from typing import Any

from builders.in_memory_cluster import InMemoryCluster, timestamp
from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import PODS, REPLICA_SETS
from inference_fleet.api.names import ANNOTATION_POD_DELETION_COST


@dataclass
class PodLife:
    """start_seconds: from being placed to Ready. drain_seconds: from deletion to gone. devices: in all.

    refuses: the node does not take what the scheduler gives it, a second after it was placed.
    """

    cluster: InMemoryCluster
    start_seconds: float = 20.0
    drain_seconds: float = 10.0
    devices: int = 1000
    refuses: bool = False
    most_pods: int = 0
    created: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _busy: bool = False

    def __post_init__(self) -> None:
        self.cluster.changed.append(self._happened)

    async def end(self) -> None:
        """Stop all that is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def living(self, owner: str | None = None) -> list[Object]:
        """Pods that neither terminate nor fell, of one ReplicaSet or of all: all that its controller counts."""
        return [
            pod
            for pod in self.cluster.all(PODS)
            if not pod["metadata"].get("deletionTimestamp") and not _fell(pod) and owner in (None, _owner(pod))
        ]

    def fallen(self) -> list[Object]:
        """Pods in phase Failed."""
        return [pod for pod in self.cluster.all(PODS) if _fell(pod)]

    def ready(self) -> list[Object]:
        """Pods that serve."""
        return [pod for pod in self.living() if is_ready(pod)]

    def _happened(self, resource: Resource, _: Object) -> None:
        if resource.plural not in (REPLICA_SETS.plural, PODS.plural) or self._busy:
            return
        self._busy = True
        try:
            for replica_set in self.cluster.all(REPLICA_SETS):
                self._fill(replica_set)
            self._place()
            for replica_set in self.cluster.all(REPLICA_SETS):
                self._report(replica_set)
        finally:
            self._busy = False
        self.most_pods = max(self.most_pods, len(self.living()))

    def _fill(self, replica_set: Object) -> None:
        wanted = int(replica_set["spec"].get("replicas", 1))
        pods = self.living(replica_set["metadata"]["uid"])
        for _ in range(wanted - len(pods)):
            self._create(replica_set)
        # The order of the ReplicaSet controller: not placed, not ready, then cheapest.
        order = sorted(pods, key=lambda pod: ("nodeName" in pod["spec"], is_ready(pod), _cost(pod)))
        for pod in order[: max(0, len(pods) - wanted)]:
            self._terminate(pod)

    def _create(self, replica_set: Object) -> None:
        self.created += 1
        metadata = replica_set["metadata"]
        template = copy.deepcopy(replica_set["spec"]["template"])
        body = {
            "metadata": {
                **template["metadata"],
                "name": f"{metadata['name']}-{self.created:05d}",
                "ownerReferences": [
                    {
                        "apiVersion": "apps/v1",
                        "kind": "ReplicaSet",
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending", "conditions": []},
        }
        self.cluster.add(PODS, body, namespace=metadata["namespace"])

    def _terminate(self, pod: Object) -> None:
        def mark(obj: Object) -> None:
            obj["metadata"]["deletionTimestamp"] = timestamp(self.cluster.clock.now())

        self._edit(pod, mark)
        self._later(self.drain_seconds if "nodeName" in pod["spec"] else 0.0, self._remove, pod)

    def _place(self) -> None:
        used = sum("nodeName" in pod["spec"] and not _fell(pod) for pod in self.cluster.all(PODS))
        for pod in self.living():
            if "nodeName" in pod["spec"]:
                continue
            fits = used < self.devices
            now = timestamp(self.cluster.clock.now())

            def place(obj: Object, *, fits: bool = fits, now: str = now) -> None:
                condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
                if fits:
                    obj["spec"]["nodeName"] = "node"
                else:
                    words = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
                    condition |= {"status": "False", "reason": "Unschedulable", "message": words}
                former = [c for c in obj["status"]["conditions"] if c["type"] == "PodScheduled"]
                if not former or former[0]["status"] != condition["status"]:
                    obj["status"]["conditions"] = [condition]

            self._edit(pod, place)
            if fits:
                used += 1
                self._later(*((1.0, self._refuse) if self.refuses else (self.start_seconds, self._serve)), pod)

    def _refuse(self, pod: Object) -> None:
        now = timestamp(self.cluster.clock.now())

        def refuse(obj: Object) -> None:
            words = "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1"
            obj["status"] |= {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": words}
            obj["status"]["conditions"].append({"type": "Ready", "status": "False", "lastTransitionTime": now})

        self._edit(pod, refuse)

    def _serve(self, pod: Object) -> None:
        now = timestamp(self.cluster.clock.now())

        def serve(obj: Object) -> None:
            obj["status"]["phase"] = "Running"
            placed = [c for c in obj["status"]["conditions"] if c["type"] == "PodScheduled"]
            obj["status"]["conditions"] = [*placed, {"type": "Ready", "status": "True", "lastTransitionTime": now}]

        if not pod["metadata"].get("deletionTimestamp"):
            self._edit(pod, serve)

    def _remove(self, pod: Object) -> None:
        self.cluster.remove(PODS, pod)

    def _report(self, replica_set: Object) -> None:
        pods = self.living(replica_set["metadata"]["uid"])

        def report(obj: Object) -> None:
            obj["status"] = {"replicas": len(pods), "readyReplicas": sum(is_ready(pod) for pod in pods)}

        metadata = replica_set["metadata"]
        self.cluster.edit(REPLICA_SETS, metadata["name"], metadata["namespace"], report)

    def _edit(self, pod: Object, change: Any) -> None:
        metadata = pod["metadata"]
        self.cluster.edit(PODS, metadata["name"], metadata["namespace"], change)

    def _later(self, seconds: float, what: Any, pod: Object) -> None:
        async def wait() -> None:
            await self.cluster.clock.sleep(seconds)
            live = self.cluster.find(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
            if live is not None and live["metadata"]["uid"] == pod["metadata"]["uid"]:
                what(live)

        task = asyncio.create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def is_ready(pod: Object) -> bool:
    """Whether the pod serves."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])


def _fell(pod: Object) -> bool:
    return bool(pod["status"].get("phase") == "Failed")


def _owner(pod: Object) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["uid"])


def _cost(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(ANNOTATION_POD_DELETION_COST, 0))
