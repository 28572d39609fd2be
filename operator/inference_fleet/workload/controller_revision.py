"""The record of an accepted spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_fleet.workload.labels import object_labels
from inference_fleet.workload.owner import Owner, owner_reference


def controller_revision(owner: Owner, *, name: str, data: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A ControllerRevision: `data` never changes once it is written; a higher `number` is newer."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "labels": object_labels(owner.name),
            "ownerReferences": [owner_reference(owner)],
        },
        "data": dict(data),
        "revision": number,
    }
