"""A tiny cluster in a dictionary: carries out plans, makes pods, so that planning can be watched step by step."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from inference_fleet.api.conditions import timestamp
from inference_fleet.planning.plan import Plan, plan
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.writes import Apply, Create, Delete, Patch, Write
from inference_fleet.scaling.types import Decision, Rule, SignalState

CLASS: Mapping[str, Any] = {
    "metadata": {"name": "nvidia-l4"},
    "spec": {
        "platform": "CUDA",
        "architecture": "8.9",
        "deviceMemory": "23034Mi",
        "devicesPerNode": 4,
        "devices": {"extendedResource": "nvidia.com/gpu"},
        "cost": {"perDeviceHour": "0.80"},
    },
}
SPEC: Mapping[str, Any] = {
    "model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}},
    "engine": {"vllm": {"version": "0.33.0", "maxModelLen": 8192}},
    "variants": [{"name": "l4", "acceleratorClassName": "nvidia-l4"}],
    "scaling": {"mode": "Automatic", "minReplicas": 1, "maxReplicas": 10},
    "rollout": {"minReadySeconds": 0},
}
_PARTS = {
    "ReplicaSet": "replica_sets",
    "Pod": "pods",
    "ControllerRevision": "controller_revisions",
    "Service": "services",
    "ServiceAccount": "service_accounts",
    "PodDisruptionBudget": "disruption_budgets",
    "NetworkPolicy": "network_policies",
}


class World:
    """One InferenceDeployment and its children. Time only moves by `wait`."""

    def __init__(self, **spec: Any) -> None:
        self.now = 1_750_000_000.0
        self.classes: dict[str, Any] = {"nvidia-l4": copy.deepcopy(dict(CLASS))}
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.deployment: dict[str, Any] = {
            "metadata": {
                "name": "llama",
                "namespace": "chat",
                "uid": "uid-cr",
                "generation": 1,
                "resourceVersion": "1",
                "creationTimestamp": timestamp(self.now),
            },
            "spec": {**copy.deepcopy(dict(SPEC)), **spec},
        }
        self.decision: Decision | None = None
        self.namespace_labels: dict[str, str] | None = {}
        # Which of the pods that exist may become ready, and which find no node.
        self.becomes_ready: Callable[[dict[str, Any]], bool] = lambda pod: True
        self.schedulable: Callable[[dict[str, Any]], bool] = lambda pod: True
        self.events: list[Any] = []
        self.writes: list[Write] = []
        self._numbers = itertools.count(2)

    def snapshot(self) -> Snapshot:
        parts: dict[str, tuple[Any, ...]] = {
            part: tuple(copy.deepcopy(obj) for (of, _), obj in sorted(self.objects.items()) if of == kind)
            for kind, part in _PARTS.items()
        }
        return Snapshot(
            deployment=copy.deepcopy(self.deployment),
            accelerator_classes=copy.deepcopy(self.classes),
            namespace_labels=self.namespace_labels,
            **parts,
        )

    def reconcile(self) -> Plan:
        """Plan once and carry everything out."""
        wanted = plan(self.snapshot(), self.decision, self.now)
        for write in wanted.writes:
            self._carry_out(write)
        if wanted.status is not None:
            self.deployment["status"] = copy.deepcopy(dict(wanted.status))
        self.events += wanted.events
        self.writes += wanted.writes
        return wanted

    def settle(self, *, most: int = 40) -> int:
        """Reconcile and let pods live until a plan writes nothing; returns the number of rounds."""
        for number in range(most):
            wanted = self.reconcile()
            moved = self._live()
            if not wanted.writes and wanted.status is None and not moved:
                return number
        raise AssertionError(f"does not settle: {wanted.writes} {wanted.status}")

    def edit(self, **spec: Any) -> None:
        """The user changes the spec."""
        self.deployment["spec"].update(copy.deepcopy(spec))
        self.deployment["metadata"]["generation"] += 1
        self._touch(self.deployment)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def decide(self, replicas: int, **changes: Any) -> None:
        """The tick's decision."""
        names = [variant["name"] for variant in self.deployment["spec"]["variants"]]
        values: dict[str, Any] = {
            "time": self.now,
            "replicas": tuple((name, replicas if name == names[0] else 0) for name in names),
            "recommended": replicas,
            "rule": Rule.SATURATION,
            "message": "test",
            "signals": SignalState.FRESH,
        }
        self.decision = Decision(**(values | changes))

    def counts(self) -> dict[str, int]:
        """Replicas by revision, empty pools left out."""
        return {
            obj["metadata"]["labels"]["inferencefleet.io/revision"]: obj["spec"]["replicas"]
            for obj in self.of("ReplicaSet")
            if obj["spec"]["replicas"]
        }

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [obj for (of, _), obj in sorted(self.objects.items()) if of == kind]

    def condition(self, kind: str) -> dict[str, Any] | None:
        for condition in self.status["conditions"]:
            if condition["type"] == kind:
                return dict(condition)
        return None

    def holds(self, kind: str) -> tuple[str, str] | None:
        """(status, reason) of a condition."""
        found = self.condition(kind)
        return (found["status"], found["reason"]) if found else None

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.deployment["status"])

    def _carry_out(self, write: Write) -> None:
        place = (write.reference.kind, write.reference.name)
        if write.reference.kind == "InferenceDeployment":
            assert isinstance(write, Patch)
            self.deployment["spec"].update(write.body["spec"])
            self._touch(self.deployment)
            return
        if isinstance(write, Create):
            assert place not in self.objects, f"{place} exists"
            obj = copy.deepcopy(dict(write.body))
            obj["metadata"] |= {
                "uid": f"uid-{place[1]}-{next(self._numbers)}",
                "creationTimestamp": timestamp(self.now),
            }
            self._touch(obj)
            self.objects[place] = obj
            return
        live = self.objects[place]
        assert (live["metadata"]["uid"], live["metadata"]["resourceVersion"]) == (write.uid, write.resource_version)
        if isinstance(write, Delete):
            del self.objects[place]
        elif isinstance(write, Apply):
            _merge(live, write.body)
            self._touch(live)
        else:
            _merge(live, write.body)
            self._touch(live)

    def _live(self) -> bool:
        """The ReplicaSet controller, the scheduler and the kubelet take one step."""
        moved = False
        for replica_set in self.of("ReplicaSet"):
            own = [
                pod
                for pod in self.of("Pod")
                if pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
            ]
            wanted = replica_set["spec"]["replicas"]
            for _ in range(wanted - len(own)):
                self._make_pod(replica_set)
                moved = True
            doomed = sorted(own, key=lambda pod: (_ready(pod), _cost(pod)))[: max(0, len(own) - wanted)]
            for pod in doomed:
                del self.objects["Pod", pod["metadata"]["name"]]
                moved = True
        for pod in self.of("Pod"):
            if not self.schedulable(pod):
                conditions = [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
                ]
            elif self.becomes_ready(pod):
                conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": timestamp(self.now)}]
                if _ready(pod):
                    conditions = pod["status"]["conditions"]
            else:
                conditions = []
            if pod["status"].get("conditions", []) != conditions:
                pod["status"]["conditions"] = conditions
                self._touch(pod)
                moved = True
        return moved

    def _make_pod(self, replica_set: dict[str, Any]) -> None:
        name = f"{replica_set['metadata']['name']}-{next(self._numbers):05d}"
        template = copy.deepcopy(replica_set["spec"]["template"])
        owner = {"kind": "ReplicaSet", "uid": replica_set["metadata"]["uid"], "controller": True}
        metadata = {
            **template["metadata"],
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": timestamp(self.now),
            "ownerReferences": [owner],
        }
        self.objects["Pod", name] = {"metadata": metadata, "spec": template["spec"], "status": {}}
        self._touch(self.objects["Pod", name])

    def _touch(self, obj: dict[str, Any]) -> None:
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))


def _ready(pod: Mapping[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _cost(pod: Mapping[str, Any]) -> int:
    annotations = pod["metadata"].get("annotations") or {}
    return int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))


def _merge(live: dict[str, Any], patch: Mapping[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, Mapping):
            if not isinstance(live.get(key), dict):
                live[key] = {}
            _merge(live[key], value)
        else:
            live[key] = value
