"""The writes that make child objects as they should be, and leave alone what already is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference_fleet.api.conditions import Reason
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.planning.likeness import holds, with_removals
from inference_fleet.planning.pools import owner_uid
from inference_fleet.planning.record import Record, superfluous
from inference_fleet.planning.snapshot import Object, Snapshot
from inference_fleet.planning.writes import Apply, Create, Delete, EventNote, ObjectReference, Write
from inference_fleet.workload.controller_revision import controller_revision
from inference_fleet.workload.disruption_budget import disruption_budget
from inference_fleet.workload.network_policy import network_policy
from inference_fleet.workload.owner import Owner
from inference_fleet.workload.service import headless_service, service
from inference_fleet.workload.service_account import service_account

PLURALS: Mapping[str, str] = {
    "ReplicaSet": "replicasets",
    "Pod": "pods",
    "ControllerRevision": "controllerrevisions",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "NetworkPolicy": "networkpolicies",
    "InferenceDeployment": "inferencedeployments",
}


def owner_of(snapshot: Snapshot) -> Owner:
    """The InferenceDeployment as the owner of its children."""
    metadata = snapshot.deployment["metadata"]
    return Owner(name=str(metadata["name"]), namespace=str(metadata["namespace"]), uid=str(metadata["uid"]))


def reference_to(
    obj: Object, *, namespace: str, kind: str | None = None, api_version: str | None = None
) -> ObjectReference:
    """How the API names an object. Items of a list carry neither kind nor apiVersion: then they are given."""
    kind = kind or str(obj["kind"])
    return ObjectReference(
        api_version=api_version or str(obj["apiVersion"]),
        kind=kind,
        plural=PLURALS[kind],
        namespace=namespace,
        name=str(obj["metadata"]["name"]),
    )


def shared_children(
    snapshot: Snapshot, spec: InferenceDeploymentSpec
) -> tuple[tuple[Write, ...], tuple[EventNote, ...]]:
    """Services, service account, disruption budget and network policy."""
    owner = owner_of(snapshot)
    policy = spec.routing.network_policy
    wanted: list[tuple[Mapping[str, Any], Sequence[Object]]] = [
        (service_account(owner), snapshot.service_accounts),
        (service(owner, port=spec.routing.service.port), snapshot.services),
        (headless_service(owner), snapshot.services),
        (disruption_budget(owner), snapshot.disruption_budgets),
    ]
    if policy is not None:
        wanted.append((network_policy(owner, clients=policy.clients), snapshot.network_policies))
    writes: list[Write] = []
    events: list[EventNote] = []
    for body, live in wanted:
        write, event = _make(body, live, owner)
        writes += [write] if write else []
        events += [event] if event else []
    if policy is None:
        writes += [
            _delete(old, "NetworkPolicy", "networking.k8s.io/v1", owner, "the spec no longer asks for it")
            for old in snapshot.network_policies
            if owner_uid(old) == owner.uid
        ]
    return tuple(writes), tuple(events)


def record_writes(snapshot: Snapshot, records: tuple[Record, ...], keep: Record) -> tuple[Write, ...]:
    """The record of the accepted spec, and the end of those that are too old."""
    owner = owner_of(snapshot)
    writes: list[Write] = []
    if keep.raw is None:
        body = controller_revision(
            owner, name=keep.name, data={"spec": keep.spec, "updates": keep.updates}, number=keep.number
        )
        writes.append(Create(reference_to(body, namespace=owner.namespace), body, "the spec is accepted"))
    for record in superfluous(records, keep):
        assert record.raw is not None
        writes.append(_delete(record.raw, "ControllerRevision", "apps/v1", owner, "newer records are kept"))
    return tuple(writes)


def _make(body: Mapping[str, Any], live: Sequence[Object], owner: Owner) -> tuple[Write | None, EventNote | None]:
    reference = reference_to(body, namespace=owner.namespace)
    for obj in live:
        metadata = obj["metadata"]
        if metadata["name"] != reference.name:
            continue
        if owner_uid(obj) != owner.uid:
            message = f"{reference.kind} {reference.name} exists and is not ours: it is left alone"
            return None, EventNote("Warning", Reason.NAME_TAKEN, message)
        patch = with_removals(body, live=obj)
        if metadata.get("deletionTimestamp") or holds(_comparable(obj), _comparable(patch)):
            return None, None
        return Apply(
            reference, patch, metadata["uid"], metadata["resourceVersion"], "it differs from what the spec asks for"
        ), None
    return Create(reference, body, "the spec asks for it"), None


def _comparable(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = obj.get("metadata") or {}
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "kind", "apiVersion", "status")}
    return {**rest, "labels": metadata.get("labels"), "annotations": metadata.get("annotations")}


def _delete(obj: Object, kind: str, api_version: str, owner: Owner, reason: str) -> Delete:
    reference = reference_to(obj, namespace=owner.namespace, kind=kind, api_version=api_version)
    return Delete(reference, obj["metadata"]["uid"], obj["metadata"]["resourceVersion"], reason)
