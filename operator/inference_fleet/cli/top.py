"""`inference-fleet top`: the fleet, redrawn in place."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from typing import Final, Literal

import click

from inference_fleet.adapters.ports import Cluster, Throttled, Unavailable
from inference_fleet.cli.cluster_access import (
    all_namespaces_option,
    cluster_options,
    output_option,
    problem,
    read_deployments,
    with_cluster,
)
from inference_fleet.cli.deployment_view import DeploymentView, duration

_DEFAULT_INTERVAL_SECONDS: Final = 2.0


@click.command(name="top", short_help="Watch all deployments live.")
@cluster_options
@all_namespaces_option
@click.option(
    "--interval",
    type=click.FloatRange(min=0.5),
    default=_DEFAULT_INTERVAL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Refresh interval.",
)
@click.option("--once", is_flag=True, help="Print once and exit. This is the default when piped.")
@output_option
def command(
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    interval: float,
    once: bool,
    output: Literal["json", "yaml"] | None,
) -> None:
    """Watch the InferenceDeployments of the cluster, those that are not ready first. End with Ctrl-C."""
    if once or output is not None or not sys.stdout.isatty():
        _one_picture(kubeconfig, context, namespace, output)
        return
    try:
        with_cluster(
            lambda cluster: _watch(cluster, namespace=namespace, interval=interval),
            kubeconfig=kubeconfig,
            context=context,
        )
    except KeyboardInterrupt:
        # The way it is meant to end.
        return


def _one_picture(
    kubeconfig: str | None, context: str | None, namespace: str | None, output: Literal["json", "yaml"] | None
) -> None:
    from inference_fleet.cli.text_table import columns_of_terminal, show, structured
    from inference_fleet.cli.top_report import top_report, top_text

    views = with_cluster(
        lambda cluster: read_deployments(cluster, namespace=namespace), kubeconfig=kubeconfig, context=context
    )
    if output is not None:
        click.echo(structured(top_report(views), form=output))
        return
    show(top_text(views, now=time.time(), width=columns_of_terminal(), height=len(views) + 10))


async def _watch(cluster: Cluster, *, namespace: str | None, interval: float) -> None:
    """Draw until interrupted. Once a picture stands, an API server that is away only makes it older."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from inference_fleet.cli.text_table import columns_of_terminal
    from inference_fleet.cli.top_report import top_text

    views = await read_deployments(cluster, namespace=namespace)
    read_at, note = time.time(), ""
    console = Console(highlight=False, no_color=bool(os.environ.get("NO_COLOR")))
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            height = shutil.get_terminal_size().lines
            picture = top_text(views, now=time.time(), width=columns_of_terminal(), height=height, note=note)
            live.update(Text.from_ansi(picture, no_wrap=True, overflow="ellipsis"), refresh=True)
            await asyncio.sleep(interval)
            views, read_at, note = await _again(cluster, views, read_at, namespace=namespace)


async def _again(
    cluster: Cluster, views: tuple[DeploymentView, ...], read_at: float, *, namespace: str | None
) -> tuple[tuple[DeploymentView, ...], float, str]:
    """The next picture: views, when they were read, and what hindered reading them."""
    try:
        return await read_deployments(cluster, namespace=namespace), time.time(), ""
    except (Unavailable, Throttled) as error:
        return views, read_at, f"{duration(time.time() - read_at)} old: {problem(error)}"
