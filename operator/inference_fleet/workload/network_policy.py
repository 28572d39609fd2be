"""The NetworkPolicy of the engines: who may talk to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference_fleet.api.inference_deployment import NetworkPolicyPeer
from inference_fleet.api.names import ENGINE_PORT_NAME
from inference_fleet.workload.labels import object_labels, replica_selector
from inference_fleet.workload.owner import Owner, owner_reference


def network_policy(owner: Owner, *, clients: Sequence[NetworkPolicyPeer]) -> dict[str, Any]:
    """Ingress on the engine port from the declared clients only: engines leave /pause and others open."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": object_labels(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "podSelector": {"matchLabels": replica_selector(owner.name)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [_peer(client) for client in clients],
                    "ports": [{"port": ENGINE_PORT_NAME, "protocol": "TCP"}],
                }
            ]
            if clients
            else [],
        },
    }


def _peer(client: NetworkPolicyPeer) -> dict[str, Any]:
    peer: dict[str, Any] = {}
    if client.namespace_selector is not None:
        peer["namespaceSelector"] = {"matchLabels": dict(client.namespace_selector.match_labels)}
    if client.pod_selector is not None:
        peer["podSelector"] = {"matchLabels": dict(client.pod_selector.match_labels)}
    return peer
