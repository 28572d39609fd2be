"""`inference-fleet explain`: why this many replicas, or why not ready."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import click

from inference_fleet.cli.cluster_access import cluster_options, output_option, read_deployment, with_cluster
from inference_fleet.cli.kubeconfig import current_namespace
from inference_fleet.cli.suggestions import deployment_name

if TYPE_CHECKING:
    from inference_fleet.adapters.ports import Cluster
    from inference_fleet.cli.deployment_view import DeploymentView

# People who come from kubectl say the kind first.
_KINDS: Final = ("deployment", "infd", "inferencedeployment", "inferencedeployments")


@click.command(name="explain", short_help="Say why a deployment has this many replicas, or why it is not ready.")
@click.argument("words", nargs=-1, metavar="[deployment] [NAMESPACE/]NAME", shell_complete=deployment_name)
@cluster_options
@output_option
def command(
    words: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
    output: Literal["json", "yaml"] | None,
) -> None:
    """Say why an InferenceDeployment has this many replicas, or why it is not ready and what to do.

    The default namespace is that of the kubeconfig, as for kubectl.
    """
    from inference_fleet.cli.explain_report import explain_report, explain_text
    from inference_fleet.cli.pod_events import PodEvent, pod_events
    from inference_fleet.cli.text_table import columns_of_terminal, show, structured

    current = current_namespace(kubeconfig, context=context)
    of_namespace, name = _place(words, namespace=namespace, current=current)

    async def read(cluster: Cluster) -> tuple[DeploymentView, tuple[PodEvent, ...]]:
        found = await read_deployment(cluster, namespace=of_namespace, name=name)
        return found, await pod_events(cluster, namespace=of_namespace, name=name)

    deployment, events = with_cluster(read, kubeconfig=kubeconfig, context=context)
    if output is not None:
        click.echo(structured(explain_report(deployment, events=events), form=output))
        return
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None
    width = columns_of_terminal()
    show(explain_text(deployment, events=events, now=time.time(), zone=zone, width=width))


def _place(words: tuple[str, ...], *, namespace: str | None, current: str | None) -> tuple[str, str]:
    """Namespace and name out of what was typed. current: where kubectl would look without being told."""
    names = words[1:] if len(words) > 1 and words[0].lower() in _KINDS else words
    if len(names) != 1:
        raise click.UsageError("name one InferenceDeployment: explain NAMESPACE/NAME")
    given, slash, name = names[0].rpartition("/")
    if slash and namespace is not None and given != namespace:
        raise click.UsageError(f"'{names[0]}' and --namespace {namespace} contradict each other")
    found = given or namespace or ("" if slash else current) or ""
    if not found or not name or "/" in found:
        raise click.UsageError(f"'{names[0]}': say NAMESPACE/NAME, or give the namespace with -n")
    return found, name
