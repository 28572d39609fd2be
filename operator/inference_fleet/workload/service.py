"""The Services in front of the engines."""

from __future__ import annotations

from typing import Any

from inference_fleet.api.names import ENGINE_PORT, ENGINE_PORT_NAME
from inference_fleet.workload.labels import object_labels, replica_selector, service_selector
from inference_fleet.workload.owner import Owner, owner_reference


def service(owner: Owner, *, port: int) -> dict[str, Any]:
    """The address callers use: pods that are ready and serving."""
    return _service(
        owner, name=owner.name, spec={"type": "ClusterIP", "selector": service_selector(owner.name)}, port=port
    )


def headless_service(owner: Owner) -> dict[str, Any]:
    """Every ready replica by its own address, also one that gets no new requests: for gateways and scraping."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": False,
        "selector": replica_selector(owner.name),
    }
    return _service(owner, name=f"{owner.name}-engines", spec=spec, port=ENGINE_PORT)


def _service(owner: Owner, *, name: str, spec: dict[str, Any], port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": object_labels(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            **spec,
            "ports": [{"name": ENGINE_PORT_NAME, "port": port, "targetPort": ENGINE_PORT_NAME, "protocol": "TCP"}],
        },
    }
