"""The programs that the first process of a sandbox runs: started, watched, and every ended one collected."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp

from inference_fleet.sandbox.daemon import AnswersAt, Daemon, FileAppears, Readiness
from inference_fleet.sandbox.state import ProcessState

# Between two looks at whether a program is ready; each costs about a millisecond.
_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0
# What a program may take on a busy machine of two cores; seen there: 3 to 15 s.
START_SECONDS = 120.0
_TAIL_LINES = 8


class StartFailed(Exception):
    """A program did not become ready; the message says why, with the last lines of its log."""


@dataclass
class _Running:
    daemon: Daemon
    process: subprocess.Popen[bytes]
    log: Path
    ready: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    exit_status: int | None = None


class ProcessTable:
    """All programs of this sandbox, in the order they were started.

    It collects every child that ends, also those whose parents have gone, as process 1 must. Nothing else in this
    process may wait for children while it is open.

    Arguments
    ---------
    logs
        The folder for `<name>.log`.
    changed
        Called whenever a program starts, becomes ready or ends.
    """

    def __init__(self, logs: Path, *, changed: Callable[[], None]) -> None:
        self._logs = logs
        self._changed = changed
        self._running: dict[int, _Running] = {}

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._collect)
        return self

    async def __aexit__(self, *exception: object) -> None:
        for running in reversed(self._running.values()):
            if running.exit_status is None:
                running.process.kill()
                await running.ended.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGCHLD)

    @property
    def states(self) -> tuple[ProcessState, ...]:
        """How each program is doing."""
        return tuple(
            ProcessState(running.daemon.name, running.process.pid, running.ready and running.exit_status is None)
            for running in self._running.values()
        )

    async def start(self, daemon: Daemon) -> None:
        """Start a program and wait until it is ready. Raises StartFailed."""
        running = self._spawn(daemon)
        ready = asyncio.ensure_future(_becomes_ready(daemon.ready))
        ended = asyncio.ensure_future(running.ended.wait())
        try:
            await asyncio.wait((ready, ended), timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise StartFailed(f"{daemon.name} ended with status {running.exit_status}{_tail(running.log)}")
            if not ready.done():
                raise StartFailed(f"{daemon.name} was not ready after {START_SECONDS:.0f} s{_tail(running.log)}")
        finally:
            ready.cancel()
            ended.cancel()
            await asyncio.gather(ready, ended, return_exceptions=True)
        running.ready = True
        self._changed()

    def _spawn(self, daemon: Daemon) -> _Running:
        log = self._logs / f"{daemon.name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ("nice", "-n", str(daemon.niceness), *daemon.argv),
                env={**os.environ, **daemon.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = _Running(daemon, process, log)
        self._running[process.pid] = running
        self._changed()
        return running

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if running := self._running.get(pid):
                running.exit_status = os.waitstatus_to_exitcode(status)
                running.process.returncode = running.exit_status
                running.ended.set()
                self._changed()


async def _becomes_ready(readiness: Readiness) -> None:
    match readiness:
        case FileAppears(path):
            while not path.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(_POLL_SECONDS)
        case AnswersAt(url, authority, client):
            async with api_session(authority=authority, client=client) as session:
                while not await _answers(session, url):  # noqa: ASYNC110 - nobody tells when
                    await asyncio.sleep(_POLL_SECONDS)


def api_session(*, authority: Path | None, client: tuple[Path, Path] | None) -> aiohttp.ClientSession:
    """An HTTP session that trusts `authority` and shows the certificate and key of `client`."""
    trust: ssl.SSLContext | bool = True
    if authority is not None:
        trust = ssl.create_default_context(cafile=str(authority))
        if client is not None:
            trust.load_cert_chain(*client)
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), timeout=timeout)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
    return "".join(f"\n    {line}" for line in (*lines, f"(from {log})"))
