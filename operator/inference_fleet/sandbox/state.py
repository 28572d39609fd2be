"""What is kept of a sandbox on disk: its folder, what was asked for, and what became of it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference_fleet.sandbox.certificates import write_private
from inference_fleet.sandbox.node import MAX_STATE_PATH
from inference_fleet.sandbox.tools import DEFAULT_KUBERNETES_VERSION

DEFAULT_NAME = "default"
DEFAULT_SCRAPE_INTERVAL_SECONDS = 5.0
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")
_LONGEST_NODE_NAME = "node-254"


class UnusableState(Exception):
    """A sandbox cannot keep its state there; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """What a sandbox is asked to be.

    Attributes
    ----------
    nodes, gpus_per_node
        Nodes that really run pods, and the devices `nvidia.com/gpu` of each.
    hollow_nodes
        Nodes that only say that they run pods.
    engine
        What engine images run: `emulated` or `vllm`.
    scrape_interval_seconds
        Prometheus' interval for all targets.
    apiserver_args
        Added to kube-apiserver's command line, after the sandbox's own.
    audit
        Whether the API server writes `logs/audit.log`, one JSON line for each request with its body's metadata.
    """

    name: str = DEFAULT_NAME
    kubernetes_version: str = DEFAULT_KUBERNETES_VERSION
    nodes: int = 1
    gpus_per_node: int = 4
    hollow_nodes: int = 0
    engine: str = "emulated"
    scrape_interval_seconds: float = DEFAULT_SCRAPE_INTERVAL_SECONDS
    apiserver_args: tuple[str, ...] = ()
    audit: bool = False


@dataclass(frozen=True)
class ProcessState:
    """One program: its process id inside the sandbox and whether it answered as it should."""

    name: str
    pid: int
    ready: bool


@dataclass(frozen=True)
class SandboxState:
    """What the supervisor says about its sandbox.

    `phase` is Starting, Ready, Failed or Stopped; `message` is the step it is at or the reason it failed for;
    `fraction` how far the start has come (0 to 1).
    """

    phase: str
    message: str = ""
    fraction: float = 0.0
    processes: tuple[ProcessState, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outside:
    """How the sandbox is reached from this machine: the outermost process and the forwarded ports."""

    pid: int
    start_ticks: int
    api_port: int
    prometheus_port: int


@dataclass(frozen=True)
class StateFolder:
    """`${XDG_STATE_HOME:-~/.local/state}/inference-fleet/sandbox/<name>`."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For use on this machine, outside the sandbox."""
        return self.path / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """For `sandbox exec` and the supervisor, inside the sandbox."""
        return self.path / "kubeconfig-inside"

    @property
    def proxy_socket(self) -> Path:
        """Where a proxy in front of the API server listens for the inside, if one runs."""
        return self.path / "api-proxy.sock"

    def node(self, name: str) -> Path:
        """A node's own folder."""
        return self.path / name

    def write_settings(self, settings: Settings) -> None:
        _write(self.path / "settings.json", asdict(settings))

    def read_settings(self) -> Settings | None:
        held = _read(self.path / "settings.json")
        return replace(Settings(**held), apiserver_args=tuple(held["apiserver_args"])) if held else None

    def write_state(self, state: SandboxState) -> None:
        _write(self.path / "state.json", asdict(state))

    def read_state(self) -> SandboxState | None:
        held = _read(self.path / "state.json")
        if held is None:
            return None
        processes = tuple(ProcessState(**process) for process in held.pop("processes"))
        return SandboxState(processes=processes, nodes=tuple(held.pop("nodes")), **held)

    def write_outside(self, outside: Outside) -> None:
        _write(self.path / "outside.json", asdict(outside))

    def read_outside(self) -> Outside | None:
        held = _read(self.path / "outside.json")
        return Outside(**held) if held else None


def state_home() -> Path:
    """The folder of all sandboxes of this user."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "inference-fleet" / "sandbox"


def state_folder(name: str) -> StateFolder:
    """The folder of one sandbox. Raises UnusableState for a name or a place that cannot be used."""
    if not _NAME.fullmatch(name):
        raise UnusableState(f"'{name}' is no name for a sandbox: 1 to 20 of a-z, 0-9 and '-', no '-' at the ends")
    path = state_home() / name
    longest = len(str(path / _LONGEST_NODE_NAME))
    if longest > MAX_STATE_PATH:
        raise UnusableState(
            f"{path} is {longest - MAX_STATE_PATH} characters too long for the sockets in it: "
            "set XDG_STATE_HOME to a shorter folder or choose a shorter name"
        )
    return StateFolder(path)


def _write(path: Path, content: dict[str, Any]) -> None:
    write_private(path, (json.dumps(content, indent=1) + "\n").encode())


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    assert isinstance(content, dict)
    return content
