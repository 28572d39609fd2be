"""Who owns child objects: one InferenceDeployment, by UID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference_fleet.api.names import API_VERSION, INFERENCE_DEPLOYMENT_KIND


@dataclass(frozen=True)
class Owner:
    """The InferenceDeployment that children belong to."""

    name: str
    namespace: str
    uid: str


def owner_reference(owner: Owner) -> dict[str, Any]:
    """The controlling owner reference: children go with their owner, with the operator down too."""
    return {
        "apiVersion": API_VERSION,
        "kind": INFERENCE_DEPLOYMENT_KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
