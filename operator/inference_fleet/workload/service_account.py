"""The engines' ServiceAccount: a name without a token."""

from __future__ import annotations

from typing import Any

from inference_fleet.workload.labels import object_labels
from inference_fleet.workload.owner import Owner, owner_reference


def service_account_name(owner: Owner) -> str:
    """Name of the engines' ServiceAccount."""
    return f"{owner.name}-engine"


def service_account(owner: Owner) -> dict[str, Any]:
    """An account with no rights and no token: engines never talk to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": service_account_name(owner),
            "namespace": owner.namespace,
            "labels": object_labels(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "automountServiceAccountToken": False,
    }
