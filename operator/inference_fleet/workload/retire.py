"""Who goes first when there are too many. Best effort: the ReplicaSet has the last word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Below every pod's default of 0. Only marked pods carry it, so one value is enough.
RETIRING_COST: Final = "-1000"


@dataclass(frozen=True, kw_only=True)
class Retiree:
    """What is known of a pod. load: requests it runs and queues. created: unix seconds. marked: chosen before."""

    name: str
    scheduled: bool
    ready: bool
    load: float
    created: float
    marked: bool = False


def retirement_order(pods: Sequence[Retiree]) -> tuple[str, ...]:
    """Names of the pods in the order they should go: pending, not ready, then least loaded, then youngest.

    A pod marked before stays chosen among its like, so that marks do not wander from pod to pod.
    """
    ordered = sorted(pods, key=lambda p: (p.scheduled, p.ready, not p.marked, p.load, -p.created, p.name))
    return tuple(pod.name for pod in ordered)
