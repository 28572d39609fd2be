"""Pods that ended for good are removed: a node that refuses every pod makes one a second, and nobody else does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from inference_fleet.planning.children import reference_to
from inference_fleet.planning.pools import Pool
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.writes import Delete

# Of each pool, to be looked at. The cluster's own collector only begins at 12,500 pods.
KEPT_FALLEN_PODS: Final = 3


def fallen_removals(snapshot: Snapshot, pools: Sequence[Pool]) -> tuple[Delete, ...]:
    """Deletions of all but the newest few of each pool."""
    namespace = str(snapshot.deployment["metadata"]["namespace"])
    return tuple(
        Delete(
            reference_to(one.raw, namespace=namespace, kind="Pod", api_version="v1"),
            one.raw["metadata"]["uid"],
            one.raw["metadata"]["resourceVersion"],
            "it ended for good, and newer ones show why",
        )
        for pool in pools
        for one in pool.fallen[:-KEPT_FALLEN_PODS]
    )
