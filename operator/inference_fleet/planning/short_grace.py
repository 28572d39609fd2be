"""Pods that end without ever having served: their devices come free soon, not after the time of a full drain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from inference_fleet.planning.children import reference_to
from inference_fleet.planning.pools import Pool, owner_uid
from inference_fleet.planning.snapshot import Object, Snapshot
from inference_fleet.planning.times import unix_seconds
from inference_fleet.planning.writes import Delete
from inference_fleet.workload.drain import NEVER_READY_GRACE_SECONDS

# The node sets a pod's first conditions together; becoming ready and losing it again takes longer than this.
_TOGETHER_SECONDS: Final = 2.0
# Less than this is not worth a write; it also allows for clocks that differ.
_WORTH_SECONDS: Final = 2 * NEVER_READY_GRACE_SECONDS


def short_graces(snapshot: Snapshot, pools: Sequence[Pool], *, now: float) -> tuple[Delete, ...]:
    """A second, quicker deletion of each pod of ours that terminates and never was ready."""
    ours = {pool.replica_set["metadata"]["uid"] for pool in pools}
    namespace = str(snapshot.deployment["metadata"]["namespace"])
    return tuple(
        Delete(
            reference_to(pod, namespace=namespace, kind="Pod", api_version="v1"),
            pod["metadata"]["uid"],
            pod["metadata"]["resourceVersion"],
            "it never was ready: there is nothing to drain",
            grace_period_seconds=NEVER_READY_GRACE_SECONDS,
        )
        for pod in snapshot.pods
        if owner_uid(pod) in ours and _ends_in(pod, now=now) > _WORTH_SECONDS and never_was_ready(pod)
    )


def never_was_ready(pod: Object) -> bool:
    """Whether it has been unready since its node took it. False if that cannot be told."""
    conditions = {one.get("type"): one for one in (pod.get("status") or {}).get("conditions") or ()}
    ready, initialized = conditions.get("Ready"), conditions.get("Initialized")
    if ready is None or initialized is None or ready.get("status") != "False":
        return False
    since, begun = unix_seconds(ready.get("lastTransitionTime")), unix_seconds(initialized.get("lastTransitionTime"))
    return since is not None and begun is not None and since <= begun + _TOGETHER_SECONDS


def _ends_in(pod: Object, *, now: float) -> float:
    """Seconds until the node kills it; none if it does not terminate."""
    end = unix_seconds(pod["metadata"].get("deletionTimestamp"))
    return end - now if end is not None else 0.0
