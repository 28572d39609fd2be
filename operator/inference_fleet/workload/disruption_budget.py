"""The PodDisruptionBudget: node drains take one replica at a time."""

from __future__ import annotations

from typing import Any

from inference_fleet.workload.labels import object_labels, replica_selector
from inference_fleet.workload.owner import Owner, owner_reference


def disruption_budget(owner: Owner) -> dict[str, Any]:
    """One replica at a time; pods that are not healthy never block a drain."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": owner.name,
            "namespace": owner.namespace,
            "labels": object_labels(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": replica_selector(owner.name)},
        },
    }
