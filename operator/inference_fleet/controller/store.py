"""What the operator knows of the cluster: trimmed at the door, indexed by the InferenceDeployment it belongs to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import (
    ACCELERATOR_CLASSES,
    CONTROLLER_REVISIONS,
    DISRUPTION_BUDGETS,
    INFERENCE_DEPLOYMENTS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from inference_fleet.api.names import LABEL_DEPLOYMENT
from inference_fleet.controller.trim import trim
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.snapshot import Snapshot

_NO_LOADS: Final[Mapping[str, float]] = {}
_NO_LENGTHS: Final[Mapping[str, int]] = {}
_NOTHING: Final[Mapping[str, Object]] = {}
Name = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped kinds."""


class Store:
    """Objects by kind and name. Every change tells which InferenceDeployments it touches.

    An older resourceVersion never replaces a newer one, so answers to our own writes may be put in beside the watch.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[Name, Object]] = {}
        self._children: dict[Key, dict[str, dict[str, Object]]] = {}
        self._users: dict[str, set[Key]] = {}
        self._gone: dict[tuple[str, Name], int] = {}
        self._snapshots: dict[Key, Snapshot] = {}

    def put(self, resource: Resource, obj: Object) -> set[Key]:
        """Take in an object as watched, listed or written; returns the keys whose plan it may change."""
        name = _name(obj)
        kind = self._objects.setdefault(resource.plural, {})
        former = kind.get(name)
        version = resource_version(obj)
        if former is not None and resource_version(former) >= version:
            return set()
        if self._gone.get((resource.plural, name), -1) >= version:
            return set()
        self._gone.pop((resource.plural, name), None)
        trimmed = trim(resource, obj)
        touched = set() if former is not None and _same(resource, former, trimmed) else self._touched(resource, trimmed)
        if former is not None and touched:
            touched |= self._touched(resource, former)
        self._unlink(resource, former)
        kind[name] = trimmed
        self._link(resource, trimmed)
        return touched

    def remove(self, resource: Resource, obj: Object) -> set[Key]:
        """Take out an object that a watch saw deleted, unless a newer one of the same name is here already."""
        name = _name(obj)
        former = self._objects.get(resource.plural, {}).get(name)
        version = resource_version(obj)
        if former is None or resource_version(former) > version:
            return set()
        # An answer to a write of ours that is still under way must not bring it back.
        self._gone[resource.plural, name] = version
        return self._drop(resource, former)

    def replace(self, resource: Resource, objects: Iterable[Object], *, list_version: str) -> set[Key]:
        """Make the kind what a list says it is; returns the keys for which that was news."""
        listed = {_name(obj): obj for obj in objects}
        touched: set[Key] = set()
        for obj in listed.values():
            touched |= self.put(resource, obj)
        seen_at = _number(list_version)
        for name, former in list(self._objects.get(resource.plural, {}).items()):
            # What we wrote after the list was made is not in it.
            if name not in listed and resource_version(former) <= seen_at:
                touched |= self._drop(resource, former)
        self._gone = {key: at for key, at in self._gone.items() if key[0] != resource.plural or at > seen_at}
        return touched

    def get(self, resource: Resource, *, name: str, namespace: str = "") -> Object | None:
        """One object, trimmed."""
        return self._objects.get(resource.plural, {}).get((namespace, name))

    def objects(self, resource: Resource) -> tuple[Object, ...]:
        """All objects of a kind."""
        return tuple(self._objects.get(resource.plural, {}).values())

    def deployments(self) -> tuple[Key, ...]:
        """All InferenceDeployments."""
        return tuple(self._objects.get(INFERENCE_DEPLOYMENTS.plural, {}))

    def count(self) -> int:
        """All objects."""
        return sum(len(kind) for kind in self._objects.values())

    def snapshot(
        self,
        key: Key,
        *,
        pod_loads: Mapping[str, float] = _NO_LOADS,
        reported_lengths: Mapping[str, int] = _NO_LENGTHS,
        refused_write: str | None = None,
    ) -> Snapshot | None:
        """Everything a plan looks at; None if there is no such InferenceDeployment.

        Without loads, lengths and refusal it is the same object until something in it changes.
        """
        if key not in self._snapshots and (taken := self._taken(key)) is not None:
            self._snapshots[key] = taken
        snapshot = self._snapshots.get(key)
        if snapshot is None or not (pod_loads or reported_lengths or refused_write):
            return snapshot
        return dataclasses.replace(
            snapshot, pod_loads=pod_loads, reported_lengths=reported_lengths, refused_write=refused_write
        )

    def _taken(self, key: Key) -> Snapshot | None:
        deployment = self._objects.get(INFERENCE_DEPLOYMENTS.plural, {}).get(key)
        if deployment is None:
            return None
        namespace = self._objects.get(NAMESPACES.plural, {}).get(("", key[0]))
        classes = self._objects.get(ACCELERATOR_CLASSES.plural, {})
        return Snapshot(
            deployment=deployment,
            replica_sets=self._children_of(key, REPLICA_SETS),
            pods=self._children_of(key, PODS),
            controller_revisions=self._children_of(key, CONTROLLER_REVISIONS),
            services=self._children_of(key, SERVICES),
            service_accounts=self._children_of(key, SERVICE_ACCOUNTS),
            disruption_budgets=self._children_of(key, DISRUPTION_BUDGETS),
            network_policies=self._children_of(key, NETWORK_POLICIES),
            accelerator_classes={name: obj for (_, name), obj in classes.items()},
            namespace_labels=None if namespace is None else dict(namespace["metadata"].get("labels") or {}),
        )

    def _children_of(self, key: Key, resource: Resource) -> tuple[Object, ...]:
        found = self._children.get(key, {}).get(resource.plural, _NOTHING)
        return tuple(found[name] for name in sorted(found))

    def _drop(self, resource: Resource, former: Object) -> set[Key]:
        del self._objects[resource.plural][_name(former)]
        self._unlink(resource, former)
        return self._touched(resource, former)

    def _outdate(self, resource: Resource, obj: Object) -> None:
        """Forget the snapshots that this object is in."""
        if resource in (ACCELERATOR_CLASSES, NAMESPACES):
            self._snapshots.clear()
        elif (key := _name(obj) if resource == INFERENCE_DEPLOYMENTS else _owner_key(obj)) is not None:
            self._snapshots.pop(key, None)

    def _link(self, resource: Resource, obj: Object) -> None:
        self._outdate(resource, obj)
        if resource == INFERENCE_DEPLOYMENTS:
            for name in _class_names(obj):
                self._users.setdefault(name, set()).add(_name(obj))
        elif (key := _owner_key(obj)) is not None:
            self._children.setdefault(key, {}).setdefault(resource.plural, {})[_name(obj)[1]] = obj

    def _unlink(self, resource: Resource, obj: Object | None) -> None:
        if obj is None:
            return
        self._outdate(resource, obj)
        if resource == INFERENCE_DEPLOYMENTS:
            for name in _class_names(obj):
                users = self._users.get(name, set())
                users.discard(_name(obj))
                if not users:
                    self._users.pop(name, None)
        elif (key := _owner_key(obj)) is not None:
            kinds = self._children.get(key, {})
            kinds.get(resource.plural, {}).pop(_name(obj)[1], None)
            if not any(kinds.values()):
                self._children.pop(key, None)

    def _touched(self, resource: Resource, obj: Object) -> set[Key]:
        if resource == INFERENCE_DEPLOYMENTS:
            return {_name(obj)}
        if resource == ACCELERATOR_CLASSES:
            # Also those whose accepted spec still names it: they carry pods of it.
            return set(self._users.get(_name(obj)[1], ())) | self._keys_with_pools_of(_name(obj)[1])
        if resource == NAMESPACES:
            return {key for key in self.deployments() if key[0] == _name(obj)[1]}
        key = _owner_key(obj)
        return set() if key is None else {key}

    def _keys_with_pools_of(self, class_name: str) -> set[Key]:
        found = set()
        for revision in self.objects(CONTROLLER_REVISIONS):
            key = _owner_key(revision)
            if key is not None and class_name in _class_names({"spec": (revision.get("data") or {}).get("spec") or {}}):
                found.add(key)
        return found


def resource_version(obj: Mapping[str, Any]) -> int:
    """The object's version as a number; versions of one kind can be compared since Kubernetes 1.35."""
    return _number(str(obj["metadata"].get("resourceVersion", "0")))


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def _name(obj: Mapping[str, Any]) -> Name:
    metadata = obj["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])


def _owner_key(obj: Mapping[str, Any]) -> Key | None:
    metadata = obj["metadata"]
    owner = (metadata.get("labels") or {}).get(LABEL_DEPLOYMENT)
    return (str(metadata.get("namespace") or ""), str(owner)) if owner else None


def _class_names(deployment: Mapping[str, Any]) -> set[str]:
    variants = (deployment.get("spec") or {}).get("variants")
    if not isinstance(variants, list):
        return set()
    return {str(variant.get("acceleratorClassName")) for variant in variants if isinstance(variant, Mapping)}


def _same(resource: Resource, former: Object, new: Object) -> bool:
    """Whether nothing but the version differs; nor, of an InferenceDeployment, anything but its status.

    Status is ours: were it news when another leader wrote it, two leaders would answer each other for ever.
    """
    left_out = ("metadata", "status") if resource == INFERENCE_DEPLOYMENTS else ("metadata",)
    if former.keys() - set(left_out) != new.keys() - set(left_out):
        return False
    metadata = {**new["metadata"], "resourceVersion": former["metadata"].get("resourceVersion")}
    return former["metadata"] == metadata and all(former[key] == new[key] for key in new if key not in left_out)
