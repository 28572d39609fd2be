"""What is kept of an object: a pod as the API server sends it takes 20 KiB, as a plan needs it 1 KiB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import NAMESPACES, PODS
from inference_fleet.api.names import ANNOTATION_POD_DELETION_COST

_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_POD_STATUS: Final = ("phase", "reason", "message", "podIP", "startTime")
_CONTAINER_STATUS: Final = ("name", "ready", "started", "restartCount", "state", "lastState")


def trim(resource: Resource, obj: Mapping[str, Any]) -> Object:
    """The object without what no plan reads: managed fields, last-applied copies, most of a pod."""
    metadata = {key: obj["metadata"][key] for key in _METADATA if key in obj["metadata"]}
    if resource == NAMESPACES:
        return {"metadata": {key: metadata[key] for key in ("name", "resourceVersion", "labels") if key in metadata}}
    annotations = {
        key: value for key, value in (metadata.pop("annotations", None) or {}).items() if _kept(resource, key)
    }
    if annotations:
        metadata["annotations"] = annotations
    kept: Object = {key: value for key, value in obj.items() if key not in ("metadata", "spec", "status")}
    kept["metadata"] = metadata
    if resource == PODS:
        spec = obj.get("spec") or {}
        kept["spec"] = {"nodeName": spec["nodeName"]} if "nodeName" in spec else {}
        kept["status"] = _pod_status(obj.get("status") or {})
    else:
        kept.update({key: obj[key] for key in ("spec", "status") if key in obj})
    return kept


def _kept(resource: Resource, annotation: str) -> bool:
    if resource == PODS:
        return annotation == ANNOTATION_POD_DELETION_COST
    return annotation != _LAST_APPLIED


def _pod_status(status: Mapping[str, Any]) -> Object:
    kept: Object = {key: status[key] for key in _POD_STATUS if key in status}
    # Heartbeats would make every probe a change.
    kept["conditions"] = [
        {key: value for key, value in condition.items() if key not in ("lastProbeTime", "observedGeneration")}
        for condition in status.get("conditions") or ()
    ]
    for key in ("containerStatuses", "initContainerStatuses"):
        if status.get(key):
            kept[key] = [{name: one[name] for name in _CONTAINER_STATUS if name in one} for one in status[key]]
    return kept
