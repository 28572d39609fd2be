"""What a plan wants to write. Each write is fenced by what it was planned against, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ObjectReference:
    """Which object: apiVersion and kind as in manifests, with the REST plural."""

    api_version: str
    kind: str
    plural: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Create:
    """POST a new object. If the name is taken: by our owner it is done already, by another it is a refusal."""

    reference: ObjectReference
    body: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class Apply:
    """The whole object as we want it, as a JSON merge patch fenced by uid and resourceVersion; lists are replaced,
    and what is ours and no longer wanted is named with None.

    Not a server-side apply: what a create has set stays owned by that operation, so a Service whose port changes would
    keep the old one beside the new one.
    """

    reference: ObjectReference
    body: Mapping[str, Any]
    uid: str
    resource_version: str
    reason: str


@dataclass(frozen=True)
class Patch:
    """JSON merge patch of a few fields (labels, annotations, spec.replicas), fenced by uid and resourceVersion.

    `lowers`: the write takes capacity away, so the executor must have seen our own last write to the object.
    """

    reference: ObjectReference
    body: Mapping[str, Any]
    uid: str
    resource_version: str
    reason: str
    lowers: bool = False


@dataclass(frozen=True)
class Delete:
    """DELETE with uid and resourceVersion as preconditions."""

    reference: ObjectReference
    uid: str
    resource_version: str
    reason: str
    grace_period_seconds: int | None = None


Write = Create | Apply | Patch | Delete


@dataclass(frozen=True)
class EventNote:
    """An event on the InferenceDeployment, posted once per transition."""

    type: str
    reason: str
    message: str
