"""What the operator may do in a cluster: one table, from which the manifests' roles are made.

No Secrets, no wildcards, nothing that a code path does not call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from inference_fleet.adapters.ports import Resource
from inference_fleet.adapters.resources import (
    ACCELERATOR_CLASSES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DISRUPTION_BUDGETS,
    EVENTS,
    INFERENCE_DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete"]
Reach = Literal["cluster", "listed namespaces", "own namespace"]

_FOLLOW: Final[tuple[Verb, ...]] = ("list", "watch")
# get: what a create found in its place.
_MAKE: Final[tuple[Verb, ...]] = (*_FOLLOW, "get", "create")


@dataclass(frozen=True)
class Permission:
    """Verbs on one resource, and the reason they are needed.

    reach: everywhere; everywhere, but only where the operator works in listed namespaces; where the operator runs.
    """

    resource: Resource
    verbs: tuple[Verb, ...]
    reason: str
    subresource: str = ""
    reach: Reach = "cluster"

    @property
    def path(self) -> str:
        """The resource as rules of roles name it."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


PERMISSIONS: Final[tuple[Permission, ...]] = (
    Permission(
        INFERENCE_DEPLOYMENTS,
        (*_FOLLOW, "patch"),
        "what users want; patch: spec.replicas, once, where Manual or External leave it out",
    ),
    Permission(INFERENCE_DEPLOYMENTS, ("patch",), "what became of it", subresource="status"),
    Permission(
        INFERENCE_DEPLOYMENTS,
        ("update",),
        "owner references with blockOwnerDeletion, where the API server checks them",
        subresource="finalizers",
    ),
    Permission(ACCELERATOR_CLASSES, _FOLLOW, "what devices there are"),
    Permission(NAMESPACES, _FOLLOW, "labels, for an AcceleratorClass that is only for some namespaces"),
    Permission(NAMESPACES, ("get",), "labels of the namespaces that are listed", reach="listed namespaces"),
    Permission(REPLICA_SETS, (*_MAKE, "patch", "delete"), "one for each pool of replicas; patch: their count"),
    Permission(
        PODS,
        (*_FOLLOW, "patch", "delete"),
        "readiness; patch: out of the endpoints and who goes first; delete: a pod that never served",
    ),
    Permission(CONTROLLER_REVISIONS, (*_MAKE, "delete"), "records of accepted specs"),
    Permission(SERVICES, (*_MAKE, "patch"), "how callers reach the engines"),
    Permission(SERVICE_ACCOUNTS, (*_MAKE, "patch"), "the engines' identity, without a token"),
    Permission(DISRUPTION_BUDGETS, (*_MAKE, "patch"), "one replica at a time when nodes are drained"),
    Permission(NETWORK_POLICIES, (*_MAKE, "patch", "delete"), "who may talk to the engines"),
    Permission(CONFIG_MAPS, ("get", "list", "create", "patch"), "what the scaler has learned; list: after a restart"),
    Permission(EVENTS, ("create",), "events on InferenceDeployments"),
    Permission(LEASES, ("get", "create", "update"), "one operator writes at a time", reach="own namespace"),
)


def permissions(reach: Reach) -> tuple[Permission, ...]:
    """The permissions of one reach, in the table's order."""
    return tuple(permission for permission in PERMISSIONS if permission.reach == reach)
