"""Carries out what a plan wants to write: in order, fenced, and careful with whatever takes capacity away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inference_fleet.adapters.ports import (
    AlreadyExists,
    Cluster,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Object,
    Resource,
    Unavailable,
)
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS, REPLICA_SETS
from inference_fleet.api.names import INFERENCE_DEPLOYMENT_KIND
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.pools import owner_uid
from inference_fleet.planning.writes import Apply, Create, Delete, ObjectReference, Patch, Write

_INTERNAL_ERROR: Final = 500

_log = logging.getLogger(__name__)


class Occupied(ClusterError):
    """The name of a child is taken by an object that is not ours; it is left alone."""


class LostLead(ClusterError):
    """Another process leads: nothing is written any more."""


@dataclass(frozen=True)
class Execution:
    """How it went. touched: keys to look at again. refused: writes that will fail again unless something changes.

    lowered: a count was lowered; marking the pods that go first is not that yet.
    """

    done: int = 0
    lowered: bool = False
    touched: frozenset[Key] = frozenset()
    stale: ClusterError | None = None
    refused: tuple[ClusterError, ...] = ()


@dataclass
class _Sum:
    """What has come of the writes so far."""

    done: int = 0
    lowered: bool = False
    touched: set[Key] = field(default_factory=set)
    stale: ClusterError | None = None
    refused: list[ClusterError] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return self.stale is not None or bool(self.refused)


class Executor:
    """Writes through the cluster and puts every answer into the store, so that the view is never behind ourselves.

    leads: whether this process still holds the Lease. sees: whether the view of the children is being kept up.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        telemetry: Telemetry,
        *,
        leads: Callable[[], bool],
        sees: Callable[[], bool],
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._telemetry = telemetry
        self._leads = leads
        self._sees = sees

    async def execute(self, writes: Sequence[Write]) -> Execution:
        """All writes in order, except that new children which nothing waits for come at the same time.

        A write that fails stops those after it that take something away, not the others. Raises Unavailable,
        Throttled and LostLead at once: then nothing more would come through.
        """
        result = _Sum()
        for group in _groups(writes):
            wanted = [write for write in group if not (_takes_away(write) and result.failed)]
            attempts = await asyncio.gather(*(self._attempt(write, result) for write in wanted), return_exceptions=True)
            for attempt in attempts:
                if isinstance(attempt, BaseException):
                    raise attempt
        return Execution(result.done, result.lowered, frozenset(result.touched), result.stale, tuple(result.refused))

    async def _attempt(self, write: Write, result: _Sum) -> None:
        try:
            # Not `|=` around the await: the writes beside it add to the same set.
            touched = await self._write(write)
        except (Conflict, NotFound) as error:
            _log.debug("%s: %s", _words(write), error)
            result.stale = error
        except (Forbidden, Invalid, Occupied) as error:
            _log.warning("%s: %s", _words(write), error)
            result.refused.append(error)
        except Unavailable as error:
            if error.status != _INTERNAL_ERROR:
                raise
            # About this one object (no address left for a Service): the others may still come through.
            _log.warning("%s: %s", _words(write), error)
            result.refused.append(error)
        else:
            self._telemetry.writes.labels(write.reference.kind, type(write).__name__.lower()).inc()
            result.touched |= touched
            result.done += 1
            result.lowered = result.lowered or _lowers_a_count(write)

    async def write_status(self, deployment: Mapping[str, Any], status: Mapping[str, Any]) -> frozenset[Key]:
        """The whole status, by server-side apply to the status subresource; fenced like every other write."""
        self._fence()
        metadata = deployment["metadata"]
        body = {
            "apiVersion": INFERENCE_DEPLOYMENTS.api_version,
            "kind": INFERENCE_DEPLOYMENTS.kind,
            "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            "status": status,
        }
        answer = await self._cluster.apply(
            INFERENCE_DEPLOYMENTS,
            body,
            name=metadata["name"],
            namespace=metadata["namespace"],
            subresource="status",
        )
        self._store.put(INFERENCE_DEPLOYMENTS, answer)
        self._telemetry.writes.labels(INFERENCE_DEPLOYMENTS.kind, "status").inc()
        # The next plan starts from what it reads there.
        same = answer.get("status") == deployment.get("status")
        return frozenset() if same else frozenset({(metadata["namespace"], metadata["name"])})

    async def _write(self, write: Write) -> set[Key]:
        self._fence()
        resource = resource_of(write.reference)
        name, namespace = write.reference.name, write.reference.namespace
        match write:
            case Create():
                return await self._create(resource, write)
            case Apply():
                body = _fenced(write.body, write)
                answer = await self._cluster.merge_patch(resource, body, name=name, namespace=namespace)
            case Patch():
                if write.lowers:
                    self._look_twice(resource, write)
                body = _fenced(write.body, write)
                answer = await self._cluster.merge_patch(resource, body, name=name, namespace=namespace)
            case Delete():
                self._look_twice(resource, write)
                try:
                    await self._cluster.delete(
                        resource,
                        name=name,
                        namespace=namespace,
                        uid=write.uid,
                        resource_version=write.resource_version,
                        grace_period_seconds=write.grace_period_seconds,
                    )
                except NotFound:
                    _log.debug("%s: it is gone already", _words(write))
                return set()
        _log.info("%s: %s", _words(write), write.reason)
        return self._store.put(resource, answer)

    async def _create(self, resource: Resource, write: Create) -> set[Key]:
        name, namespace = write.reference.name, write.reference.namespace
        try:
            answer = await self._cluster.create(resource, write.body, namespace=namespace)
            _log.info("%s: %s", _words(write), write.reason)
        except AlreadyExists as error:
            answer = await self._cluster.get(resource, name=name, namespace=namespace)
            if owner_uid(answer) != owner_uid(write.body):
                if _owner_name(answer) == _owner_name(write.body) or answer["metadata"].get("deletionTimestamp"):
                    # The child of a former object of this name: the garbage collector is on its way.
                    raise Conflict(f"{name} still belongs to a former object", status=409) from error
                raise Occupied(f"{resource.kind} {namespace}/{name} exists and is not ours", status=409) from error
            if answer["metadata"].get("deletionTimestamp"):
                raise Conflict(f"{name} is being deleted", status=409) from error
        return self._store.put(resource, answer)

    def _fence(self) -> None:
        if not self._leads():
            raise LostLead("this process does not hold the Lease any more")

    def _look_twice(self, resource: Resource, write: Patch | Delete) -> None:
        """Capacity goes only if the view is alive and the object in it is the one that the plan saw."""
        if not self._sees():
            raise Conflict("the view of the cluster is not kept up: nothing is lowered", status=409)
        seen = self._store.get(resource, name=write.reference.name, namespace=write.reference.namespace)
        if seen is None or seen["metadata"].get("resourceVersion") != write.resource_version:
            raise Conflict(f"{write.reference.name} has changed since the plan was made", status=409)


def resource_of(reference: ObjectReference) -> Resource:
    """The REST resource of a reference."""
    group, _, version = reference.api_version.rpartition("/")
    return Resource(group, version, reference.plural, reference.kind)


def _fenced(body: Mapping[str, Any], write: Apply | Patch) -> Object:
    metadata = {**(body.get("metadata") or {}), "uid": write.uid, "resourceVersion": write.resource_version}
    return {**body, "metadata": metadata}


def _groups(writes: Sequence[Write]) -> list[list[Write]]:
    """Creates in a row come together; a pool comes alone, after what its pods need (record, service account)."""
    groups: list[list[Write]] = []
    last_alone: list[Write] | None = None
    for write in writes:
        alone = not isinstance(write, Create) or write.reference.kind == REPLICA_SETS.kind
        if alone or not groups or groups[-1] is last_alone:
            groups.append([])
        groups[-1].append(write)
        last_alone = groups[-1] if alone else None
    return groups


def _takes_away(write: Write) -> bool:
    return isinstance(write, Delete) or (isinstance(write, Patch) and write.lowers)


def _lowers_a_count(write: Write) -> bool:
    return isinstance(write, Patch) and write.lowers and write.reference.kind == REPLICA_SETS.kind


def _owner_name(obj: Mapping[str, Any]) -> str | None:
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller") and reference.get("kind") == INFERENCE_DEPLOYMENT_KIND:
            return str(reference.get("name"))
    return None


def _words(write: Write) -> str:
    reference = write.reference
    return f"{type(write).__name__.lower()} {reference.kind} {reference.namespace}/{reference.name}"
