"""`inference-fleet simulate`: what would my objective cost on this traffic, and on which accelerators?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from inference_fleet.cli.main import EXIT_OK
from inference_fleet.cli.simulation_offer import Offer, RefusedSpec, offer_of, offer_on
from inference_fleet.cli.simulation_options import POLICY_NAMES, TUNED_NAMES, Chosen, scenario_options, tell_of_the_wait
from inference_fleet.cli.suggestions import accelerator_name, one_of

_CLASS_WIDTH = 30
_DAY_HOURS = 24
_HOUR_SECONDS = 3600
_UNPRICED = "cost counts a replica as 1 an hour where its class has no price"


@click.command(name="simulate", short_help="Replay a trace against a simulated fleet.")
@click.option(
    "--policy",
    default="fleet",
    show_default=True,
    metavar="POLICY",
    shell_complete=one_of((*POLICY_NAMES, *TUNED_NAMES)),
    help="Scaling policy; `compare --help` lists all.",
)
@click.option("--replicas", type=click.IntRange(min=0), metavar="N", help="Number of replicas of the policy `static`.")
@click.option(
    "--accelerator",
    "accelerators",
    multiple=True,
    metavar="CLASS[=COST]",
    shell_complete=accelerator_name,
    help="With -f: run the deployment on this class alone, at this cost per device hour. Repeatable, to compare.",
)
@scenario_options
def command(policy: str, replicas: int | None, accelerators: tuple[str, ...], **options: Any) -> int:
    """Replay traffic against a simulated fleet under one scaling policy: are the objectives met, and at what cost?

    With -f, the objectives, limits and variants are those of an InferenceDeployment. With --accelerator, several
    accelerators are compared.
    """
    tell_of_the_wait()
    from inference_fleet.cli.simulation_screen import run_tasks, write_report
    from inference_fleet.simulation.batch import Finished, RunTask, known_policy
    from inference_fleet.simulation.policies.catalogue import POLICIES

    if not known_policy(policy):
        raise click.UsageError(f"--policy {policy}: is none of {', '.join(POLICIES)} (or one of them with -tuned)")
    if replicas is not None and policy != "static":
        raise click.UsageError("--replicas is for --policy static")
    if accelerators and options["file"] is None:
        raise click.UsageError("--accelerator needs -f, the deployment that would run on it")
    parameters = {} if replicas is None else {"replicas": float(replicas)}
    choices = [_choice(said, options["file"]) for said in accelerators] or [_as_it_stands(options["file"])]
    taken = [choice for choice in choices if choice.refusal is None]
    scenarios = [(choice, each) for choice in taken for each in Chosen(options, choice.offer).scenarios()]
    answers = run_tasks([RunTask(each, policy, parameters) for _, each in scenarios], options) if scenarios else []
    finished = [each for each in answers if isinstance(each, Finished)]
    documents = [each.document for each in finished]
    for (choice, _), document in zip(scenarios, documents, strict=True):
        if choice.accelerator:
            document["accelerator"] = choice.accelerator
        document["priced"] = choice.offer is not None and choice.offer.is_priced
    write_report(finished, (), path=options["report"])
    refused = [{"accelerator": each.accelerator, "refusal": each.refusal} for each in choices if each.refusal]
    if options["output"] == "json":
        every = [*documents, *refused]
        click.echo(json.dumps(every[0] if len(every) == 1 else every, indent=2))
    elif accelerators:
        click.echo(side_by_side(documents, refused))
    else:
        click.echo("\n\n".join(table(document) for document in documents))
    return EXIT_OK


@dataclass(frozen=True)
class Choice:
    """An accelerator and the deployment on it, or why it cannot run there."""

    accelerator: str
    offer: Offer | None
    refusal: str | None


def _as_it_stands(file: str | None) -> Choice:
    return Choice("", None if file is None else offer_of(file), None)


def _choice(said: str, file: str) -> Choice:
    name, _, cost = said.partition("=")
    try:
        if cost and not float(cost) > 0:
            raise ValueError
    except ValueError as error:
        raise click.UsageError(f"--accelerator {said}: the cost must be a number above 0") from error
    try:
        return Choice(name, offer_on(file, name, cost or None), None)
    except RefusedSpec as refusal:
        return Choice(name, None, refusal.message.removeprefix(f"{name}: "))


def side_by_side(documents: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, str]]) -> str:
    """Accelerators beside one another: those that keep the promise first, by cost."""
    from inference_fleet.simulation.documents import is_kept, shown_percent

    lines = [
        f"{'accelerator':<{_CLASS_WIDTH}} {'promise':<8} {'kept %':>7} {'worst 10 min':>13} {'mean':>6} {'peak':>5}"
        f" {_unit(documents) + '/h':>8} {_unit(documents) + ' per 1M tokens':>19}"
    ]
    rows = []
    any_priced = any(each["priced"] for each in documents)
    for document in documents:
        result = document["result"]
        # Replica-hours and money are not compared.
        comparable = document["priced"] or not any_priced
        kept = is_kept(document)
        hours = result["replicaHours"] / result["meanReplicas"] if result["meanReplicas"] else 0.0
        hourly = result["cost"] / hours if hours else 0.0
        million = 1e6 * result["cost"] / result["tokens"] if result.get("tokens") else None
        line = (
            f"{document['accelerator']:<{_CLASS_WIDTH}} {'kept' if kept else 'missed':<8}"
            f" {shown_percent(result['attainmentPercent']):>7} {shown_percent(result['worstTenMinutesPercent']):>13}"
            f" {result['meanReplicas']:>6.2f} {result['peakReplicas']:>5} {f'{hourly:.2f}' if comparable else '-':>8}"
            f" {'-' if million is None or not comparable else f'{million:.3f}':>19}"
        )
        rows.append((not kept, not comparable, hourly, line))
    lines += [line for *_, line in sorted(rows)]
    lines += [f"{each['accelerator']:<{_CLASS_WIDTH}} refused  {each['refusal']}" for each in refused]
    if not all(each["priced"] for each in documents):
        words = "no cost where the class has no price" if any_priced else _UNPRICED
        lines.append(f"\n{words}: name one, as CLASS=COST")
    return "\n".join(lines)


def _unit(documents: Sequence[Mapping[str, Any]]) -> str:
    """The currency where all that have a price have the same one."""
    found = {each["scenario"]["costUnit"] for each in documents if each["priced"]}
    return found.pop() if len(found) == 1 else "cost"


def table(document: Mapping[str, Any]) -> str:
    """One run for people: whether the promise was kept and with how much, then the rest."""
    from inference_fleet.scaling.promise import default_promise
    from inference_fleet.simulation.documents import is_kept, judged_percent, target_percent

    scenario, result = document["scenario"], document["result"]
    first, pace = result["timeToFirstTokenSeconds"], result["interTokenLatencySeconds"]
    name = document["policy"]["name"] + ("-tuned" if document["policy"]["tuned"] else "")
    promised = f" of {target_percent(document):g} %{_window(scenario)}" if scenario["objectives"] else ""
    verdict = f"promise {'kept' if is_kept(document) else 'MISSED'}, {_percent(judged_percent(document))}{promised}"
    if result["attainmentPercent"] is None:
        verdict = "no request was judged"
    elif not scenario["objectives"]:
        verdict = f"no objective, {_percent(result['attainmentPercent'])} served; scaled as for {default_promise()}"
    cost = f"{result['replicaHours']:.2f} replica-hours"
    all_judged = result["sent"] == scenario["requests"]
    judged = "" if all_judged else f"; judged after the first {_span(scenario['warmUpSeconds'])}"
    noun = "request" if scenario["requests"] == 1 else "requests"
    lines = [
        f"{scenario['trace']}: {verdict}, with {result['meanReplicas']:.2f} replicas on average ({name})",
        f"  traffic     {scenario['requests']:,} {noun} in {_span(scenario['spanSeconds'])}"
        f" ({scenario['traceClass']}), seed {scenario['seed']}{judged}",
        f"  promise     {_percent(result['attainmentPercent'])} of all; {_worst(scenario, result)};"
        f" {result['failed']:,} of {result['sent']:,} {'requests' if all_judged else 'judged requests'} failed",
        f"  first token {_quantiles(first)}{_threshold(scenario, 'TimeToFirstToken')}",
        f"  pace        {_quantiles(pace)}{_threshold(scenario, 'InterTokenLatency')}",
        f"  replicas    {sum(scenario['start'])} at first, at most {result['peakReplicas']};"
        f" {result['scaleEvents']} changes, {result['directionChanges']} turns between up and down",
        f"  cost        {result['cost']:.2f} {scenario['costUnit']} ({cost})"
        if document["priced"]
        else f"  cost        {cost}",
    ]
    if not document["priced"] and len(scenario["variants"]) > 1:
        lines[-1] += f"; {_UNPRICED}"
    if len({each["target"] for each in scenario["objectives"]}) > 1:
        lines.append(
            f"  judged      as one promise, though targets differ: every threshold, by {target_percent(document):g} %;"
            " an objective by itself may be kept where this is not"
        )
    return "\n".join(lines)


def _worst(scenario: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    ten_minutes = f"worst ten minutes {_percent(result['worstTenMinutesPercent'])}"
    is_long = scenario["spanSeconds"] > _HOUR_SECONDS
    return f"worst hour {_percent(result['worstHourPercent'])}, {ten_minutes}" if is_long else ten_minutes


def _window(scenario: Mapping[str, Any]) -> str:
    hours = min(int(each["windowHours"]) for each in scenario["objectives"])
    return "" if hours >= _DAY_HOURS else f" in the worst {'hour' if hours == 1 else f'{hours} hours'}"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _quantiles(seconds: Mapping[str, float | None]) -> str:
    return "  ".join(f"{name} {_seconds(seconds[name])}" for name in ("p50", "p95", "p99"))


def _threshold(scenario: Mapping[str, Any], metric: str) -> str:
    limits = [each["thresholdSeconds"] for each in scenario["objectives"] if each["metric"] == metric]
    return f"  ({_seconds(min(limits))} promised)" if limits else ""


def _percent(value: float | None) -> str:
    from inference_fleet.simulation.documents import shown_percent

    return "-" if value is None else f"{shown_percent(value)} %"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
