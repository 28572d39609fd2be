"""The first process inside a node's namespaces: sets them up, starts the node's programs and ends with them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference_fleet.sandbox.node import mounts
from inference_fleet.sandbox.node.gpus import PLUGIN_FOLDER
from inference_fleet.sandbox.node.kubelet import (
    RUNTIME_SOCKET,
    kube_proxy_command,
    kubelet_command,
    write_configuration,
)
from inference_fleet.sandbox.node.ownership import pretend_ownership
from inference_fleet.sandbox.node.sandbox_network import NetworkError, join_outer_network
from inference_fleet.sandbox.node.settings import NodeSettings

# Fixed in the kubelet: the folder of the plug-ins' sockets and that of the links to the containers' logs.
_FIXED_FOLDERS = {"var-lib-kubelet": "/var/lib/kubelet", "container-logs": "/var/log/containers"}
_START_SECONDS = 60
_LOOK_SECONDS = 0.05
# Like systemd's: a program that ended is started again, but not one that cannot stay up.
_RESTART_SECONDS, _RESTARTS, _RESTART_WINDOW_SECONDS = 1.0, 5, 30.0
_SHOWN_LINES = 15


class NodeFailedError(Exception):
    """The node cannot run (any more); the message says why."""


@dataclass
class Program:
    """One of the node's programs; its output goes to `<name>.log`, its id to `<name>.pid`."""

    name: str
    argv: Sequence[str]
    before: Callable[[], None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    restarts: bool = True
    pid: int = 0
    ends: list[float] = field(default_factory=list)


def run_inside(settings: NodeSettings, *, outer: int, binaries: Mapping[str, Path], arguments: Sequence[str]) -> int:
    """Be the node until SIGTERM; returns the exit status. `outer` is a descriptor of the outer network namespace."""
    node = _Node(settings.state)
    signal.signal(signal.SIGTERM, node.end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process outside passes the end on
    try:
        _prepare(settings, outer=outer)
        package = ("-m", "inference_fleet.sandbox.node.runtime", *arguments)
        node.start(Program("runtime", (sys.executable, *package), restarts=False))
        node.wait_for(settings.state / RUNTIME_SOCKET)
        kubelet = kubelet_command(settings, program=binaries["kubelet"])
        node.start(Program("kubelet", kubelet, before=pretend_ownership))
        node.start(Program("kube-proxy", kube_proxy_command(settings, program=binaries["kube-proxy"])))
        node.wait_for(PLUGIN_FOLDER / "kubelet.sock")
        (settings.state / "ready").touch()
        node.watch()
    except (NodeFailedError, NetworkError, OSError) as error:
        if node.ending:
            return 0
        print(f"node {settings.name}: {error}", file=sys.stderr)
        return 1
    return 0


def _prepare(settings: NodeSettings, *, outer: int) -> None:
    mounts.make_private("/")
    mounts.mount_proc("/proc")
    tree = mounts.Tree()
    for name, target in _FIXED_FOLDERS.items():
        source = settings.state / name
        source.mkdir(parents=True, exist_ok=True)
        tree.lay(str(source), target)
    join_outer_network(settings.index, outer=outer)
    os.close(outer)
    mounts.protect_machine_settings()
    write_configuration(settings)


class _Node:
    """The running programs, by process id."""

    def __init__(self, state: Path) -> None:
        self.ending = False
        self._state = state
        self._programs: dict[int, Program] = {}

    def end(self, *_: object) -> None:
        """Leave `watch` or `wait_for`; the kernel ends everything else with this process."""
        self.ending = True
        raise NodeFailedError("told to end")

    def start(self, program: Program) -> None:
        with (self._state / f"{program.name}.log").open("ab") as log:
            process = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **program.environment},
                preexec_fn=program.before,
                start_new_session=True,
            )
        process.returncode = 0  # it is waited for in `_reap`
        program.pid = process.pid
        self._programs[process.pid] = program
        (self._state / f"{program.name}.pid").write_text(f"{process.pid}\n", encoding="ascii")

    def wait_for(self, path: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not path.exists():
            if time.monotonic() > deadline:
                raise NodeFailedError(f"{path} did not appear within {_START_SECONDS} s")
            self._reap(os.WNOHANG)
            time.sleep(_LOOK_SECONDS)

    def watch(self) -> None:
        while True:
            self._reap(0)

    def _reap(self, options: int) -> None:
        """Take the exit status of whatever ended: as process 1 this one inherits every orphan."""
        pid, status = os.waitpid(-1, options)
        program = self._programs.pop(pid, None)
        if program:
            self._ended(program, status=os.waitstatus_to_exitcode(status))

    def _ended(self, program: Program, *, status: int) -> None:
        now = time.monotonic()
        program.ends = [end for end in program.ends if now - end < _RESTART_WINDOW_SECONDS] + [now]
        if not program.restarts or len(program.ends) > _RESTARTS:
            raise NodeFailedError(f"{program.name} ended with {_said(status)}\n{self._last_lines(program.name)}")
        time.sleep(_RESTART_SECONDS)
        self.start(program)

    def _last_lines(self, name: str) -> str:
        lines = (self._state / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_SHOWN_LINES:])


def _said(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
