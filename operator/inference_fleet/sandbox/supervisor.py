"""`python -m inference_fleet.sandbox.supervisor`: the first process inside a sandbox's namespaces.

It starts everything in order, says in the state folder how far it is, leads the two forwarded ports in, and ends with
everything it started on SIGTERM, SIGINT, or when its parent lets go of the lifeline (a pipe on standard input).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import yaml

from inference_fleet.sandbox import certificates, control_plane, hollow, monitoring
from inference_fleet.sandbox.control_plane import API_PORT, PROXY_PORT, Binaries, Credentials
from inference_fleet.sandbox.daemon import Daemon, FileAppears
from inference_fleet.sandbox.forwarders import forwarding, to_port, to_socket
from inference_fleet.sandbox.node import CONTROL_PLANE_ADDRESS
from inference_fleet.sandbox.nodes_ready import wait_for_nodes
from inference_fleet.sandbox.process_table import ProcessTable, StartFailed
from inference_fleet.sandbox.state import SandboxState, Settings, StateFolder
from inference_fleet.sandbox.tools import ToolUnavailable, silent, tool_path

_CONTROL_PLANE_TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "prometheus")


def needed_tools(settings: Settings) -> tuple[str, ...]:
    """The programs that run beside the nodes."""
    return (*_CONTROL_PLANE_TOOLS, *(("kwok",) if settings.hollow_nodes else ()))


class Supervisor:
    """One sandbox, seen from inside. `leave` is set when it is to end."""

    def __init__(self, folder: StateFolder, *, settings: Settings, leave: asyncio.Event) -> None:
        self._folder = folder
        self._settings = settings
        self._leave = leave
        self._state = SandboxState(phase="Starting")
        self._table = ProcessTable(folder.logs, changed=self._write)

    async def run(self, *, api_listener: socket.socket, prometheus_listener: socket.socket) -> int:
        """Start, stay until told to leave, end everything. Returns the exit status."""
        api = forwarding(api_listener, dial=to_port(CONTROL_PLANE_ADDRESS, API_PORT))
        prometheus = forwarding(prometheus_listener, dial=to_port(CONTROL_PLANE_ADDRESS, monitoring.PROMETHEUS_PORT))
        # From pods out to a proxy that a test may run; nobody is there otherwise.
        proxy_listener = socket.create_server((CONTROL_PLANE_ADDRESS, PROXY_PORT))
        proxy = forwarding(proxy_listener, dial=to_socket(self._folder.proxy_socket))
        phase, message = "Stopped", "stopped"
        try:
            binaries = self._find_binaries()  # first: what this may start is not the table's to collect
            async with self._table, api, prometheus, proxy:
                port = api_listener.getsockname()[1]
                if await self._until_leaving(lambda: self._start(binaries, api_port=port)):
                    self._say("Ready", message="ready", fraction=1.0)
                    await self._leave.wait()
        except* (StartFailed, ToolUnavailable) as failed:
            phase, message = "Failed", str(failed.exceptions[0])
        self._say(phase, message=message, fraction=self._state.fraction)
        return int(phase == "Failed")

    def _find_binaries(self) -> Binaries:
        return {
            name: tool_path(name, kubernetes_version=self._settings.kubernetes_version, progress=silent)
            for name in needed_tools(self._settings)
        }

    async def _until_leaving(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether the work was done before it was time to leave."""
        working = asyncio.ensure_future(work())
        leaving = asyncio.ensure_future(self._leave.wait())
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if working.done():
            await working
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False

    async def _start(self, binaries: Binaries, *, api_port: int) -> None:
        folder, settings = self._folder, self._settings
        credentials = control_plane.make_credentials(folder)
        certificates.write_kubeconfig(
            folder.kubeconfig,
            server=f"https://127.0.0.1:{api_port}",
            authority=credentials.authority.file,
            pair=credentials.admin,
            cluster=settings.name,
        )
        (folder.path / "audit-policy.yaml").write_text(control_plane.AUDIT_POLICY)
        config = folder.path / "prometheus.yml"
        content = monitoring.prometheus_config(
            scrape_interval_seconds=settings.scrape_interval_seconds,
            authority=credentials.authority.file,
            client=credentials.admin_pair,
        )
        config.write_text(yaml.safe_dump(content, sort_keys=False))
        self._say("Starting", message="etcd", fraction=0.05)
        await self._table.start(control_plane.etcd(binaries, folder=folder))
        self._say("Starting", message="kube-apiserver", fraction=0.15)
        await self._table.start(
            control_plane.api_server(binaries, folder=folder, credentials=credentials, settings=settings)
        )
        self._say("Starting", message="controllers, scheduler, Prometheus, nodes", fraction=0.5)
        daemons = (
            control_plane.controller_manager(binaries, credentials=credentials),
            control_plane.scheduler(binaries, credentials=credentials),
            monitoring.prometheus(binaries, config=config, data=folder.path / "prometheus"),
            *(self._node(index, credentials) for index in range(1, settings.nodes + 1)),
            *self._hollow_daemons(binaries),
        )
        async with asyncio.TaskGroup() as together:
            for daemon in daemons:
                together.create_task(self._table.start(daemon))
            together.create_task(self._create_hollow_nodes(credentials))
        self._say("Starting", message="waiting for the nodes to be Ready", fraction=0.9)
        nodes = (*self._state.nodes, *hollow.node_names(settings.hollow_nodes))
        await wait_for_nodes(nodes, gpus=settings.gpus_per_node, credentials=credentials)

    def _node(self, index: int, credentials: Credentials) -> Daemon:
        settings, name = self._settings, f"node-{index}"
        own = self._folder.node(name)
        kubeconfig = control_plane.node_kubeconfig(self._folder, credentials=credentials, node=name)
        argv = (
            *(sys.executable, "-m", "inference_fleet.sandbox.node"),
            *("--name", name, "--index", str(index), "--state", str(own)),
            *("--kubeconfig", str(kubeconfig), "--proxy-kubeconfig", str(credentials.proxy)),
            *("--gpus", str(settings.gpus_per_node), "--engine", settings.engine),
            *("--kubernetes", settings.kubernetes_version),
        )
        self._state = replace(self._state, nodes=(*self._state.nodes, name))
        return Daemon(name, argv, FileAppears(own / "ready"))

    def _hollow_daemons(self, binaries: Binaries) -> tuple[Daemon, ...]:
        if not self._settings.hollow_nodes:
            return ()
        config = self._folder.path / "kwok.yaml"
        return (hollow.kwok(binaries, kubeconfig=self._folder.inner_kubeconfig, config=config),)

    async def _create_hollow_nodes(self, credentials: Credentials) -> None:
        settings, now = self._settings, datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        nodes = [
            hollow.node_object(
                name, gpus=settings.gpus_per_node, now=now, kubernetes_version=settings.kubernetes_version
            )
            for name in hollow.node_names(settings.hollow_nodes)
        ]
        await hollow.create_nodes(nodes, credentials=credentials)

    def _say(self, phase: str, *, message: str, fraction: float) -> None:
        self._state = replace(self._state, phase=phase, message=message, fraction=fraction)
        self._write()

    def _write(self) -> None:
        self._folder.write_state(replace(self._state, processes=self._table.states))


def make_network() -> None:
    """The sandbox's own loopback with the control plane's address on it."""
    ip = str(tool_path("ip", progress=silent))
    for words in (("link", "set", "lo", "up"), ("address", "add", f"{CONTROL_PLANE_ADDRESS}/32", "dev", "lo")):
        subprocess.run((ip, *words), check=True)


async def supervise(options: argparse.Namespace) -> int:
    """Run the sandbox of the state folder until a signal, or the end of standard input where that is the lifeline."""
    loop = asyncio.get_running_loop()
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, leave.set)
    folder = StateFolder(options.state)
    settings = folder.read_settings()
    assert settings is not None, "the settings are written before the supervisor starts"
    with contextlib.ExitStack() as held:
        if options.lifeline:
            loop.add_reader(sys.stdin.fileno(), leave.set)  # nothing is ever written: readable means ended
            held.callback(loop.remove_reader, sys.stdin.fileno())
        listeners = [held.enter_context(socket.socket(fileno=number)) for number in options.listener]
        return await Supervisor(folder, settings=settings, leave=leave).run(
            api_listener=listeners[0], prometheus_listener=listeners[1]
        )


def main() -> int:
    """Read the command line, make the network, supervise."""
    parser = argparse.ArgumentParser(prog="python -m inference_fleet.sandbox.supervisor")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--listener", type=int, action="append", required=True, help="API server's, then Prometheus'")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    options = parser.parse_args()
    make_network()
    return asyncio.run(supervise(options))


if __name__ == "__main__":
    sys.exit(main())
