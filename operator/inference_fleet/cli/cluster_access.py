"""Reading from the user's cluster for the commands for people: what goes wrong becomes one line."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click

from inference_fleet.adapters.ports import Cluster, ClusterError, Forbidden, NoCluster, NotFound, Unavailable
from inference_fleet.cli import suggestions
from inference_fleet.cli.deployment_view import DeploymentView, view

Result = TypeVar("Result")
Command = TypeVar("Command", bound=Callable[..., Any])

_NOT_INSTALLED: Final = (
    "the cluster does not know InferenceDeployments: the operator's custom resource definitions are not installed"
)
_NEEDED_RIGHTS: Final = "you need get and list on inferencedeployments.inferencefleet.io"


def cluster_options(function: Command) -> Command:
    """The options that every command which reads from a cluster has, as kubectl names them."""
    options = (
        click.option(
            "--kubeconfig",
            type=click.Path(exists=True, dir_okay=False),
            metavar="FILE",
            help="Kubeconfig file. Default: the one kubectl uses.",
        ),
        click.option(
            "--context",
            metavar="NAME",
            shell_complete=suggestions.context_name,
            help="Context of the kubeconfig. Default: the current one.",
        ),
        click.option(
            "-n",
            "--namespace",
            metavar="NAME",
            shell_complete=suggestions.namespace_name,
            help="Only this namespace.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def all_namespaces_option(function: Callable[..., None]) -> Callable[..., None]:
    """-A, which people type after kubectl: the lists show all namespaces anyway."""

    @functools.wraps(function)
    def with_namespace(*, all_namespaces: bool, namespace: str | None, **others: Any) -> None:
        function(namespace=None if all_namespaces else namespace, **others)

    words = "All namespaces. This is the default; it takes precedence over -n."
    return click.option("-A", "--all-namespaces", is_flag=True, help=words)(with_namespace)


def output_option(function: Command) -> Command:
    """-o json|yaml."""
    return click.option("-o", "--output", type=click.Choice(["json", "yaml"]), help="Machine-readable output.")(
        function
    )


def with_cluster(
    work: Callable[[Cluster], Awaitable[Result]], *, kubeconfig: str | None, context: str | None
) -> Result:
    """Connect, do the work, close. Raises ClickException with one line for whatever the cluster refuses."""

    async def connected() -> Result:
        # Only here: the client takes half a second to import, and nobody waits for it in --help.
        from inference_fleet.adapters.kubernetes import connect

        cluster = await connect(kubeconfig=kubeconfig, context=context)
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    try:
        return asyncio.run(connected())
    except ClusterError as error:
        raise click.ClickException(problem(error)) from error
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def problem(error: ClusterError) -> str:
    """What a refused call means for the one who asked."""
    words = one_line(str(error))
    if isinstance(error, NoCluster):
        # The loader's own slip says nothing of the file.
        misshapen = isinstance(error.__cause__, TypeError | AttributeError)
        return f"no cluster to ask: {'the kubeconfig is not of the form of one' if misshapen else words}"
    if isinstance(error, Forbidden):
        hint = "log in again" if error.status == 401 else _NEEDED_RIGHTS
        if "at the cluster scope" in words:
            hint += "; for one namespace alone: -n NAME"
        return f"not allowed: {words} ({hint})"
    if isinstance(error, Unavailable):
        return f"the API server does not answer: {words}"
    return words


def one_line(text: str) -> str:
    """Text without line breaks or control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


async def read_deployments(cluster: Cluster, *, namespace: str | None) -> tuple[DeploymentView, ...]:
    """All InferenceDeployments, of one namespace or of the cluster, by namespace and name."""
    from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS

    found: list[DeploymentView] = []
    token: str | None = None
    while True:
        try:
            page = await cluster.list_page(INFERENCE_DEPLOYMENTS, namespace=namespace, continue_token=token)
        except NotFound as error:
            raise click.ClickException(_NOT_INSTALLED) from error
        found += [view(item) for item in page.items]
        token = page.continue_token
        if not token:
            return tuple(sorted(found, key=lambda each: (each.namespace, each.name)))


async def read_deployment(cluster: Cluster, *, namespace: str, name: str) -> DeploymentView:
    """One InferenceDeployment; names near to a wrong one are told if they may be listed."""
    from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS

    try:
        return view(await cluster.get(INFERENCE_DEPLOYMENTS, name=name, namespace=namespace))
    except NotFound as error:
        raise click.ClickException(await _missing(cluster, namespace=namespace, name=name)) from error


async def _missing(cluster: Cluster, *, namespace: str, name: str) -> str:
    import difflib

    words = f"there is no InferenceDeployment {namespace}/{name}"
    try:
        # All namespaces first: the wrong half may be the namespace.
        known = [f"{each.namespace}/{each.name}" for each in await read_deployments(cluster, namespace=None)]
    except (ClusterError, ValueError):
        return words
    near = [each for each in known if each.endswith(f"/{name}")]
    near = near or difflib.get_close_matches(f"{namespace}/{name}", known, n=1)
    return f"{words}; did you mean {near[0]}?" if near else words
