"""A sandbox as the rest of this machine sees it: brought up, asked, entered, taken down."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_fleet.sandbox import namespaces
from inference_fleet.sandbox.forwarders import listen_outside
from inference_fleet.sandbox.state import Outside, SandboxState, Settings, StateFolder, state_folder
from inference_fleet.sandbox.supervisor import needed_tools
from inference_fleet.sandbox.tools import Progress, silent, tool_path

SCHEMA_VERSION = "inference-fleet/sandbox/v1"
_NODE_TOOLS = ("kubelet", "kube-proxy", "nft")
_POLL_SECONDS = 0.05
_END_SECONDS = 10.0


class SandboxError(Exception):
    """A sandbox could not be brought up or reached; the message says why."""


@dataclass(frozen=True)
class Sandbox:
    """One running sandbox.

    Attributes
    ----------
    folder
        Its state; `folder.logs` has a log for each program.
    settings
        What was asked for.
    outside
        Its outermost process and its ports on this machine.
    """

    folder: StateFolder
    settings: Settings
    outside: Outside

    @staticmethod
    @contextlib.contextmanager
    def start(settings: Settings, *, progress: Progress = silent) -> Iterator[Sandbox]:
        """A sandbox for the length of a block; it also ends if this process ends in any way.

        Raises SandboxError, NamespacesForbidden, ToolUnavailable, UnusableState.
        """
        reading, lifeline = os.pipe()
        try:
            try:
                sandbox = _launch(settings, progress=progress, lifeline=reading)
            finally:
                os.close(reading)
            try:
                sandbox.wait_until_ready(progress=progress)
                yield sandbox
            finally:
                sandbox.stop()
        finally:
            os.close(lifeline)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig file for programs of this machine."""
        return self.folder.kubeconfig

    @property
    def api_server(self) -> str:
        """The API server's URL on this machine."""
        return f"https://127.0.0.1:{self.outside.api_port}"

    @property
    def prometheus_url(self) -> str:
        """Prometheus' URL on this machine; pods reach it at `monitoring.PROMETHEUS_INSIDE`."""
        return f"http://127.0.0.1:{self.outside.prometheus_port}"

    @property
    def running(self) -> bool:
        """Whether its outermost process still lives."""
        return namespaces.start_ticks(self.outside.pid) == self.outside.start_ticks

    def kubectl(self, *args: str, stdin: str | None = None, timeout_seconds: float = 60.0) -> str:
        """Run kubectl against it and return what it printed. Raises subprocess.CalledProcessError."""
        kubectl = str(tool_path("kubectl", kubernetes_version=self.settings.kubernetes_version))
        command = (kubectl, f"--kubeconfig={self.kubeconfig}", *args)
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_seconds, check=False
        )
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
            error.add_note(done.stderr.strip())
            raise error
        return done.stdout

    def exec_command(self, command: Sequence[str]) -> tuple[str, ...]:
        """What runs a command inside, where pods and Services are reached; KUBECONFIG and PATH are set for it."""
        init = self._first_inside()
        kubectl = tool_path("kubectl", kubernetes_version=self.settings.kubernetes_version)
        path = os.pathsep.join((str(kubectl.parent), os.environ.get("PATH", os.defpath)))
        variables = (f"KUBECONFIG={self.folder.inner_kubeconfig}", f"PATH={path}")
        return namespaces.enter_command(init, ("env", *variables, *command), folder=os.getcwd())

    def exec(self, *command: str, timeout_seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return its result, whatever its exit status."""
        return subprocess.run(
            self.exec_command(command), capture_output=True, text=True, timeout=timeout_seconds, check=False
        )

    def status(self) -> dict[str, Any]:
        """What `sandbox status -o json` prints."""
        state = self.folder.read_state() or SandboxState("Starting")
        init = namespaces.first_inside(self.outside.pid) if self.running else None
        ids = namespaces.ids_outside(init) if init else {}
        return {
            "schemaVersion": SCHEMA_VERSION,
            "name": self.settings.name,
            "phase": state.phase if self.running else "Stopped",
            "message": state.message,
            "kubernetesVersion": self.settings.kubernetes_version,
            "kubeconfig": str(self.kubeconfig),
            "apiServer": self.api_server,
            "prometheusUrl": self.prometheus_url,
            "nodes": list(state.nodes),
            "hollowNodes": self.settings.hollow_nodes,
            "processes": [
                {"name": process.name, "pid": ids.get(process.pid), "ready": process.ready and process.pid in ids}
                for process in state.processes
            ],
        }

    def wait_until_ready(self, *, progress: Progress = silent) -> None:
        """Raises SandboxError if it ends instead."""
        while True:
            alive = self.running  # before the state is read: what an ended one wrote last is read too
            state = self.folder.read_state() or SandboxState("Starting")
            progress(f"sandbox: {state.message or 'starting'}", state.fraction)
            if state.phase == "Ready":
                return
            if not alive:
                reason = state.message if state.phase == "Failed" else f"it ended; see {self.folder.logs}"
                raise SandboxError(f"sandbox {self.settings.name} did not start: {reason}")
            time.sleep(_POLL_SECONDS)

    def wait_until_ended(self) -> None:
        """Until it ends by itself or is taken down elsewhere."""
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.outside.pid)
            try:
                select.select((pidfd,), (), ())
            finally:
                os.close(pidfd)

    def stop(self) -> None:
        """End it and everything in it, and remove its state but for the logs."""
        if self.running:
            pidfd = os.pidfd_open(self.outside.pid)
            with contextlib.ExitStack() as closing:
                closing.callback(os.close, pidfd)
                init = namespaces.first_inside(self.outside.pid)
                _end(pidfd, init=init)
        _keep_node_logs(self.folder)
        _clear(self.folder)

    def _first_inside(self) -> int:
        init = namespaces.first_inside(self.outside.pid) if self.running else None
        if init is None:
            raise SandboxError(f"sandbox {self.settings.name} is not running")
        return init


def find(name: str) -> Sandbox | None:
    """The sandbox of that name, if it is running."""
    folder = state_folder(name)
    settings, outside = folder.read_settings(), folder.read_outside()
    if settings is None or outside is None:
        return None
    sandbox = Sandbox(folder, settings, outside)
    return sandbox if sandbox.running else None


def remove_leftovers(name: str) -> None:
    """Remove what a sandbox that is no longer running left in its state folder, but for the logs."""
    folder = state_folder(name)
    if folder.path.exists():
        with _alone(folder):
            if find(name) is None:
                _clear(folder)


def launch_detached(settings: Settings, *, progress: Progress = silent) -> Sandbox:
    """Begin a sandbox that outlives this process; `wait_until_ready` tells when it can be used."""
    return _launch(settings, progress=progress, lifeline=None)


def _launch(settings: Settings, *, progress: Progress, lifeline: int | None) -> Sandbox:
    """Begin a sandbox; with a `lifeline` (the reading end of a pipe) it ends when nobody holds the other end."""
    folder = state_folder(settings.name)
    namespaces.check_namespaces()
    for tool in (*needed_tools(settings), *_NODE_TOOLS, "kubectl", "ip"):
        tool_path(tool, kubernetes_version=settings.kubernetes_version, progress=progress)
    with _alone(folder):
        if find(settings.name) is not None:
            raise SandboxError(
                f"sandbox {settings.name} is already up (inference-fleet sandbox down --name {settings.name})"
            )
        _clear(folder)
        shutil.rmtree(folder.logs, ignore_errors=True)
        folder.logs.mkdir(parents=True)
        folder.write_settings(settings)
        with listen_outside() as api, listen_outside() as prometheus:
            command = _supervisor_command(folder, listeners=(api.fileno(), prometheus.fileno()), lifeline=lifeline)
            pid = _spawn(command, log=folder.logs / "supervisor.log", lifeline=lifeline)
            outside = Outside(
                pid=pid,
                start_ticks=namespaces.start_ticks(pid) or 0,
                api_port=api.getsockname()[1],
                prometheus_port=prometheus.getsockname()[1],
            )
        folder.write_outside(outside)
    return Sandbox(folder, settings, outside)


def _supervisor_command(folder: StateFolder, *, listeners: Sequence[int], lifeline: int | None) -> tuple[str, ...]:
    words = ["--state", str(folder.path), *(word for number in listeners for word in ("--listener", str(number)))]
    if lifeline is not None:
        words.append("--lifeline")
    return namespaces.unshare_command((sys.executable, "-m", "inference_fleet.sandbox.supervisor", *words))


def _spawn(command: tuple[str, ...], *, log: Path, lifeline: int | None) -> int:
    """Start in a session of its own, so that Ctrl-C here is ours to pass on. Returns the process id."""
    program = shutil.which(command[0])
    assert program is not None, "checked by check_namespaces"
    output = (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    errors = (os.POSIX_SPAWN_DUP2, 1, 2)
    if lifeline is None:
        entry: tuple[Any, ...] = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    else:
        entry = (os.POSIX_SPAWN_DUP2, lifeline, 0)
    return os.posix_spawn(program, command, os.environ, file_actions=(entry, output, errors), setsid=True)


@contextlib.contextmanager
def _alone(folder: StateFolder) -> Iterator[None]:
    """Nobody else begins a sandbox of this name meanwhile."""
    folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with folder.path.with_name(f".{folder.path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end(pidfd: int, *, init: int | None) -> None:
    """End the first process inside and with it all others; the outermost one follows."""
    if init is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, number)
            if _ended(pidfd):
                break
    if not _ended(pidfd, seconds=0):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        _ended(pidfd)
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)


def _ended(pidfd: int, *, seconds: float = _END_SECONDS) -> bool:
    return bool(select.select((pidfd,), (), (), seconds)[0])


def _keep_node_logs(folder: StateFolder) -> None:
    for log in folder.path.glob("node-*/*.log"):
        with contextlib.suppress(OSError):
            log.replace(folder.logs / f"{log.parent.name}-{log.name}")


def _clear(folder: StateFolder) -> None:
    """Remove everything but the logs."""
    if not folder.path.exists():
        return
    for entry in folder.path.iterdir():
        if entry == folder.logs:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
