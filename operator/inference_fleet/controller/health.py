"""/healthz, /readyz and /metrics on one port."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from inference_fleet.adapters.ports import Clock
from inference_fleet.controller.loop import Loop

# A reconcile is a handful of calls of at most a minute each.
STUCK_WORK_SECONDS: Final = 600.0
# A resync that failed twice and has not come yet.
MISSED_RESYNCS: Final = 3
RECENTLY_SECONDS: Final = 60.0


class CannotServe(Exception):
    """The address of the pages cannot be listened on."""


def ill(loop: Loop, clock: Clock) -> str | None:
    """Why a restart would help; None if it would not: an API server that is away is no reason."""
    if loop.queue.longest_running_seconds > STUCK_WORK_SECONDS:
        return f"a reconcile has been running for {loop.queue.longest_running_seconds:.0f} s"
    now = clock.monotonic()
    if loop.last_resync is not None:
        age = now - loop.last_resync
        answered = any(reflector.silent_seconds < RECENTLY_SECONDS for reflector in loop.reflectors)
        if age > MISSED_RESYNCS * loop.settings.resync_seconds and answered:
            return f"the last resync was {age:.0f} s ago, yet the API server answers"
    if loop.tick.last_tick is not None and now - loop.tick.last_tick > STUCK_WORK_SECONDS:
        return f"the last decision was {now - loop.tick.last_tick:.0f} s ago"
    return None


def unready(loop: Loop) -> str | None:
    """Why this process cannot do its work yet; None also while it stands by for the Lease."""
    if loop.leads() and not loop.synced.is_set():
        return "the cluster has not been read yet"
    return None


@asynccontextmanager
async def serving(loop: Loop, clock: Clock, *, host: str, port: int) -> AsyncIterator[int]:
    """Serve the three pages; yields the port (chosen by the system if 0 was asked for). Raises CannotServe."""

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(ill(loop, clock))

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(unready(loop))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=loop.telemetry.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            # asyncio's own words repeat the address in a form that nobody typed.
            cause = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise CannotServe(f"cannot listen on {host or '*'} port {port} (--host, --port): {cause}") from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def _verdict(problem: str | None) -> web.Response:
    return web.Response(text="ok\n") if problem is None else web.Response(text=f"{problem}\n", status=503)
