"""What the cluster says of a deployment's pods that do not serve: the warnings that no status has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.adapters.ports import Cluster, ClusterError
from inference_fleet.adapters.resources import EVENTS, PODS
from inference_fleet.api.conditions import Reason
from inference_fleet.api.names import LABEL_DEPLOYMENT
from inference_fleet.api.reason_meanings import REASON_MEANINGS
from inference_fleet.cli.cluster_access import one_line
from inference_fleet.cli.engine_log import log_ending
from inference_fleet.engine.endings import Ending

_MOST_SHOWN: Final = 3
# Reasons of events of the kubelet and the device plugins -> ours. What pods tell in their status is not among them.
_MEANINGS: Final = {
    "FailedMount": Reason.CONFIGURATION_MISSING,
    "FailedAttachVolume": Reason.CONFIGURATION_MISSING,
    "FailedCreatePodSandBox": Reason.NODE_FAULT,
    "UnexpectedAdmissionError": Reason.REFUSED_BY_NODE,
    "NodeNotReady": Reason.NODE_FAULT,
    "Evicted": Reason.NO_SPACE,
}
# Said of every start, as the probe asks before the model is loaded; or told better by the pod's own status.
_USUAL: Final = frozenset({"Unhealthy", "BackOff", "FailedScheduling", "Failed"})


@dataclass(frozen=True, kw_only=True)
class PodEvent:
    """A warning about one pod. reason: the cluster's word, or ours for what the engine's log says."""

    pod: str
    reason: str
    message: str
    next_step: str | None


async def pod_events(cluster: Cluster, *, namespace: str, name: str) -> tuple[PodEvent, ...]:
    """What the log of an engine that ended says, then the newest warnings about pods that are not ready.

    Nothing where pods, their logs or events may not be read: the rights are the user's own.
    """
    try:
        pods = await cluster.list_page(PODS, namespace=namespace, label_selector=f"{LABEL_DEPLOYMENT}={name}")
    except ClusterError:
        return ()
    unready = [pod for pod in pods.items if not _is_ready(pod)]
    if not unready:
        return ()
    logged = await log_ending(cluster, namespace=namespace, pods=unready)
    found = await _warnings(cluster, namespace=namespace, pods={str(pod["metadata"]["name"]) for pod in unready})
    return (_from_log(*logged), *found) if logged is not None else found


def _from_log(pod: str, ending: Ending) -> PodEvent:
    step = ending.step or REASON_MEANINGS[ending.reason][1]
    return PodEvent(pod=pod, reason=ending.reason, message=f"by its log, {ending.cause}", next_step=step)


async def _warnings(cluster: Cluster, *, namespace: str, pods: set[str]) -> tuple[PodEvent, ...]:
    try:
        events = await cluster.list_page(EVENTS, namespace=namespace)
    except ClusterError:
        return ()
    warnings = [event for event in events.items if event.get("type") == "Warning" and _pod(event) in pods]
    newest = sorted(warnings, key=_time, reverse=True)
    found: dict[tuple[str, str], PodEvent] = {}
    for event in newest:
        reason = str(event.get("reason") or "")
        if reason not in _USUAL:
            told = PodEvent(
                pod=_pod(event),
                reason=reason,
                message=one_line(str(event.get("note") or "")),
                next_step=REASON_MEANINGS[_MEANINGS[reason]][1] if reason in _MEANINGS else None,
            )
            found.setdefault((told.reason, told.message), told)
    return tuple(found.values())[:_MOST_SHOWN]


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _pod(event: Mapping[str, Any]) -> str:
    regarding = event.get("regarding") or {}
    return str(regarding.get("name") or "") if regarding.get("kind") == "Pod" else ""


def _time(event: Mapping[str, Any]) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")
