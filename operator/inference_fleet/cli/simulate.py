"""`inference-fleet simulate`: what would my objective cost on this traffic?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from inference_fleet.cli.main import EXIT_OK
from inference_fleet.cli.simulation_options import Chosen, scenario_options


@click.command(name="simulate", short_help="Replay a trace against a simulated fleet.")
@click.option("--policy", default="fleet", show_default=True, help="Who decides; `compare --help` names all.")
@click.option("--replicas", type=click.IntRange(min=0), help="Of the policy `static`.")
@scenario_options
def command(policy: str, replicas: int | None, **options: Any) -> int:
    """Replay traffic against a simulated fleet under one scaling policy, and say what was kept and what it cost.

    With -f the objectives, limits and variants are those of an InferenceDeployment: the answer is what it would cost.
    """
    from inference_fleet.cli.simulation_screen import run_tasks
    from inference_fleet.simulation.batch import Finished, RunTask, known_policy
    from inference_fleet.simulation.policies.catalogue import POLICIES

    if not known_policy(policy):
        raise click.UsageError(f"--policy {policy}: is none of {', '.join(POLICIES)} (or one of them with -tuned)")
    if replicas is not None and policy != "static":
        raise click.UsageError("--replicas is for --policy static")
    parameters = {} if replicas is None else {"replicas": float(replicas)}
    tasks = [RunTask(scenario, policy, parameters) for scenario in Chosen(options).scenarios()]
    finished = [each for each in run_tasks(tasks, options) if isinstance(each, Finished)]
    documents = [each.document for each in finished]
    if options["report"] is not None:
        from inference_fleet.simulation.report import report_page

        options["report"].write_text(report_page(finished, ()), encoding="utf-8")
    if options["output"] == "json":
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents, indent=2))
    else:
        click.echo("\n\n".join(table(document) for document in documents))
    return EXIT_OK


def table(document: Mapping[str, Any]) -> str:
    """One run for people."""
    scenario, result = document["scenario"], document["result"]
    first, pace = result["timeToFirstTokenSeconds"], result["interTokenLatencySeconds"]
    name = document["policy"]["name"] + ("-tuned" if document["policy"]["tuned"] else "")
    lines = [
        f"{scenario['trace']} ({scenario['traceClass']}), {scenario['requests']} requests in"
        f" {scenario['spanSeconds'] / 3600:.1f} h, seed {scenario['seed']}: {name}",
        f"  promise     {_percent(result['attainmentPercent'])} kept, worst ten minutes"
        f" {_percent(result['worstTenMinutesPercent'])}; {result['failed']} of {result['sent']} requests failed",
        f"  first token p50 {_seconds(first['p50'])}  p95 {_seconds(first['p95'])}  p99 {_seconds(first['p99'])}",
        f"  pace        p50 {_seconds(pace['p50'])}  p95 {_seconds(pace['p95'])}  p99 {_seconds(pace['p99'])}",
        f"  cost        {result['cost']:.2f} ({result['replicaHours']:.2f} replica-hours)",
        f"  replicas    {result['meanReplicas']:.2f} on average, at most {result['peakReplicas']};"
        f" {result['scaleEvents']} changes, {result['directionChanges']} of direction",
    ]
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
