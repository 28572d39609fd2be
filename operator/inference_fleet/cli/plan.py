"""`inference-fleet plan`: whether a spec is right, and what it would hold and cost. Needs no cluster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any, Literal

import click

from inference_fleet.cli.main import EXIT_OK, EXIT_REFUSED

_GIBIBYTE = 2**30
# Flags that say the most; the others are shown with --full.
_FIRST_WORDS = 6


@click.command(name="plan", short_help="Check an InferenceDeployment and show what it would cost, hold and do.")
@click.option("-f", "--file", required=True, metavar="FILE", help="Manifest to check; - reads standard input.")
@click.option(
    "--accelerators",
    metavar="FILE",
    help="Manifest with the cluster's AcceleratorClasses (kubectl get acceleratorclasses -o yaml). Classes in -f count"
    " too; the built-in ones are used for names found in neither.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--full", is_flag=True, help="Show the whole command line in the table.")
def command(file: str, accelerators: str | None, output: Literal["table", "json"], full: bool) -> int:
    """Check InferenceDeployments and show what they would cost, hold and do.

    Exit status 2 if anything is refused, in any variant.
    """
    from inference_fleet.cli.documents import read_documents
    from inference_fleet.cli.plan_report import plan_report
    from inference_fleet.engine.catalogue import built_in_accelerators

    documents = read_documents(file)
    if not documents.deployments:
        raise click.ClickException(f"{file}: holds no InferenceDeployment")
    classes: dict[str, Mapping[str, Any]] = dict(built_in_accelerators())
    if accelerators is not None:
        classes |= read_documents(accelerators).accelerator_classes
    classes |= documents.accelerator_classes
    report = plan_report(documents.deployments, accelerator_classes=classes)
    if output == "json":
        click.echo(json.dumps(report, indent=2))
    else:
        click.echo("\n\n".join(table(result, full=full) for result in report["results"]))
    return EXIT_REFUSED if any(result["refusals"] for result in report["results"]) else EXIT_OK


def table(result: Mapping[str, Any], *, full: bool) -> str:
    """One deployment for people."""
    counts = [_count(len(result[key]), key) for key in ("refusals", "warnings") if result[key]]
    verdict = ", ".join(["accepted" if result["accepted"] else "refused", *counts])
    name = f"{result['name'] or '(no name)'} ({result['namespace'] or '(no namespace)'})"
    lines = [f"{name:<58} {verdict}"]
    for variant in result["variants"]:
        lines += _variant_lines(variant, full=full)
    cost = result["cost"]
    if cost["currency"]:
        lines.append(f"  cost     {cost['minPerHour']:.2f} - {cost['maxPerHour']:.2f} {cost['currency']}/h")
    for kind in ("refusals", "warnings"):
        for remark in result[kind]:
            lines.append(f"  {kind[:-1]:<8} {remark['path']}: {remark['message']}")
            if remark["suggestion"]:
                lines.append(f"           {remark['suggestion']}")
    return "\n".join(lines)


def _variant_lines(variant: Mapping[str, Any], *, full: bool) -> list[str]:
    where = f"vLLM {variant['engineVersion']} on {variant['acceleratorClassName']}"
    if variant["devicesPerReplica"] is None:
        return [f"  variant {variant['name']:<12} {where:<44} refused"]
    devices = f" x{variant['devicesPerReplica']}" if variant["devicesPerReplica"] else ""
    price = f"{variant['costPerHour']:.2f} {variant['currency']}/h per replica" if variant["currency"] else "no price"
    limits, memory, words = variant["effective"], variant["memory"], variant["command"]
    lines = [
        f"  variant {variant['name']:<12} {where + devices:<44} {price}",
        f"    image    {variant['image']}",
        f"    limits   {limits['maxModelLen'] or 'auto (the engine fits it to its memory)'} tokens a sequence,"
        f" {limits['maxNumSeqs']} sequences, {limits['maxNumBatchedTokens']} tokens a step",
        f"    memory   {_memory_words(memory)}",
    ]
    shown = words if full else words[:_FIRST_WORDS]
    more = "" if len(shown) == len(words) else f" ...   (--full to see all {len(words) - 2})"
    return [*lines, f"    command  {shlex.join(shown)}{more}"]


def _memory_words(memory: Mapping[str, Any]) -> str:
    budget = f"{memory['budgetBytes'] / _GIBIBYTE:.1f} of {memory['deviceBytes'] / _GIBIBYTE:.1f} GiB a device"
    if memory["weightsBytes"] is None:
        return f"{budget}; the model's size is not known (model.shape)"
    known = f"weights at least {memory['weightsBytes'] / _GIBIBYTE:.1f} GiB"
    if memory["kvBytesPerToken"]:
        known += f", {memory['kvBytesPerToken'] / 1024:.0f} KiB of cache a token"
    return f"{budget}; {known}"


def _count(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural[:-1]}"
