"""`inference-fleet plan`: whether a spec is right, and what it would hold and cost. Needs no cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any, Literal

import click

from inference_fleet.cli.main import EXIT_OK, EXIT_REFUSED
from inference_fleet.cli.output_form import output_form
from inference_fleet.cli.suggestions import file_name


@click.command(name="plan", short_help="Check an InferenceDeployment, and show what it would hold and cost.")
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
    help="Manifest with AcceleratorClasses (from `kubectl get acceleratorclasses -o yaml`). Classes in -f count too;"
    " for names found in neither, the built-in classes are used.",
)
@click.option(
    "--config",
    metavar="FILE",
    shell_complete=file_name,
    help="The model's config.json, for the memory check and the speed estimate. model.shape takes precedence.",
)
@output_form("table", "json")
@click.option("--full", is_flag=True, help="Show the whole command line in the table.")
def command(
    file: str, accelerators: str | None, config: str | None, output: Literal["table", "json"], full: bool
) -> int:
    """Check InferenceDeployments, and show what they would hold and cost and how fast they would be.

    Exit status 2 if anything is refused, in any variant.
    """
    from inference_fleet.cli.documents import read_deployments, read_documents, read_model_config
    from inference_fleet.cli.plan_report import plan_report
    from inference_fleet.cli.plan_table import table
    from inference_fleet.engine.catalogue import built_in_accelerators

    documents = read_deployments(file)
    classes: dict[str, Mapping[str, Any]] = dict(built_in_accelerators())
    if accelerators is not None:
        classes |= read_documents(accelerators).accelerator_classes
    classes |= documents.accelerator_classes
    facts = read_model_config(config) if config is not None else None
    report = plan_report(documents.deployments, accelerator_classes=classes, config=facts)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        columns = shutil.get_terminal_size((120, 24)).columns
        click.echo("\n\n".join(table(result, full=full, columns=columns) for result in report["results"]))
    return EXIT_REFUSED if any(result["refusals"] for result in report["results"]) else EXIT_OK
