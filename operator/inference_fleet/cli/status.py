"""`inference-fleet status`: all deployments and what is not as it should be."""

from __future__ import annotations

import time
from typing import Literal

import click

from inference_fleet.cli.cluster_access import (
    all_namespaces_option,
    cluster_options,
    output_option,
    read_deployments,
    with_cluster,
)


@click.command(name="status", short_help="List all deployments with their conditions.")
@cluster_options
@all_namespaces_option
@output_option
def command(
    kubeconfig: str | None, context: str | None, namespace: str | None, output: Literal["json", "yaml"] | None
) -> None:
    """List the InferenceDeployments of the cluster, and what is wrong with them."""
    from inference_fleet.cli.status_report import status_report, status_text
    from inference_fleet.cli.text_table import columns_of_terminal, show, structured

    views = with_cluster(
        lambda cluster: read_deployments(cluster, namespace=namespace), kubeconfig=kubeconfig, context=context
    )
    if output is not None:
        click.echo(structured(status_report(views), form=output))
        return
    show(status_text(views, now=time.time(), width=columns_of_terminal()))
