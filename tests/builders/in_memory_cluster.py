"""A cluster in memory behind the Cluster port: versions, fences, apply, watches, owner references.

What follows from objects by itself (ReplicaSets making pods, pods becoming ready) is in `pod_life.py`.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from builders.clock import VirtualClock
from inference_fleet.adapters import ports
from inference_fleet.adapters.ports import Object, Page, Resource, WatchEvent

BOOKMARK_SECONDS = 60.0
Name = tuple[str, str]


@dataclass(frozen=True)
class Write:
    """One write that changed something."""

    verb: str
    plural: str
    namespace: str
    name: str
    subresource: str | None = None


@dataclass
class _Watcher:
    resource: Resource
    namespace: str | None
    events: asyncio.Queue[WatchEvent] = field(default_factory=asyncio.Queue)


Hook = Callable[[str, Resource, str], None]


class InMemoryCluster:
    """`before` and `after` may raise: before, nothing has happened; after, it has but the answer is lost."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.objects: dict[str, dict[Name, Object]] = {}
        self.writes: list[Write] = []
        self.before: Hook = lambda verb, resource, name: None
        self.after: Hook = lambda verb, resource, name: None
        self.reads_fail_with: ports.ClusterError | None = None
        self.changed: list[Callable[[Resource, Object], None]] = []
        self._version = 100
        self._uid = 0
        self._watchers: list[_Watcher] = []
        self._history: list[tuple[int, Resource, WatchEvent]] = []
        self._compacted = 0
        self._applied: dict[tuple[str, Name], Mapping[str, Any]] = {}

    # --- reading ---------------------------------------------------------------------------------------------------
    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        await self._reading()
        found = [
            copy.deepcopy(obj)
            for (home, _), obj in sorted(self.objects.get(resource.plural, {}).items())
            if namespace in (None, home) and _selected(obj, label_selector)
        ]
        start = int(continue_token or 0)
        rest = str(start + limit) if start + limit < len(found) else None
        return Page(found[start : start + limit], rest, str(self._version))

    async def watch(
        self, resource: Resource, *, resource_version: str, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        await self._reading()
        since = int(resource_version)
        if since < self._compacted:
            raise ports.Expired("too old resource version", status=410)
        watcher = _Watcher(resource, namespace)
        for version, kind, event in self._history:
            if version > since and kind.plural == resource.plural:
                watcher.events.put_nowait(event)
        self._watchers.append(watcher)
        try:
            while True:
                event = await self._next(watcher)
                if event.type == "ERROR":
                    raise ports.Unavailable("the watch broke")
                home = event.object["metadata"].get("namespace")
                if event.type == "BOOKMARK" or (namespace in (None, home) and _selected(event.object, label_selector)):
                    yield copy.deepcopy(event)
        finally:
            self._watchers.remove(watcher)

    async def get(self, resource: Resource, *, name: str, namespace: str | None = None) -> Object:
        await self._reading()
        return copy.deepcopy(self._find(resource, name, namespace))

    # --- writing ---------------------------------------------------------------------------------------------------
    async def create(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Object:
        name = str(body["metadata"]["name"])
        await self._writing("create", resource, name)
        if (namespace or "", name) in self.objects.get(resource.plural, {}):
            raise ports.AlreadyExists(f"{name} exists", status=409)
        return self._answer("create", resource, self.add(resource, body, namespace=namespace))

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        await self._writing("apply", resource, name)
        live = self._fenced(resource, body, name, namespace)
        new = copy.deepcopy(live)
        if subresource == "status":
            new["status"] = copy.deepcopy(body["status"])
        else:
            key = (resource.plural, (namespace or "", name))
            wanted = {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}
            _apply(new, wanted, self._applied.get(key, {}))
            self._applied[key] = copy.deepcopy(wanted)
        self._store(resource, live, new, verb="apply", subresource=subresource)
        return self._answer("apply", resource, new)

    async def merge_patch(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        await self._writing("patch", resource, name)
        live = self._fenced(resource, body, name, namespace)
        new = _merged(copy.deepcopy(live), body)
        self._store(resource, live, new, verb="patch", subresource=subresource)
        return self._answer("patch", resource, new)

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, name: str, namespace: str | None = None
    ) -> Object:
        await self._writing("replace", resource, name)
        live = self._fenced(resource, body, name, namespace)
        new = copy.deepcopy(dict(body))
        self._store(resource, live, new, verb="replace")
        return self._answer("replace", resource, new)

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str | None = None,
        uid: str,
        resource_version: str | None,
        grace_period_seconds: int | None = None,
    ) -> None:
        await self._writing("delete", resource, name)
        live = self._find(resource, name, namespace)
        metadata = live["metadata"]
        if metadata["uid"] != uid or resource_version not in (None, metadata["resourceVersion"]):
            raise ports.Conflict(f"{name} has changed", status=409)
        self.writes.append(Write("delete", resource.plural, namespace or "", name))
        self.remove(resource, live)
        self.after("delete", resource, name)

    # --- by hand, and by what lives in the cluster ------------------------------------------------------------------
    def add(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Object:
        """Put an object in, as its own author."""
        obj = copy.deepcopy(dict(body))
        self._uid += 1
        obj.setdefault("apiVersion", resource.api_version)
        obj.setdefault("kind", resource.kind)
        metadata = obj["metadata"] = {**obj["metadata"], "uid": f"uid-{self._uid}", "generation": 1}
        metadata["creationTimestamp"] = timestamp(self.clock.now())
        if namespace:
            metadata["namespace"] = namespace
        self.objects.setdefault(resource.plural, {})[namespace or "", str(metadata["name"])] = obj
        self._tell(resource, "ADDED", obj)
        return obj

    def edit(self, resource: Resource, name: str, namespace: str, change: Callable[[Object], None]) -> Object:
        """Change an object, as somebody else."""
        live = self._find(resource, name, namespace)
        new = copy.deepcopy(live)
        change(new)
        self._store(resource, live, new, verb=None)
        return new

    def remove(self, resource: Resource, obj: Object) -> None:
        """Take an object out, and all that it owns."""
        metadata = obj["metadata"]
        self.objects[resource.plural].pop((metadata.get("namespace", ""), metadata["name"]))
        self._applied.pop((resource.plural, (metadata.get("namespace", ""), metadata["name"])), None)
        self._tell(resource, "DELETED", obj)
        for plural, kind in list(self.objects.items()):
            for child in list(kind.values()):
                owners = child["metadata"].get("ownerReferences") or ()
                if any(owner["uid"] == metadata["uid"] for owner in owners) and _name(child) in kind:
                    group, _, version = child["apiVersion"].rpartition("/")
                    self.remove(Resource(group, version, plural, child["kind"]), child)

    def find(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """One object as it is."""
        return self.objects.get(resource.plural, {}).get((namespace, name))

    def all(self, resource: Resource) -> list[Object]:
        """All objects of a kind, by name."""
        return [obj for _, obj in sorted(self.objects.get(resource.plural, {}).items())]

    def break_watches(self, *, compact: bool = False) -> None:
        """End every watch; with `compact` the past is forgotten, so that all must list anew."""
        if compact:
            self._compacted = self._version
            self._history.clear()
        for watcher in self._watchers:
            watcher.events.put_nowait(WatchEvent("ERROR", {"metadata": {}}))

    # --- inside ----------------------------------------------------------------------------------------------------
    def _store(
        self, resource: Resource, live: Object, new: Object, *, verb: str | None, subresource: str | None = None
    ) -> None:
        metadata = new["metadata"]
        # A write that changes nothing changes no version either.
        metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
        metadata["uid"] = live["metadata"]["uid"]
        if json.dumps(new, sort_keys=True) == json.dumps(live, sort_keys=True):
            return
        if new.get("spec") != live.get("spec"):
            metadata["generation"] = live["metadata"]["generation"] + 1
        self.objects[resource.plural][_name(new)] = new
        if verb is not None:
            self.writes.append(Write(verb, resource.plural, *_name(new), subresource))
        self._tell(resource, "MODIFIED", new)

    def _tell(self, resource: Resource, kind: str, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        event = WatchEvent(kind, copy.deepcopy(obj))
        self._history.append((self._version, resource, event))
        for watcher in self._watchers:
            if watcher.resource.plural == resource.plural:
                watcher.events.put_nowait(event)
        for listener in self.changed:
            listener(resource, obj)

    async def _next(self, watcher: _Watcher) -> WatchEvent:
        if not watcher.events.empty():
            return watcher.events.get_nowait()
        arrival = asyncio.ensure_future(watcher.events.get())
        timer = asyncio.ensure_future(self.clock.sleep(BOOKMARK_SECONDS))
        try:
            await asyncio.wait((arrival, timer), return_when=asyncio.FIRST_COMPLETED)
            if arrival.done():
                return arrival.result()
            return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}})
        finally:
            timer.cancel()
            arrival.cancel()

    async def _reading(self) -> None:
        await asyncio.sleep(0)
        if self.reads_fail_with is not None:
            raise self.reads_fail_with

    async def _writing(self, verb: str, resource: Resource, name: str) -> None:
        await asyncio.sleep(0)
        self.before(verb, resource, name)

    def _answer(self, verb: str, resource: Resource, obj: Object) -> Object:
        if verb == "create":
            self.writes.append(Write(verb, resource.plural, *_name(obj)))
        self.after(verb, resource, obj["metadata"]["name"])
        return copy.deepcopy(obj)

    def _find(self, resource: Resource, name: str, namespace: str | None) -> Object:
        found = self.objects.get(resource.plural, {}).get((namespace or "", name))
        if found is None:
            raise ports.NotFound(f"no {resource.plural} {name}", status=404)
        return found

    def _fenced(self, resource: Resource, body: Mapping[str, Any], name: str, namespace: str | None) -> Object:
        live = self._find(resource, name, namespace)
        for field_name in ("uid", "resourceVersion"):
            wanted = body.get("metadata", {}).get(field_name)
            if wanted is not None and wanted != live["metadata"][field_name]:
                raise ports.Conflict(f"{name}: {field_name} is {live['metadata'][field_name]}", status=409)
        return live


def timestamp(seconds: float) -> str:
    """As Kubernetes writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(obj: Mapping[str, Any]) -> Name:
    return str(obj["metadata"].get("namespace", "")), str(obj["metadata"]["name"])


def _selected(obj: Mapping[str, Any], selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return not selector or selector in labels


def _merged(live: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(live) if isinstance(live, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _apply(live: dict[str, Any], wanted: Mapping[str, Any], former: Mapping[str, Any]) -> None:
    """What is wanted goes in; what we wanted before and do not want any more goes out. Lists are taken whole."""
    for key in former:
        if key not in wanted:
            live.pop(key, None)
    for key, value in wanted.items():
        if isinstance(value, Mapping) and isinstance(live.get(key), dict):
            before = former.get(key)
            _apply(live[key], value, before if isinstance(before, Mapping) else {})
        else:
            live[key] = copy.deepcopy(value)
