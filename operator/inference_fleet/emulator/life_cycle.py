"""Birth and death of an emulated engine, with the delays and oddities seen on vLLM 0.32.

* Nothing listens before the engine is ready. A SIGTERM in the first moments ends the process (143); later, while the
  engine initialises, it is lost, so that only SIGKILL ends a pod that is still loading.
* SIGTERM, `--shutdown-timeout 0`: the listener closes at once and running requests end with an error; with
  eight or more open streams the process instead waits, silent, until the callers hang up.
* SIGTERM, `--shutdown-timeout N`: running requests go on, new ones get a 500, /health stays 200, the listener stays
  open; after the last request (or N seconds, then with an error for what still runs) the process ends.
* Engine death: running requests end with an error, /health says 503, then the listener closes, then the process ends
  with status 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from inference_fleet.emulator.runner import EngineRunner, Faults
from inference_fleet.emulator.scheduler import Scheduler
from inference_fleet.emulator.server import EngineServer, Phase
from inference_fleet.emulator.settings import EngineSettings
from inference_fleet.emulator.switches import Switches
from inference_fleet.emulator.telemetry import Telemetry

# Share of the start before the engine core is spawned: 6 of about 55 s were seen.
_BEFORE_SPAWN_SHARE = 0.1
# Open streams at which an abort was seen to hang (4 runs of 4; with 2 it did not).
_HANGING_STREAMS = 8
# After the engine's death: the listener closes, and the process ends.
_DEAD_LISTENER_SECONDS = 1.5
_DEAD_PROCESS_SECONDS = 3.5
# At least so long between the last token and the end, or the socket closes on it.
_LAST_WRITE_SECONDS = 0.05


@dataclass(slots=True)
class Signals:
    """SIGTERM and SIGINT as they came."""

    terminated: asyncio.Event
    heeded: bool = True

    def on_signal(self) -> None:
        if self.heeded:
            self.terminated.set()


async def live(settings: EngineSettings, switches: Switches) -> int:
    """Start, serve until told to end or broken, and return the exit status."""
    loop = asyncio.get_running_loop()
    signals = Signals(asyncio.Event())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.on_signal)
    if await initialise(signals, switches.cold_start_seconds):
        return 128 + signal.SIGTERM

    crashed = asyncio.Event()
    telemetry = Telemetry(settings.page)
    runner = EngineRunner(
        Scheduler(settings.limits, settings.step_time),
        telemetry,
        faults=Faults(
            hang_after_requests=switches.hang_after_requests,
            crash_after_requests=switches.crash_after_requests,
            slow_start_seconds=switches.slow_start_seconds,
            slow_start_factor=switches.slow_start_factor,
        ),
        on_crash=crashed.set,
    )
    server = EngineServer(settings, runner, telemetry)
    app_runner = web.AppRunner(
        server.application(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        keepalive_timeout=5.0,  # VLLM_HTTP_TIMEOUT_KEEP_ALIVE
        shutdown_timeout=0.0,
    )
    await app_runner.setup()
    site = web.TCPSite(app_runner, settings.host, settings.port, reuse_address=True, backlog=2048)
    try:
        await site.start()
    except OSError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        await app_runner.cleanup()
        return 1
    print(f"INFO: emulated vLLM {settings.version} serves {settings.served_model_names[0]} on {site.name}", flush=True)
    stepping = asyncio.create_task(runner.run())
    try:
        return await serve_until_over(signals, crashed, server, runner, site, settings, switches)
    finally:
        stepping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stepping
        await app_runner.cleanup()


async def initialise(signals: Signals, cold_start_seconds: float) -> bool:
    """Wait out the cold start; True if a SIGTERM ended it before the engine was spawned."""
    early = cold_start_seconds * _BEFORE_SPAWN_SHARE
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(signals.terminated.wait(), early)
        return True
    signals.heeded = False
    await asyncio.sleep(cold_start_seconds - early)
    signals.heeded = True
    return False


class Listener(Protocol):
    """What closes the port; `aiohttp.web.TCPSite` is one."""

    async def stop(self) -> None: ...


async def serve_until_over(
    signals: Signals,
    crashed: asyncio.Event,
    server: EngineServer,
    runner: EngineRunner,
    site: Listener,
    settings: EngineSettings,
    switches: Switches,
) -> int:
    terminated_task = asyncio.create_task(signals.terminated.wait())
    crashed_task = asyncio.create_task(crashed.wait())
    try:
        await asyncio.wait((terminated_task, crashed_task), return_when=asyncio.FIRST_COMPLETED)
        if crashed.is_set():
            await _die(server, site)
            return 1
        if settings.shutdown_timeout_seconds > 0:
            await _drain(server, runner, timeout_seconds=settings.shutdown_timeout_seconds)
        else:
            await _abort(server, runner, site)
        await asyncio.sleep(max(switches.exit_seconds, _LAST_WRITE_SECONDS))
        return 1 if crashed.is_set() else 0
    finally:
        terminated_task.cancel()
        crashed_task.cancel()


async def _drain(server: EngineServer, runner: EngineRunner, *, timeout_seconds: float) -> None:
    server.phase = Phase.DRAINING
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.quiet.wait(), timeout_seconds)
    runner.fail_all()


async def _abort(server: EngineServer, runner: EngineRunner, site: Listener) -> None:
    await site.stop()
    if server.open_streams >= _HANGING_STREAMS:
        runner.hung = True
        await server.quiet.wait()
    server.phase = Phase.DEAD
    runner.fail_all()


async def _die(server: EngineServer, site: Listener) -> None:
    server.phase = Phase.DEAD
    print("ERROR: EngineCore died; see the log above.", file=sys.stderr, flush=True)
    await asyncio.sleep(_DEAD_LISTENER_SECONDS)
    await site.stop()
    await asyncio.sleep(_DEAD_PROCESS_SECONDS - _DEAD_LISTENER_SECONDS)


def exit_now(status: int) -> None:
    """Leave without the interpreter's clean-up, which may wait for connections."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
