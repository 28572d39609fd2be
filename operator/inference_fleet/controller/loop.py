"""The whole loop from its three ports: cluster, signals, clock. Starts in order, runs until it is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.adapters.ports import Clock, Cluster, ClusterError, Forbidden, NotFound, Object, Resource, Signals
from inference_fleet.adapters.reflector import Reflector, list_all
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, CHILDREN, INFERENCE_DEPLOYMENTS, NAMESPACES
from inference_fleet.api.names import LABEL_DEPLOYMENT, LEASE_NAME
from inference_fleet.controller.checkpoints import Checkpoints
from inference_fleet.controller.event_recorder import EventRecorder
from inference_fleet.controller.executor import Executor
from inference_fleet.controller.lease import Lease
from inference_fleet.controller.reconciler import Reconciler
from inference_fleet.controller.refill import Refill
from inference_fleet.controller.signal_events import SignalEvents
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import CONTROLLER, Telemetry
from inference_fleet.controller.tick import FleetTick
from inference_fleet.controller.work_queue import WorkQueue

OWN_KINDS: Final = (INFERENCE_DEPLOYMENTS, ACCELERATOR_CLASSES)
# Bookmarks come every minute: three of them missed, and the view is not trusted to lower anything.
BLIND_AFTER_SECONDS: Final = 180.0
START_RETRY_SECONDS: Final = 5.0
CHECKPOINT_ROUND_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What the loop needs to know.

    namespaces: to work in, empty for all. tick_seconds, resync_seconds: between two looks at Prometheus, and two lists
    of everything. lease_namespace: None to write without a Lease. identity: of this process in the Lease. reflected:
    kinds that it watches by itself; ours (OWN_KINDS) are brought by kopf.
    """

    namespaces: tuple[str, ...] = ()
    tick_seconds: float = 15.0
    resync_seconds: float = 300.0
    workers: int = 16
    lease_namespace: str | None = None
    identity: str = "inference-fleet"
    reflected: tuple[Resource, ...] = CHILDREN


class Loop:
    """One operator. `jitter`: numbers in [0, 1)."""

    def __init__(
        self,
        cluster: Cluster,
        signals: Signals,
        clock: Clock,
        *,
        settings: LoopSettings,
        jitter: Callable[[], float],
        telemetry: Telemetry | None = None,
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry or Telemetry()
        self.store = Store()
        self.queue = WorkQueue(clock, jitter=jitter)
        self.synced = asyncio.Event()
        self.last_resync: float | None = None
        self._cluster = cluster
        self._clock = clock
        self.lease = (
            Lease(cluster, clock, namespace=settings.lease_namespace, identity=settings.identity, jitter=jitter)
            if settings.lease_namespace
            else None
        )
        self.tick = FleetTick(self.store, self.queue, signals, clock, self.telemetry, settings.tick_seconds)
        self._refill = Refill(self.store, self.tick, signals, clock)
        self._events = EventRecorder(cluster, clock, instance=settings.identity, busy=lambda: len(self.queue) > 0)
        self.tick.tell = SignalEvents(self.store, self._events, leads=self.leads).look
        self.checkpoints = Checkpoints(
            cluster, self.store, self.tick, clock, self._events, namespaces=settings.namespaces
        )
        executor = Executor(cluster, self.store, self.telemetry, leads=self.leads, sees=self.sees)
        self.reconciler = Reconciler(self.store, self.queue, executor, self._events, self.tick, clock, self.telemetry)
        self.reflectors = [
            Reflector(
                cluster,
                resource,
                self,
                clock,
                jitter=jitter,
                namespace=namespace if resource.namespaced else None,
                label_selector=LABEL_DEPLOYMENT if resource in CHILDREN else "",
            )
            for resource in (*settings.reflected, *(() if settings.namespaces else (NAMESPACES,)))
            for namespace in (settings.namespaces if resource.namespaced and settings.namespaces else (None,))
        ]
        self.telemetry.watch_queue(self.queue)
        self.telemetry.workers.labels(CONTROLLER).set(settings.workers)

    def leads(self) -> bool:
        """Whether we may write."""
        return self.lease is None or self.lease.holds()

    def sees(self) -> bool:
        """Whether every watch was heard of lately."""
        return all(reflector.silent_seconds < BLIND_AFTER_SECONDS for reflector in self.reflectors)

    def replaced(self, resource: Resource, objects: Sequence[Object], *, list_version: str) -> None:
        """A list was read. In several namespaces each list speaks of its own only, so it is taken one by one."""
        if len(self.settings.namespaces) > 1 and resource.namespaced:
            for obj in objects:
                self.changed(resource, obj)
            return
        for key in self.store.replace(resource, objects, list_version=list_version):
            self.queue.add(key)

    def changed(self, resource: Resource, obj: Object) -> None:
        """An object is new or different."""
        for key in self.store.put(resource, obj):
            self.queue.add(key)

    def deleted(self, resource: Resource, obj: Object) -> None:
        """An object is gone."""
        for key in self.store.remove(resource, obj):
            self.queue.add(key)

    async def run(self) -> None:
        """Lead, look, then work until cancelled. Raises LeaseLost, and whatever ends a task for good."""
        if self.lease is not None:
            self.telemetry.leads.labels(LEASE_NAME).set(0)
            await self.lease.acquire()
        self.telemetry.leads.labels(LEASE_NAME).set(1)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._start(tasks, self._keep_lease(), *(reflector.run() for reflector in self.reflectors))
                await self._look_first()
                self.synced.set()
                self._start(
                    tasks,
                    self.queue.run_timer(),
                    self.tick.run(),
                    self._refill.run(),
                    self._resync(),
                    self._save(),
                    self._events.run(),
                    *(self.reconciler.work() for _ in range(self.settings.workers)),
                )
        except BaseExceptionGroup as group:
            # One task ended for good and took the others along: its reason is the operator's.
            raise group.exceptions[0] from None
        finally:
            self.telemetry.leads.labels(LEASE_NAME).set(0)

    async def stop(self) -> None:
        """After `run` was cancelled: keep what was learned, let a successor begin at once."""
        if self.leads() and self.synced.is_set():
            await self.checkpoints.save_all()
        if self.lease is not None:
            await self.lease.release()

    def _start(self, tasks: asyncio.TaskGroup, *work: Coroutine[Any, Any, None]) -> None:
        for each in work:
            tasks.create_task(each)

    async def _keep_lease(self) -> None:
        if self.lease is not None:
            await self.lease.keep()

    async def _look_first(self) -> None:
        """Nothing is planned before everything was seen and measured once: a fresh process never starts by lowering."""
        while True:
            try:
                await self.read_everything((*OWN_KINDS,))
                break
            except NotFound:
                _log.error("the custom resources are not installed: kubectl apply -f crds/")
            except Forbidden as error:
                _log.error("the service account may not read what the operator needs: %s", error)
            except ClusterError as error:
                _log.warning("the API server does not answer: %s", error)
            await self._clock.sleep(START_RETRY_SECONDS)
        for reflector in self.reflectors:
            await reflector.synced.wait()
        await self.checkpoints.load()
        self._refill.begin()
        await self.tick.tick()
        self.last_resync = self._clock.monotonic()
        for key in self.store.deployments():
            self.queue.add(key)
        _log.info("%d InferenceDeployments, %d objects seen", len(self.store.deployments()), self.store.count())

    async def _resync(self) -> None:
        """List everything anew and queue every key: heals what a watch lost."""
        while True:
            await self._clock.sleep(self.settings.resync_seconds)
            try:
                corrections = await self.read_everything((*OWN_KINDS, *CHILDREN))
            except ClusterError as error:
                _log.warning("the resync failed and comes again: %s", error)
                continue
            self.telemetry.resync_corrections.inc(corrections)
            self.last_resync = self._clock.monotonic()
            for key in self.store.deployments():
                self.queue.add(key)

    async def read_everything(self, resources: Sequence[Resource]) -> int:
        """Replace the store by lists; returns for how many objects that was news. Raises what the cluster raises."""
        corrections = 0
        for resource in resources:
            selector = LABEL_DEPLOYMENT if resource in CHILDREN else ""
            if not resource.namespaced or not self.settings.namespaces:
                objects, version = await list_all(self._cluster, resource, label_selector=selector)
            else:
                objects, version = [], ""
                for namespace in self.settings.namespaces:
                    found, at = await list_all(self._cluster, resource, namespace=namespace, label_selector=selector)
                    objects.extend(found)
                    # What was written between two lists must not be taken for gone: the oldest counts.
                    version = version or at
            touched = self.store.replace(resource, objects, list_version=version)
            corrections += len(touched)
            for key in touched:
                self.queue.add(key)
        await self._read_namespaces()
        return corrections

    async def _read_namespaces(self) -> None:
        """Where not all namespaces are watched, their labels are read one by one, as far as that is allowed."""
        for name in self.settings.namespaces:
            try:
                self.changed(NAMESPACES, await self._cluster.get(NAMESPACES, name=name))
            except (Forbidden, NotFound) as error:
                _log.debug("the labels of namespace %s are not known: %s", name, error)

    async def _save(self) -> None:
        while True:
            await self._clock.sleep(CHECKPOINT_ROUND_SECONDS)
            await self.checkpoints.save_due()
