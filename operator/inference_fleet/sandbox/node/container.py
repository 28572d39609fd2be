"""Containers and pods' sandboxes: their states, from creation to exit."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from inference_fleet.sandbox.node.container_log import ContainerLog
from inference_fleet.sandbox.node.container_process import Launch, LaunchFailedError, Process, stop
from inference_fleet.sandbox.node.launcher import LaunchOrder
from inference_fleet.sandbox.node.sandbox_network import PodLink

# What container runtimes report for a container that was never started, and for one whose program cannot start.
_EXIT_KILLED, _EXIT_START_FAILED = 137, 128


class ContainerState(IntEnum):
    """The values of CRI's enum of the same name."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2


class NotStartable(Exception):
    """The container cannot be started (any more)."""


@dataclass
class PodSandbox:
    """What the containers of a pod share.

    `config` is CRI's PodSandboxConfig; `link` is None on the node's network; `resolver_file` is what they all see as
    /etc/resolv.conf.
    """

    config: Any
    link: PodLink | None
    resolver_file: Path | None = None
    identifier: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_nanoseconds: int = field(default_factory=time.time_ns)
    ready: bool = True

    @property
    def address(self) -> str:
        """The pod's own, or nothing."""
        return self.link.address if self.link else ""


class Container:
    """One container: created, running, exited. `config` is CRI's ContainerConfig. Safe to use from many threads."""

    def __init__(self, sandbox: PodSandbox, *, config: Any, log: ContainerLog, log_path: str) -> None:
        self.identifier = uuid.uuid4().hex
        self.sandbox = sandbox
        self.config = config
        self.log = log
        self.log_path = log_path
        self.environment: Mapping[str, str] = {}
        self.created_nanoseconds = time.time_ns()
        self.started_nanoseconds = 0
        self.finished_nanoseconds = 0
        self.state = ContainerState.CREATED
        self.exit_code = 0
        self.reason = ""
        self.message = ""
        self._process: Process | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of its first process, while it runs."""
        return self._process.pid if self._process and self.state is ContainerState.RUNNING else None

    def start(self, order: LaunchOrder, *, launch: Launch) -> None:
        """Run it. Raises NotStartable, after which the container has exited."""
        with self._lock:
            if self.state is not ContainerState.CREATED:
                raise NotStartable(f"the container is {self.state.name.lower()}")
            self.environment = order.environment
            # Before the launch, since a short program may have ended when the launch returns.
            self.state, self.started_nanoseconds = ContainerState.RUNNING, time.time_ns()
            try:
                self._process = launch(order, self.log, self._exited)
            except (LaunchFailedError, OSError) as error:
                self._end(_EXIT_START_FAILED, reason="StartError", message=str(error))
                raise NotStartable(str(error)) from error

    def refuse(self, message: str) -> None:
        """It has nothing to run: it has exited without a start."""
        with self._lock:
            if self.state is ContainerState.CREATED:
                self.started_nanoseconds = time.time_ns()
                self._end(_EXIT_START_FAILED, reason="StartError", message=message)

    def stop(self, *, grace_seconds: float) -> None:
        """Ask it to end by its stop signal, kill it after the grace, and wait."""
        with self._lock:
            if self.state is ContainerState.CREATED:
                self._end(_EXIT_KILLED, reason="Error", message="")
            process = self._process
        if process and self.state is ContainerState.RUNNING:
            stop(process, number=stop_signal(self.config), grace_seconds=grace_seconds)

    def _exited(self, exit_code: int) -> None:
        # Without the lock: a program may end while its start is still being told.
        self._end(exit_code, reason="Error" if exit_code else "Completed", message="")

    def _end(self, exit_code: int, *, reason: str, message: str) -> None:
        self.exit_code, self.reason, self.message = exit_code, reason, message
        self.finished_nanoseconds = time.time_ns()
        self.state = ContainerState.EXITED
        self.log.close()


def stop_signal(config: Any) -> int:
    """The signal that the pod asks for (CRI counts RUNTIME_DEFAULT as 0), else SIGTERM."""
    wanted = config.stop_signal
    if not wanted:
        return signal.SIGTERM
    name = config.DESCRIPTOR.fields_by_name["stop_signal"].enum_type.values_by_number[wanted].name
    return getattr(signal, name.removeprefix("SIGNAL_"), signal.SIGTERM)
