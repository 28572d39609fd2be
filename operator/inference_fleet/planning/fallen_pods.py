"""Pods that ended for good: a node refused, evicted or lost them. Their ReplicaSet made others; nobody removes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.api.conditions import Reason
from inference_fleet.planning.snapshot import Object
from inference_fleet.planning.times import unix_seconds

# A pod made this much later than another one fell has nothing to do with it: its ReplicaSet makes the next one at once.
CONNECTED_SECONDS: Final = 600.0
# So many refusals in a row, and the next pod is not on its way any more: as many as restarts that fail.
FAILING_FALLS: Final = 3
_SHUT_DOWN: Final = "the node shut down"
_MADE_ROOM: Final = "the node made room for a pod of higher priority"
_RESOURCE: Final = r"[A-Za-z0-9](?:[A-Za-z0-9./-]{0,120}[A-Za-z0-9])?"


@dataclass(frozen=True)
class Fallen:
    """One pod that its node refused, evicted or lost. created, at: unix seconds. words: ours, with captured names."""

    name: str
    raw: Object
    created: float
    at: float
    node: str | None
    reason: Reason
    words: str


def fallen_pods(pods: Sequence[Object]) -> tuple[Fallen, ...]:
    """Those of `pods` that ended for good and are not on their way out, oldest first."""
    fallen = [pod for pod in pods if _fell(pod) and not pod["metadata"].get("deletionTimestamp")]
    return tuple(sorted((_view(pod) for pod in fallen), key=lambda one: (one.at, one.name)))


def connected(fallen: Sequence[Fallen], *, created: Sequence[float]) -> tuple[Fallen, ...]:
    """Those in whose place the newest pods were made. created: when the pods were, that live."""
    newest = max((*created, *(one.created for one in fallen)), default=0.0)
    return tuple(one for one in fallen if one.at >= newest - CONNECTED_SECONDS)


def _fell(pod: Object) -> bool:
    # An engine is started again for ever. But one that its node ends drains and exits with 0: the pod has succeeded.
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _view(pod: Object) -> Fallen:
    status = pod.get("status") or {}
    reason, words = _meaning(*_said(status))
    created = unix_seconds(pod["metadata"].get("creationTimestamp")) or 0.0
    changed = [unix_seconds(condition.get("lastTransitionTime")) for condition in status.get("conditions") or ()]
    return Fallen(
        name=str(pod["metadata"]["name"]),
        raw=pod,
        created=created,
        at=max(created, *(time for time in changed if time is not None), 0.0),
        node=(pod.get("spec") or {}).get("nodeName"),
        reason=reason,
        words=words,
    )


def _said(status: Mapping[str, Any]) -> tuple[str, str]:
    """The kubelet's reason and message; of a pod that has succeeded they stand in a condition alone."""
    conditions = [one for one in status.get("conditions") or () if one.get("type") == "DisruptionTarget"]
    told = status if status.get("reason") else (conditions or [status])[0]
    return str(told.get("reason") or ""), str(told.get("message") or "")


def _meaning(reason: str, message: str) -> tuple[Reason, str]:
    """The kubelet's word and text (pkg/kubelet/lifecycle, eviction, nodeshutdown; 1.37) as ours."""
    lacking = re.search(rf"^OutOf(?P<resource>{_RESOURCE})$", reason)
    if lacking is not None:
        return Reason.REFUSED_BY_NODE, f"the node has less {lacking['resource']} left than the scheduler counted on"
    if reason in ("Evicted", "TerminationByKubelet"):
        return _eviction(message)
    for pattern, meant, words in _WORDS:
        if pattern.search(reason):
            found = _DEVICES.search(message)
            return meant, words + (f" ({found['resource']})" if found else "")
    return Reason.POD_LOST, "the pod ended, and its node says nothing of why"


def _eviction(message: str) -> tuple[Reason, str]:
    if re.search(r"ephemeral.storage|EmptyDir|nodefs|imagefs|inodes|disk", message, re.IGNORECASE):
        return Reason.NO_SPACE, "the node evicted the pod: too little room on its disks, or more used than allowed"
    if re.search(r"memory", message, re.IGNORECASE):
        return Reason.OUT_OF_HOST_MEMORY, "the node evicted the pod: it ran out of memory"
    if re.search(r"node shutdown", message):
        return Reason.POD_LOST, _SHUT_DOWN
    if re.search(r"preempted", message, re.IGNORECASE):
        return Reason.POD_LOST, _MADE_ROOM
    return Reason.POD_LOST, "the node evicted the pod"


_DEVICES: Final = re.compile(rf"devices unavailable for (?P<resource>{_RESOURCE})[.,\s]")
_WORDS: Final[tuple[tuple[re.Pattern[str], Reason, str], ...]] = (
    (
        re.compile(r"^UnexpectedAdmissionError$"),
        Reason.REFUSED_BY_NODE,
        "the node has fewer healthy devices than it promised",
    ),
    (re.compile(r"^TopologyAffinityError$"), Reason.REFUSED_BY_NODE, "the node cannot align devices and processors"),
    (re.compile(r"^Node(?:Affinity|Ports|Name|UnschedulableTaint)"), Reason.REFUSED_BY_NODE, "the node changed"),
    (re.compile(r"^(?:Terminated|Shutdown|NodeShutdown)$"), Reason.POD_LOST, _SHUT_DOWN),
    (re.compile(r"^NodeLost$"), Reason.POD_LOST, "the node is gone"),
    (re.compile(r"^Preempt"), Reason.POD_LOST, _MADE_ROOM),
)
