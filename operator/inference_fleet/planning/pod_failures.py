"""Why a pod does not start: from its container's state, the kubelet's words and the end of the engine's log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.api.conditions import Reason
from inference_fleet.api.names import ENGINE_CONTAINER
from inference_fleet.engine.endings import ending_of
from inference_fleet.planning.times import unix_seconds

# A container that ended this often is not on its way any more (kubelet backs off 10, 20, 40 s ...).
FAILING_RESTARTS: Final = 3
_WAITING_REASONS: Final = {
    "CrashLoopBackOff": Reason.ENGINE_CRASHED,
    "ImagePullBackOff": Reason.IMAGE_NOT_AVAILABLE,
    "ErrImagePull": Reason.IMAGE_NOT_AVAILABLE,
    "ErrImageNeverPull": Reason.IMAGE_NOT_AVAILABLE,
    "InvalidImageName": Reason.IMAGE_NOT_AVAILABLE,
    "CreateContainerConfigError": Reason.CONFIGURATION_MISSING,
    "CreateContainerError": Reason.CONFIGURATION_MISSING,
    "RunContainerError": Reason.NODE_FAULT,
}
# What no restart heals: such a container is not on its way even while it tries again.
_LASTING: Final = frozenset(
    {
        Reason.UNSUPPORTED_FLAG,
        Reason.SETTING_REFUSED_BY_ENGINE,
        Reason.UNSUPPORTED_MODEL,
        Reason.MODEL_NOT_FOUND,
        Reason.MODEL_GATED,
        Reason.MODEL_DAMAGED,
        Reason.TOKEN_REFUSED,
    }
)
# The kubelet counts in whole seconds, and its last probe may come a little early.
_BUDGET_SHARE: Final = 0.95
_OBJECT: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_MISSING: Final = (
    (
        re.compile(
            r"couldn't find key (?P<key>[A-Za-z0-9._-]{1,253}) in (?P<kind>Secret|ConfigMap)"
            rf" (?P<name>{_OBJECT}(?:/{_OBJECT})?)"
        ),
        "{kind} {name} has no key {key}",
    ),
    (re.compile(rf'(?P<kind>secret|configmap) "(?P<name>{_OBJECT})" not found'), "{kind} {name} is not there"),
)
_PULLING: Final = (
    (re.compile(r"no space left on device"), Reason.NO_SPACE, "the node has no room for the image"),
    (re.compile(r"toomanyrequests|429|rate limit"), Reason.IMAGE_NOT_AVAILABLE, "the registry refuses: too many pulls"),
    (
        re.compile(r"unauthorized|denied|authentication required|no basic auth|403 Forbidden"),
        Reason.IMAGE_NOT_AVAILABLE,
        "the registry refuses: there is no such image, or pod.imagePullSecrets may not pull it",
    ),
    (
        re.compile(r"not found|manifest unknown|NotFound"),
        Reason.IMAGE_NOT_AVAILABLE,
        "the registry has no such image or tag",
    ),
    (
        re.compile(r"no such host|i/o timeout|connection refused|deadline exceeded|network is unreachable"),
        Reason.IMAGE_NOT_AVAILABLE,
        "the registry cannot be reached from the node",
    ),
    (
        re.compile(r"no match for platform"),
        Reason.IMAGE_NOT_AVAILABLE,
        "the image is not for the node's processor",
    ),
)


@dataclass(frozen=True)
class PodFailure:
    """Why a pod will not get ready. words: the fact and, where it is more than the reason's advice, what to do.

    lasting: no restart heals it, so that it is told while the container tries again.
    """

    reason: Reason
    words: str
    lasting: bool = False


def failure_of(status: Mapping[str, Any], *, start_budget_seconds: float | None) -> PodFailure | None:
    """None while the engine's container is on its way or serves."""
    container = engine_container(status)
    if container is None:
        return None
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = _WAITING_REASONS.get(str(waiting.get("reason")))
    message = str(waiting.get("message") or "")
    if reason is Reason.IMAGE_NOT_AVAILABLE:
        return _pull(message)
    if reason in (Reason.CONFIGURATION_MISSING, Reason.NODE_FAULT):
        return _creation(message, reason=reason)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    restarts = int(container.get("restartCount") or 0)
    found = _end(ended, start_budget_seconds=start_budget_seconds) if ended else None
    if reason is Reason.ENGINE_CRASHED or restarts >= FAILING_RESTARTS:
        return found or PodFailure(Reason.ENGINE_CRASHED, "the engine ends again and again: see its log")
    return found if found is not None and found.lasting else None


def loads(status: Mapping[str, Any]) -> bool:
    """Whether the engine runs, so that it only has to load its model."""
    container = engine_container(status)
    return container is not None and bool((container.get("state") or {}).get("running") is not None)


def engine_container(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The status of the engine's container, once there is one."""
    containers = status.get("containerStatuses") or ()
    return next((each for each in containers if each.get("name") == ENGINE_CONTAINER), None)


def _end(ended: Mapping[str, Any], *, start_budget_seconds: float | None) -> PodFailure | None:
    if ended.get("reason") == "OOMKilled":
        return PodFailure(Reason.OUT_OF_HOST_MEMORY, "the kernel ended the engine at the container's memory limit")
    code = ended.get("exitCode")
    # An engine that was told to end has no cause, whatever it wrote in its life.
    ending = ending_of(str(ended.get("message") or "")) if code else None
    if ending is not None:
        words = f"{ending.cause}. {ending.step}" if ending.step else ending.cause
        return PodFailure(ending.reason, words, lasting=ending.lasting or ending.reason in _LASTING)
    began, finished = unix_seconds(ended.get("startedAt")), unix_seconds(ended.get("finishedAt"))
    lived = finished - began if began is not None and finished is not None else 0.0
    if start_budget_seconds and lived >= start_budget_seconds * _BUDGET_SHARE:
        words = f"it was not ready within its start budget of {round(start_budget_seconds / 60)} min"
        return PodFailure(Reason.START_TOO_SLOW, words)
    return PodFailure(Reason.ENGINE_CRASHED, f"the engine ends with status {code}: see its log") if code else None


def _pull(message: str) -> PodFailure:
    for pattern, reason, words in _PULLING:
        if pattern.search(message):
            return PodFailure(reason, words)
    return PodFailure(Reason.IMAGE_NOT_AVAILABLE, "the image cannot be pulled")


def _creation(message: str, *, reason: Reason) -> PodFailure:
    for pattern, words in _MISSING:
        found = pattern.search(message)
        if found is not None:
            return PodFailure(Reason.CONFIGURATION_MISSING, words.format(**found.groupdict()))
    ending = ending_of(message)
    if ending is not None and ending.reason in (Reason.NODE_FAULT, Reason.NO_DEVICE, Reason.NO_SPACE):
        return PodFailure(ending.reason, ending.cause)
    if reason is Reason.NODE_FAULT:
        return PodFailure(reason, "the node's container runtime cannot start the engine")
    return PodFailure(reason, "a Secret, ConfigMap or volume that the pod needs is missing")
