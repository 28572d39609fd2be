"""Keeps somebody told of one kind: a paged list, then a watch from there; whatever breaks, it begins again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from inference_fleet.adapters.ports import Clock, Cluster, ClusterError, Expired, Object, Resource, Throttled

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
PAGE_SIZE: Final = 500
# A watch that ends sooner than this is not given a new one at once.
SHORT_WATCH_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told."""

    def replaced(self, resource: Resource, objects: Sequence[Object], *, list_version: str) -> None:
        """A whole list was read."""
        ...

    def changed(self, resource: Resource, obj: Object) -> None:
        """An object is new or different."""
        ...

    def deleted(self, resource: Resource, obj: Object) -> None:
        """An object is gone."""
        ...


class Reflector:
    """One kind, in one namespace or in all. `jitter`: a number in [0, 1) that spreads the retries."""

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        listener: Listener,
        clock: Clock,
        *,
        jitter: Callable[[], float],
        namespace: str | None = None,
        label_selector: str = "",
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self.lists = 0
        self.watches = 0
        self._cluster = cluster
        self._listener = listener
        self._clock = clock
        self._jitter = jitter
        self._namespace = namespace
        self._label_selector = label_selector
        self._version: str | None = None
        self._failures = 0
        self._heard: float | None = None

    @property
    def silent_seconds(self) -> float:
        """Since when nothing was heard of the API server; infinite before the first list."""
        return float("inf") if self._heard is None else self._clock.monotonic() - self._heard

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                begun = self._clock.monotonic()
                await self._watch()
                if self._clock.monotonic() - begun < SHORT_WATCH_SECONDS:
                    await self._clock.sleep(SHORT_WATCH_SECONDS)
            except Expired:
                _log.info("the watch of %s is too old: listing again", self.resource.plural)
                self._version = None
                await self._clock.sleep(self._back_off())
            except Throttled as error:
                await self._clock.sleep(max(error.retry_after_seconds, self._back_off()))
            except ClusterError as error:
                seconds = self._back_off()
                _log.warning("watching %s failed, again in %.1f s: %s", self.resource.plural, seconds, error)
                await self._clock.sleep(seconds)

    async def _list(self) -> None:
        objects, version = await list_all(
            self._cluster, self.resource, namespace=self._namespace, label_selector=self._label_selector
        )
        self.lists += 1
        self._hear()
        self._listener.replaced(self.resource, objects, list_version=version)
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        assert self._version is not None
        self.watches += 1
        events = self._cluster.watch(
            self.resource,
            resource_version=self._version,
            namespace=self._namespace,
            label_selector=self._label_selector,
        )
        async for event in events:
            self._hear()
            if event.type == "DELETED":
                self._listener.deleted(self.resource, event.object)
            elif event.type in ("ADDED", "MODIFIED"):
                self._listener.changed(self.resource, event.object)
            self._version = str(event.object["metadata"]["resourceVersion"])

    def _hear(self) -> None:
        self._heard = self._clock.monotonic()
        self._failures = 0

    def _back_off(self) -> float:
        full = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return full * (0.5 + 0.5 * self._jitter())


async def list_all(
    cluster: Cluster, resource: Resource, *, namespace: str | None = None, label_selector: str = ""
) -> tuple[list[Object], str]:
    """All pages of a list, and the resourceVersion that all of them show. Raises what the Cluster raises."""
    objects: list[Object] = []
    token: str | None = None
    while True:
        page = await cluster.list_page(
            resource, namespace=namespace, label_selector=label_selector, limit=PAGE_SIZE, continue_token=token
        )
        objects.extend(page.items)
        token = page.continue_token
        if token is None:
            return objects, page.resource_version
