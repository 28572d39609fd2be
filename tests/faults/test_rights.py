"""The table of permissions is what the operator calls: no call without a right, and no right without a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import AlreadyExists, Object, Page, Resource, WatchEvent
from inference_fleet.adapters.resources import (
    CHILDREN,
    CONFIG_MAPS,
    DISRUPTION_BUDGETS,
    EVENTS,
    LEASES,
    PODS,
    SERVICE_ACCOUNTS,
)
from inference_fleet.controller.loop import OWN_KINDS, Loop, LoopSettings
from inference_fleet.controller.permissions import PERMISSIONS, Permission

Call = tuple[Resource, str, str]
CLIENTS = {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}}
# Asked for by the admission of owner references: no call of its own.
NO_CALL = ("inferencedeployments/finalizers", "update")


class NotedCluster:
    """The cluster in memory, with a note of each call. The first create of a kind gets lost on its way back."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._lost: set[str] = {EVENTS.plural, LEASES.plural}
        self.calls: set[Call] = set()

    async def list_page(self, resource: Resource, **words: Any) -> Page:
        self.calls.add((resource, "", "list"))
        found: Page = await self._cluster.list_page(resource, **words)
        return found

    def watch(self, resource: Resource, **words: Any) -> AsyncIterator[WatchEvent]:
        self.calls.add((resource, "", "watch"))
        found: AsyncIterator[WatchEvent] = self._cluster.watch(resource, **words)
        return found

    async def get(self, resource: Resource, **words: Any) -> Object:
        return await self._noted("get", "get", resource, **words)

    async def create(self, resource: Resource, body: Mapping[str, Any], **words: Any) -> Object:
        made = await self._noted("create", "create", resource, body, **words)
        if resource.plural not in self._lost:
            self._lost.add(resource.plural)
            raise AlreadyExists("it was made by the call whose answer was lost", status=409)
        return made

    async def apply(self, resource: Resource, body: Mapping[str, Any], **words: Any) -> Object:
        return await self._noted("patch", "apply", resource, body, **words)

    async def merge_patch(self, resource: Resource, body: Mapping[str, Any], **words: Any) -> Object:
        return await self._noted("patch", "merge_patch", resource, body, **words)

    async def replace(self, resource: Resource, body: Mapping[str, Any], **words: Any) -> Object:
        return await self._noted("update", "replace", resource, body, **words)

    async def delete(self, resource: Resource, **words: Any) -> None:
        await self._noted("delete", "delete", resource, **words)

    async def _noted(self, verb: str, method: str, resource: Resource, *args: Any, **words: Any) -> Object:
        self.calls.add((resource, str(words.get("subresource") or ""), verb))
        found: Object = await getattr(self._cluster, method)(resource, *args, **words)
        return found


def operator(w: World, cluster: NotedCluster, **settings: Any) -> Loop:
    wanted = {"reflected": (*OWN_KINDS, *CHILDREN), "workers": 4, "lease_namespace": "system", "identity": "a"}
    return Loop(cluster, w.signals, w.clock, settings=LoopSettings(**{**wanted, **settings}), jitter=lambda: 0.5)


def named(calls: set[Call]) -> set[tuple[str, str]]:
    return {(f"{r.plural}/{sub}" if sub else r.plural, verb) for r, sub, verb in calls}


def rights(table: tuple[Permission, ...]) -> set[tuple[str, str]]:
    return {(each.path, verb) for each in table for verb in each.verbs}


def spoil(obj: Object) -> None:
    """Somebody has edited a child."""
    obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "hand"


async def life(w: World) -> None:
    """All that can happen to a deployment."""
    settled = lambda: w.condition("Ready") == "True Serving"  # noqa: E731
    w.deploy(routing=CLIENTS)
    w.signals.load = {"llama": 12.0}
    await w.clock.advance_until(settled, within=300)
    w.edit(routing={**CLIENTS, "service": {"port": 80}})
    w.edit(routing={"service": {"port": 80}, "networkPolicy": {"clients": []}})
    await w.clock.advance(30)
    w.edit(routing={})
    for resource, name in ((SERVICE_ACCOUNTS, "llama-engine"), (DISRUPTION_BUDGETS, "llama")):
        w.cluster.edit(resource, name, NAMESPACE, spoil)
    w.signals.load = {"llama": 60.0}
    # The scaler's memory is kept each quarter of an hour.
    await w.clock.advance(2000)
    # More revisions than are kept.
    for length in range(12):
        w.edit(engine={"vllm": {"version": "0.33.0", "maxModelLen": 1024 + length}})
        await w.clock.advance_until(lambda: w.condition("RolledOut").startswith("False"), within=60)
        await w.clock.advance_until(lambda: w.condition("RolledOut").startswith("True"), within=900)
    await w.clock.advance(300)
    w.edit(scaling={"mode": "Manual"})
    await w.clock.advance(60)
    # A pod that ends without ever having been ready.
    (pod, *_) = w.pods.living()

    def ends(obj: Object) -> None:
        at = obj["status"]["conditions"][0]["lastTransitionTime"]
        ready = {"type": "Ready", "status": "False", "lastTransitionTime": at}
        obj["status"]["conditions"] = [ready, {"type": "Initialized", "status": "True", "lastTransitionTime": at}]
        obj["metadata"] |= {"deletionTimestamp": "2099-01-01T00:00:00Z", "deletionGracePeriodSeconds": 600}

    w.cluster.edit(PODS, pod["metadata"]["name"], NAMESPACE, ends)
    await w.clock.advance(30)


async def test_the_table_is_what_is_called() -> None:
    async with world() as w:
        cluster = NotedCluster(w.cluster)
        async with w.running(operator(w, cluster)):
            await life(w)
        listed = NotedCluster(w.cluster)
        async with w.running(operator(w, listed, namespaces=(NAMESPACE,))):
            await w.clock.advance(60)
        assert w.cluster.all(CONFIG_MAPS)
        called = named(cluster.calls | listed.calls)
        assert called - rights(PERMISSIONS) == set(), "a call without a right"
        assert rights(PERMISSIONS) - called == {NO_CALL}, "a right without a call"
