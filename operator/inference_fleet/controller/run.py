"""The operator as a process: ports opened, kopf around the loop for signals and for the watches of our own kinds."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import kopf

from inference_fleet.adapters.clock import SystemClock
from inference_fleet.adapters.kubernetes import (
    CONNECT_TIMEOUT_SECONDS,
    REQUEST_TIMEOUT_SECONDS,
    WATCH_SECONDS,
    KubernetesCluster,
    connect,
)
from inference_fleet.adapters.ports import Clock, ClusterError, Resource
from inference_fleet.adapters.prometheus import PrometheusSignals
from inference_fleet.adapters.reflector import PAGE_SIZE
from inference_fleet.api.names import FIELD_MANAGER
from inference_fleet.controller.collector import collect_rarely
from inference_fleet.controller.fleet_metrics import fleet_metrics
from inference_fleet.controller.health import serving
from inference_fleet.controller.loop import OWN_KINDS, START_RETRY_SECONDS, Loop, LoopSettings
from inference_fleet.controller.settings import Settings
from inference_fleet.controller.telemetry import Telemetry

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE: Final = "inference-fleet-system"
# Beyond the server's own end of a watch: one that is still silent then has lost its connection.
WATCH_MARGIN_SECONDS: Final = 30
# What kopf may take to end; the kubelet gives the operator's pod as long.
EXIT_SECONDS: Final = 30

_log = logging.getLogger(__name__)


async def run_operator(settings: Settings) -> None:
    """Run until a signal ends it. Raises LeaseLost, and whatever else ended the loop."""
    if settings.kubeconfig:
        # kopf logs in by itself and knows kubeconfigs by this variable alone.
        os.environ["KUBECONFIG"] = settings.kubeconfig
    collect_rarely()
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        telemetry = Telemetry()
        cluster = await connect(kubeconfig=settings.kubeconfig, answered=telemetry.answered)
        stack.push_async_callback(cluster.close)
        signals = _signals(settings)
        stack.push_async_callback(signals.close)
        loop = Loop(
            cluster, signals, clock, settings=_loop_settings(settings), jitter=random.random, telemetry=telemetry
        )
        telemetry.watch_fleet(lambda: fleet_metrics(loop.store, loop.tick, now=clock.now()))
        port = await stack.enter_async_context(serving(loop, clock, host=settings.host, port=settings.port))
        _log.info("serving /healthz, /readyz and /metrics on port %d", port)
        await _under_kopf(loop, settings, offered=partial(_offered, cluster, clock))


async def _under_kopf(loop: Loop, settings: Settings, *, offered: Callable[[], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    work: list[asyncio.Task[None]] = []
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**words: Any) -> kopf.ConnectionInfo | None:
        account = None if settings.kubeconfig else kopf.login_with_service_account(**words)
        if account is None:
            return kopf.login_with_kubeconfig(**words)
        # kopf asks for kubernetes.default.svc, which needs the cluster's name service; the address is always there.
        return dataclasses.replace(account, server=_api_server(os.environ) or account.server)

    async def end() -> None:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await loop.stop()

    @kopf.on.startup(registry=registry)
    async def begin(**_: Any) -> None:
        task = asyncio.create_task(loop.run(), name="loop")
        task.add_done_callback(lambda _: stop.set())
        work.append(task)
        try:
            # kopf looks for the kinds that it is to watch once, after this, and never for those that come later.
            await offered()
        except asyncio.CancelledError:
            # It cleans up only after a beginning that was complete.
            await end()
            raise

    @kopf.on.cleanup(registry=registry)
    async def clean_up(**_: Any) -> None:
        await end()

    for resource in OWN_KINDS:
        _bring(registry, loop, resource)

    namespaces = settings.namespace_names
    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        # kopf would look up the user's name, and a pod's numeric user has none.
        identity=cast(Any, FIELD_MANAGER),
        stop_flag=stop,
        **({"namespaces": namespaces} if namespaces else {"clusterwide": True}),
    )
    for task in work:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _offered(cluster: KubernetesCluster, clock: Clock) -> None:
    """Returns once the API server offers our kinds; what is missing until then is for the loop to say."""
    for resource in OWN_KINDS:
        while not await _offers(cluster, resource):
            await clock.sleep(START_RETRY_SECONDS)


async def _offers(cluster: KubernetesCluster, resource: Resource) -> bool:
    try:
        return await cluster.offers(resource)
    except ClusterError:
        return False


def _api_server(environment: Mapping[str, str]) -> str | None:
    """The API server's URL as every pod is given it; None outside of a cluster."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _bring(registry: kopf.OperatorRegistry, loop: Loop, resource: Resource) -> None:
    """Bring kopf's events of one kind to the loop; nothing else happens in a handler."""

    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=f"watch-{resource.plural}")
    async def watched(event: Any, **_: Any) -> None:
        obj = dict(event["object"])
        if event["type"] == "DELETED":
            loop.deleted(resource, obj)
        else:
            loop.changed(resource, obj)


class _NoDiffBase(kopf.DiffBaseStorage):
    """No change detection: nothing to compare, nothing stored. Two deep copies of every object less."""

    def build(self, *, body: Any, extra_fields: Any = None, ignored_fields: Any = None) -> Any:
        return {}

    def fetch(self, *, body: Any) -> None:
        return None

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        return None


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # As our own watches of the children have it.
    settings.watching.chunk_size = PAGE_SIZE
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + WATCH_MARGIN_SECONDS
    settings.watching.connect_timeout = CONNECT_TIMEOUT_SECONDS
    settings.watching.initial_streaming = False
    settings.networking.connect_timeout = CONNECT_TIMEOUT_SECONDS
    settings.networking.request_timeout = REQUEST_TIMEOUT_SECONDS
    # An API server that is away for a quarter of an hour does not end the process.
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, 34, *[60] * 15)
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    return settings


def _signals(settings: Settings) -> PrometheusSignals:
    tenant = settings.prometheus_tenant
    return PrometheusSignals(
        settings.prometheus_url,
        token_file=settings.prometheus_token_file,
        user=settings.prometheus_user,
        password_file=settings.prometheus_password_file,
        ca_file=settings.prometheus_ca_file,
        arrivals_query=settings.arrivals_query,
        headers={} if tenant is None else {settings.prometheus_tenant_header: tenant},
    )


def _loop_settings(settings: Settings) -> LoopSettings:
    own = _NAMESPACE_FILE.read_text(encoding="utf-8").strip() if _NAMESPACE_FILE.exists() else DEFAULT_NAMESPACE
    host = settings.identity or socket.gethostname()
    return LoopSettings(
        namespaces=settings.namespace_names,
        tick_seconds=settings.tick_seconds,
        resync_seconds=settings.resync_seconds,
        workers=settings.workers,
        lease_namespace=(settings.lease_namespace or own) if settings.lease else None,
        # A restarted container keeps its host's name: it may not take its former self's Lease for its own.
        identity=f"{host}_{os.getpid()}_{random.getrandbits(32):08x}",
    )
