"""What the shell offers for a word: names from the cluster, the kubeconfig and this machine.

Whoever presses Tab waits a moment at most and reads no error: what cannot be known is not offered.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from inference_fleet.adapters.ports import Cluster
    from inference_fleet.cli.deployment_view import DeploymentView

# How long Tab may take, for those whose login helper is slow.
PATIENCE_VARIABLE: Final = "INFERENCE_FLEET_COMPLETION_SECONDS"
USUAL_PATIENCE_SECONDS: Final = 2.0

Suggest = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def file_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own file names: for options that also take - and so are no click.Path."""
    return [CompletionItem(incomplete, type="file")]


def deployment_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """NAMESPACE/NAME of all InferenceDeployments; names alone where -n says the namespace."""
    if context.params.get(parameter.name or ""):
        # One is enough.
        return []
    namespace = context.params.get("namespace")
    known = _deployments(context, namespace=namespace)
    if namespace and "/" not in incomplete:
        return _begun((each.name for each in known), incomplete)
    return _begun((f"{each.namespace}/{each.name}" for each in known), incomplete)


def namespace_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Namespaces that have InferenceDeployments; those of the kubeconfig where the cluster does not say."""
    from inference_fleet.cli.kubeconfig import contexts

    seen = {each.namespace for each in _deployments(context, namespace=None)}
    named = {each.namespace for each in contexts(context.params.get("kubeconfig")) if each.namespace}
    return _begun(seen or named, incomplete)


def context_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kubeconfig's contexts."""
    from inference_fleet.cli.kubeconfig import contexts

    return _begun((each.name for each in contexts(context.params.get("kubeconfig"))), incomplete)


def one_of(names: Iterable[str]) -> Suggest:
    """These names."""

    def suggest(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return _begun(names, incomplete)

    return suggest


def accelerator_name(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Accelerator classes that are built in or stand in the file of -f."""
    from inference_fleet.cli.documents import read_documents
    from inference_fleet.engine.catalogue import built_in_accelerators

    names = set(built_in_accelerators())
    named = context.params.get("file")
    if named and named != "-":
        with contextlib.suppress(click.ClickException):
            names |= set(read_documents(named).accelerator_classes)
    return _begun(names, incomplete)


def patience_seconds() -> float:
    """How long the cluster may take to answer; what is no number is taken as unset."""
    try:
        return float(os.environ.get(PATIENCE_VARIABLE, USUAL_PATIENCE_SECONDS))
    except ValueError:
        return USUAL_PATIENCE_SECONDS


def _begun(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _deployments(context: click.Context, *, namespace: str | None) -> tuple[DeploymentView, ...]:
    from inference_fleet.cli.kubeconfig import contexts, current_namespace

    kubeconfig, login = context.params.get("kubeconfig"), context.params.get("context")
    if not contexts(kubeconfig):
        # Nobody waits for the client's import to be told nothing.
        return ()
    found = _listed(namespace, kubeconfig=kubeconfig, context=login)
    own = current_namespace(kubeconfig, context=login)
    if found is None and namespace is None and own is not None:
        found = _listed(own, kubeconfig=kubeconfig, context=login)
    return found or ()


def _listed(namespace: str | None, *, kubeconfig: str | None, context: str | None) -> tuple[DeploymentView, ...] | None:
    """None if one may not look there; nothing if there is no answer."""
    # Only here: commands that need no cluster import this module for their options.
    import asyncio

    from inference_fleet.adapters.ports import Forbidden
    from inference_fleet.cli.cluster_access import read_deployments, with_cluster

    async def read(cluster: Cluster) -> tuple[DeploymentView, ...]:
        async with asyncio.timeout(patience_seconds()):
            return await read_deployments(cluster, namespace=namespace)

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return with_cluster(read, kubeconfig=kubeconfig, context=context)
    except TimeoutError:
        return ()
    except click.ClickException as error:
        return None if isinstance(error.__cause__, Forbidden) else ()
