"""`inference-fleet sandbox`: a real cluster on this machine, without containers, root or GPUs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from inference_fleet.cli.output_form import output_form
from inference_fleet.sandbox import cluster, state
from inference_fleet.sandbox.cluster import Sandbox, SandboxError
from inference_fleet.sandbox.namespaces import NamespacesForbidden
from inference_fleet.sandbox.state import Settings, UnusableState
from inference_fleet.sandbox.tools import (
    DEFAULT_KUBERNETES_VERSION,
    KUBERNETES_VERSIONS,
    ToolUnavailable,
    shown,
    tool_names,
    tool_path,
)

Result = TypeVar("Result")

_ENGINES = ("emulated", "vllm")
_name_option = click.option(
    "--name", default=state.DEFAULT_NAME, show_default=True, metavar="NAME", help="Name of the sandbox."
)
_kubernetes_option = click.option(
    "--kubernetes",
    default=DEFAULT_KUBERNETES_VERSION,
    show_default=True,
    type=click.Choice((*KUBERNETES_VERSIONS, *KUBERNETES_VERSIONS.values())),
    callback=lambda _context, _parameter, version: KUBERNETES_VERSIONS.get(version, version),
    help="Kubernetes version.",
)


@click.group()
def command() -> None:
    """A real control plane and kubelet on this machine, without containers or GPUs.

    \b
    inference-fleet sandbox up --detach
    inference-fleet sandbox exec -- kubectl get nodes
    inference-fleet sandbox down
    """


@command.command(short_help="Start a sandbox.")
@_name_option
@_kubernetes_option
@click.option(
    "--nodes",
    default=1,
    show_default=True,
    type=click.IntRange(0, 254),
    metavar="N",
    help="Number of nodes that run pods.",
)
@click.option(
    "--gpus-per-node",
    default=4,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="GPUs that each node offers.",
)
@click.option(
    "--hollow-nodes",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="Number of nodes that only pretend to run their pods, for tests of scale.",
)
@click.option(
    "--engine",
    default="emulated",
    show_default=True,
    type=click.Choice(_ENGINES),
    help="What engine images run: an emulated engine, or real vLLM on the CPU.",
)
@click.option(
    "--scrape-interval",
    default=state.DEFAULT_SCRAPE_INTERVAL_SECONDS,
    show_default=True,
    type=click.FloatRange(0.1),
    metavar="S",
    help="Scrape interval of Prometheus, seconds.",
)
@click.option("--apiserver-arg", multiple=True, metavar="ARG", help="Argument for kube-apiserver; repeatable.")
@click.option("--audit", is_flag=True, help="Make the API server write logs/audit.log.")
@click.option("--detach", is_flag=True, help="Return when the sandbox is ready. End it with `sandbox down`.")
def up(
    name: str,
    kubernetes: str,
    nodes: int,
    gpus_per_node: int,
    hollow_nodes: int,
    engine: str,
    scrape_interval: float,
    apiserver_arg: tuple[str, ...],
    audit: bool,
    detach: bool,
) -> None:
    """Start a sandbox. It runs until Ctrl-C; with --detach, until `sandbox down`."""
    settings = Settings(
        name=name,
        kubernetes_version=kubernetes,
        nodes=nodes,
        gpus_per_node=gpus_per_node,
        hollow_nodes=hollow_nodes,
        engine=engine,
        scrape_interval_seconds=scrape_interval,
        apiserver_args=apiserver_arg,
        audit=audit,
    )
    _told(lambda: _up_detached(settings) if detach else _up(settings))


def _up(settings: Settings) -> None:
    with shown() as progress:
        starting = Sandbox.start(settings, progress=progress)
        sandbox = starting.__enter__()
    try:
        _print_ways_in(sandbox)
        click.echo("Ctrl-C ends it.", err=True)
        sandbox.wait_until_ended()
    finally:
        starting.__exit__(*sys.exc_info())
    raise SandboxError(f"sandbox {settings.name} ended; its logs are in {sandbox.folder.logs}")


def _up_detached(settings: Settings) -> None:
    with shown() as progress:
        sandbox = cluster.launch_detached(settings, progress=progress)
        try:
            sandbox.wait_until_ready(progress=progress)
        except BaseException:
            sandbox.stop()
            raise
    _print_ways_in(sandbox)


def _print_ways_in(sandbox: Sandbox) -> None:
    click.echo(f"export KUBECONFIG={sandbox.kubeconfig}")
    click.echo(f"# API server {sandbox.api_server}, Prometheus {sandbox.prometheus_url}")


@command.command()
@_name_option
def down(name: str) -> None:
    """End a sandbox and everything in it."""

    def end() -> None:
        sandbox = cluster.find(name)
        if sandbox is None:
            cluster.remove_leftovers(name)
            click.echo(f"sandbox {name} is not running", err=True)
            return
        sandbox.stop()
        click.echo(f"sandbox {name} is down; its logs are in {sandbox.folder.logs}", err=True)

    _told(end)


@command.command()
@_name_option
@output_form("table", "json")
def status(name: str, output: str) -> None:
    """Show what runs and how to reach it."""
    sandbox = _told(lambda: _find(name))
    found = sandbox.status()
    click.echo(json.dumps(found, indent=2) if output == "json" else _table(found))


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"sandbox     {found['name']}: {found['phase']}",
        f"kubernetes  {found['kubernetesVersion']} at {found['apiServer']}",
        f"prometheus  {found['prometheusUrl']}",
        f"kubeconfig  {found['kubeconfig']}",
        f"nodes       {', '.join(found['nodes']) or 'none'}",
        "",
        f"{'PROCESS':<26}{'PID':>8}  READY",
    ]
    lines += [
        f"{process['name']:<26}{process['pid'] or '-':>8}  {'yes' if process['ready'] else 'no'}"
        for process in found["processes"]
    ]
    return "\n".join(lines)


@command.command(
    "exec",
    short_help="Run a command inside the sandbox, where pods can be reached.",
    context_settings={"ignore_unknown_options": True},
)
@_name_option
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def execute(name: str, words: tuple[str, ...]) -> None:
    """Run a command inside the sandbox, where pods and Services can be reached. KUBECONFIG is set."""
    argv = _told(lambda: _find(name).exec_command(words))
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606


@command.command(short_help="Print the path of a tool such as kubectl.")
@_kubernetes_option
@click.argument("tool_name", metavar="TOOL", type=click.Choice(tool_names()))
def tool(kubernetes: str, tool_name: str) -> None:
    """Print the path of a tool such as kubectl. Fetches or builds the tool if necessary."""

    def find() -> None:
        with shown() as progress:
            path = tool_path(tool_name, kubernetes_version=kubernetes, progress=progress)
        click.echo(path)

    _told(find)


def _find(name: str) -> Sandbox:
    sandbox = cluster.find(name)
    if sandbox is None:
        raise SandboxError(f"sandbox {name} is not running (inference-fleet sandbox up --name {name})")
    return sandbox


def _told(work: Callable[[], Result]) -> Result:
    """Do it; what a user can understand and change ends in a message instead of a traceback."""
    try:
        return work()
    except (SandboxError, NamespacesForbidden, ToolUnavailable, UnusableState) as error:
        raise click.ClickException(str(error)) from error
