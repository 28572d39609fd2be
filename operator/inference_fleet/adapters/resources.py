"""The kinds the operator reads and writes."""

from __future__ import annotations

from typing import Final

from inference_fleet.adapters.ports import Resource
from inference_fleet.api.names import (
    ACCELERATOR_CLASS_KIND,
    ACCELERATOR_CLASS_PLURAL,
    GROUP,
    INFERENCE_DEPLOYMENT_KIND,
    INFERENCE_DEPLOYMENT_PLURAL,
    VERSION,
)

INFERENCE_DEPLOYMENTS: Final = Resource(GROUP, VERSION, INFERENCE_DEPLOYMENT_PLURAL, INFERENCE_DEPLOYMENT_KIND)
ACCELERATOR_CLASSES: Final = Resource(
    GROUP, VERSION, ACCELERATOR_CLASS_PLURAL, ACCELERATOR_CLASS_KIND, namespaced=False
)
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets", "ReplicaSet")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICES: Final = Resource("", "v1", "services", "Service")
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
DISRUPTION_BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")

CHILDREN: Final = (
    REPLICA_SETS,
    PODS,
    CONTROLLER_REVISIONS,
    SERVICES,
    SERVICE_ACCOUNTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
)
"""What belongs to an InferenceDeployment and carries its label."""
