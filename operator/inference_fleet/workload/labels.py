"""Labels and selectors: fixed from the first day, because a ReplicaSet's selector can never change."""

from __future__ import annotations

from typing import Final

from inference_fleet.api.names import (
    LABEL_DEPLOYMENT,
    LABEL_MANAGED_BY,
    LABEL_RANK,
    LABEL_REVISION,
    LABEL_ROLE,
    LABEL_SERVING,
    LABEL_VARIANT,
    MANAGED_BY,
)

# Until prefill and decode are served apart, every replica does both.
ROLE_BOTH: Final = "both"
# The pod of a replica that speaks for it; there is only one until a replica spans nodes.
RANK_LEADER: Final = "0"


def object_labels(name: str) -> dict[str, str]:
    """Labels of every child of the InferenceDeployment `name`. Nothing is copied from its own labels."""
    return {LABEL_DEPLOYMENT: name, LABEL_MANAGED_BY: MANAGED_BY}


def pool_labels(name: str, *, variant: str, revision: str) -> dict[str, str]:
    """Labels of a pool's ReplicaSet."""
    return {**object_labels(name), **pool_selector(name, variant=variant, revision=revision)}


def pool_selector(name: str, *, variant: str, revision: str) -> dict[str, str]:
    """What a pool's ReplicaSet selects its pods by."""
    return {
        LABEL_DEPLOYMENT: name,
        LABEL_VARIANT: variant,
        LABEL_ROLE: ROLE_BOTH,
        LABEL_REVISION: revision,
    }


def pod_labels(name: str, *, variant: str, revision: str) -> dict[str, str]:
    """Labels of a pod from birth; it is in the endpoints as soon as it is ready."""
    return {
        **pool_labels(name, variant=variant, revision=revision),
        LABEL_RANK: RANK_LEADER,
        LABEL_SERVING: "true",
    }


def replica_selector(name: str) -> dict[str, str]:
    """One pod per replica, serving or not: for the PodDisruptionBudget and /scale."""
    return {LABEL_DEPLOYMENT: name, LABEL_RANK: RANK_LEADER}


def service_selector(name: str) -> dict[str, str]:
    """Pods that shall get requests: setting the last label to "false" unroutes a pod without ending it."""
    return {**replica_selector(name), LABEL_SERVING: "true"}


def scale_selector(name: str) -> str:
    """The selector of /scale as text."""
    return ",".join(f"{key}={value}" for key, value in replica_selector(name).items())
