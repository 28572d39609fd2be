"""`inference-fleet render`: the objects the operator would create. Needs no cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import click

from inference_fleet.cli.main import EXIT_OK, EXIT_REFUSED
from inference_fleet.cli.output_form import output_form
from inference_fleet.cli.suggestions import file_name

# Owner references need a uid, which only the API server can give.
_NO_UID = "00000000-0000-0000-0000-000000000000"


@click.command(name="render", short_help="Print the objects the operator would create. No cluster needed.")
@click.option(
    "-f",
    "--file",
    required=True,
    metavar="FILE",
    shell_complete=file_name,
    help="Manifest file, a folder of manifests, or - for standard input.",
)
@click.option(
    "--accelerators",
    metavar="FILE",
    shell_complete=file_name,
    help="Manifest with AcceleratorClasses. Classes in -f count too; for names found in neither, the built-in classes"
    " are used.",
)
@output_form("yaml", "json")
def command(file: str, accelerators: str | None, output: Literal["yaml", "json"]) -> int:
    """Print the objects that the operator would create for new InferenceDeployments.

    They have the replicas that it would start with. Exit status 2 if a spec is refused.
    """
    import yaml

    from inference_fleet.cli.documents import read_deployments, read_documents
    from inference_fleet.engine.catalogue import built_in_accelerators

    documents = read_deployments(file)
    classes: dict[str, Mapping[str, Any]] = dict(built_in_accelerators())
    if accelerators is not None:
        classes |= read_documents(accelerators).accelerator_classes
    classes |= documents.accelerator_classes
    objects: list[Mapping[str, Any]] = []
    refused = False
    for deployment in documents.deployments:
        made, refusals = _render(deployment, classes)
        objects += made
        for words in refusals:
            click.echo(words, err=True)
        refused = refused or bool(refusals)
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2))
    elif objects:
        # libyaml's where the build has it: it writes the same ten times as fast.
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        click.echo(yaml.dump_all(objects, Dumper=dumper, sort_keys=False, width=120), nl=False)
    return EXIT_REFUSED if refused else EXIT_OK


def _render(
    deployment: Mapping[str, Any], classes: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[str]]:
    from inference_fleet.cli.manifest_check import manifest_faults, with_faults
    from inference_fleet.planning.plan import plan
    from inference_fleet.planning.snapshot import Snapshot
    from inference_fleet.planning.study import study
    from inference_fleet.planning.writes import Create

    given = deployment.get("metadata")
    metadata = {
        "name": "unnamed",
        "namespace": "default",
        **(given if isinstance(given, Mapping) else {}),
        "uid": _NO_UID,
        "resourceVersion": "0",
        "generation": 1,
    }
    # A class that is open to some namespaces only is taken to be open to this one: labels are the cluster's.
    open_classes = {name: _open(obj) for name, obj in classes.items()}
    snapshot = Snapshot(deployment={**deployment, "metadata": metadata}, accelerator_classes=open_classes)
    now = time.time()
    faults = manifest_faults(deployment, accelerator_classes=classes)
    found = with_faults(faults, study(snapshot, now=now).acceptance.all_refusals)
    refusals = [f"{metadata['name']}: {refusal.text()}" for refusal in found]
    if faults:
        # The object would not get into a cluster.
        return [], refusals
    made: dict[tuple[str, str], Mapping[str, Any]] = {}
    # What makes pods comes in a first plan, the rest in the one that finds it there.
    for _ in range(2):
        for write in plan(snapshot, None, now).writes:
            if isinstance(write, Create):
                made.setdefault((write.reference.kind, write.reference.name), write.body)
        pools = tuple(_live(body) for (kind, _), body in made.items() if kind == "ReplicaSet")
        snapshot = replace(snapshot, replica_sets=pools)
    return [dict(_plain(body)) for body in made.values()], refusals


def _live(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object as the API server would give it back, as far as a plan looks."""
    return {**body, "metadata": {**body["metadata"], "uid": body["metadata"]["name"], "resourceVersion": "0"}}


def _open(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = obj.get("spec")
    if not isinstance(spec, Mapping):
        return obj
    return {**obj, "spec": {key: value for key, value in spec.items() if key != "namespaceSelector"}}


def _plain(value: Any) -> Any:
    """Lists and dictionaries all through: YAML's safe writer knows no others."""
    if isinstance(value, Mapping):
        return dict(_pairs(value))
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _pairs(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        yield key, _plain(item)
