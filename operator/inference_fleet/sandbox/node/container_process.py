"""A container's process from its launch to its end, with its output in the container's log."""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

import inference_fleet
from inference_fleet.sandbox.node.container_log import ContainerLog
from inference_fleet.sandbox.node.launcher import LaunchOrder

_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_READ_BYTES = 65536


class LaunchFailedError(Exception):
    """The container's program could not be started; the message says why."""


class Process(Protocol):
    """What a container needs to know of its process."""

    @property
    def pid(self) -> int:
        """Its id, as the runtime sees it."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        ...


# Starts an order, writes output to the log, and calls the last with the exit status once the process has ended.
Launch = Callable[[LaunchOrder, ContainerLog, Callable[[int], None]], Process]


def adopt_orphans() -> None:
    """Make this process the parent of the containers' processes, whose launchers end at once."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ContainerProcess:
    """A running process; needs `adopt_orphans`. Made by `launch`."""

    def __init__(self, pid: int, *, exited: Callable[[int], None]) -> None:
        self._pid = pid
        self._exited = exited
        self._end = threading.Event()

    @property
    def pid(self) -> int:
        """Its id, as the runtime sees it."""
        return self._pid

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        if not self._end.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        return self._end.wait(seconds)

    def follow(self, outputs: dict[str, IO[bytes]], *, log: ContainerLog) -> None:
        """Write its output to the log until it ends; then tell."""
        exit_descriptor = os.pidfd_open(self._pid)
        try:
            _copy_until(exit_descriptor, outputs=outputs, log=log)
        finally:
            # The kernel has ended with it whatever it left behind in its process namespace.
            status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
            os.close(exit_descriptor)
            for output in outputs.values():
                output.close()
            log.close()
            self._exited(exit_code(status))
            self._end.set()


def exit_code(status: int) -> int:
    """As runtimes report it: 128 and the signal's number where a signal ended the process (negative here)."""
    return status if status >= 0 else 128 - status


def launch(order: LaunchOrder, log: ContainerLog, exited: Callable[[int], None]) -> Process:
    """Start a container's process. Raises LaunchFailedError."""
    told, report = os.pipe()
    inherited = [descriptor for descriptor in (order.network, report) if descriptor is not None]
    launcher = subprocess.Popen(
        (sys.executable, "-m", "inference_fleet.sandbox.node.launcher"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=inherited,
        env={**os.environ, "PYTHONPATH": str(Path(inference_fleet.__file__).parents[1])},
    )
    os.close(report)
    assert launcher.stdin
    assert launcher.stdout
    assert launcher.stderr
    with contextlib.suppress(BrokenPipeError), launcher.stdin as text:
        text.write(replace(order, report=report).to_json().encode())
    with os.fdopen(told, "rb") as answer:
        identifier, _, failure = answer.read().decode(errors="replace").partition("\n")
    launcher.wait()
    pid = int(identifier or 0)
    if failure or not pid:
        message = failure or launcher.stderr.read().decode(errors="replace").strip() or "the launcher said nothing"
        if pid:
            os.waitpid(pid, 0)
        launcher.stdout.close()
        launcher.stderr.close()
        raise LaunchFailedError(message)
    process = ContainerProcess(pid, exited=exited)
    outputs: dict[str, IO[bytes]] = {"stdout": launcher.stdout, "stderr": launcher.stderr}
    threading.Thread(target=process.follow, args=(outputs,), kwargs={"log": log}, daemon=True).start()
    return process


def stop(process: Process, *, number: int, grace_seconds: float) -> None:
    """Ask the process to end, and end it when its grace is over."""
    if grace_seconds > 0:
        process.signal(number)
        if process.wait(grace_seconds):
            return
    process.signal(signal.SIGKILL)
    # A killed process ends at once unless the kernel itself is stuck in its behalf.
    process.wait(10)


def _copy_until(exit_descriptor: int, *, outputs: dict[str, IO[bytes]], log: ContainerLog) -> None:
    with selectors.DefaultSelector() as selector:
        for stream, output in outputs.items():
            os.set_blocking(output.fileno(), False)
            selector.register(output, selectors.EVENT_READ, stream)
        selector.register(exit_descriptor, selectors.EVENT_READ)
        ended = False
        while not ended:
            ended = any(key.fd == exit_descriptor for key, _ in selector.select())
            for key in list(selector.get_map().values()):
                if key.data and not _copy(key.fd, stream=key.data, log=log):
                    selector.unregister(key.fileobj)


def _copy(descriptor: int, *, stream: str, log: ContainerLog) -> bool:
    """Copy what is there; False once the other end is closed."""
    while True:
        try:
            output = os.read(descriptor, _READ_BYTES)
        except BlockingIOError:
            return True
        if not output:
            return False
        log.add(stream, output=output)
