"""`inference-fleet compare`: policies side by side, and how far each is from what the future would have allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from inference_fleet.cli.main import EXIT_GOAL_MISSED, EXIT_OK
from inference_fleet.cli.simulation_options import POLICY_NAMES, TUNED_NAMES, Chosen, scenario_options, tell_of_the_wait
from inference_fleet.cli.suggestions import one_of

_TRACE_WIDTH = 24
# Attainment is measured on a sample of requests: a miss smaller than this is none.
_TOLERANCE_POINTS = 0.005


@click.command(name="compare", short_help="Compare scaling policies over traces.")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    metavar="POLICY",
    shell_complete=one_of((*POLICY_NAMES, *TUNED_NAMES)),
    help=f"Policy to run; repeatable. Default: all of {', '.join(POLICY_NAMES)}. `fleet` is the operator's own.",
)
@click.option("--suite", is_flag=True, help="Run all shapes of the synthetic suite.")
@scenario_options
def command(policies: tuple[str, ...], suite: bool, **options: Any) -> int:
    """Run scaling policies over the same traffic, and compare them with an offline optimum.

    A policy with the suffix -tuned uses the cheapest of its settings that meets the target on that trace, found in
    hindsight. The optimum is a fleet that knows the traffic beforehand. Exit status 3 if `fleet` misses its target,
    over a whole trace and by more than 0.005 points, where the optimum meets it.
    """
    tell_of_the_wait()
    from inference_fleet.cli.simulation_screen import run_tasks, write_report
    from inference_fleet.simulation.batch import Finished, OptimumTask, RunTask, Task, known_policy
    from inference_fleet.simulation.documents import Frontier, compare_document
    from inference_fleet.simulation.optimum import MOST_VARIANTS
    from inference_fleet.simulation.policies.catalogue import POLICIES
    from inference_fleet.simulation.synthetic import SUITE

    names = list(dict.fromkeys(policies)) or list(POLICIES)
    for name in names:
        if not known_policy(name):
            raise click.UsageError(f"--policy {name}: is none of {', '.join(POLICIES)} (or one of them with -tuned)")
    if suite:
        options = {**options, "shapes": (*options["shapes"], *(shape.name for shape in SUITE))}
    scenarios = Chosen(options).scenarios()
    tasks: list[Task] = []
    for scenario in scenarios:
        tasks += [OptimumTask(scenario)] if len(scenario.variants) <= MOST_VARIANTS else []
        tasks += [RunTask(scenario, name) for name in names]
    answers = run_tasks(tasks, options)
    finished = [each for each in answers if isinstance(each, Finished)]
    frontiers = [each for each in answers if isinstance(each, Frontier)]
    document = compare_document([each.document for each in finished], frontiers)
    write_report(finished, frontiers, path=options["report"])
    click.echo(json.dumps(document, indent=2) if options["output"] == "json" else table(document))
    missed = goals_missed(document)
    for words in missed:
        click.echo(words, err=True)
    return EXIT_GOAL_MISSED if missed else EXIT_OK


def table(document: Mapping[str, Any]) -> str:
    """Every run, then the summary."""
    from inference_fleet.simulation.documents import shown_percent

    points = {(each["trace"], each["seed"]): each["frontier"] for each in document["optimum"]}
    lines = [
        f"{'trace':<{_TRACE_WIDTH}} {'seed':>4}  {'policy':<22} {'kept %':>7} {'worst 10 min':>13} {'cost':>9}"
        f" {'ratio':>6} {'mean':>6} {'peak':>5}"
    ]
    for run in document["runs"]:
        scenario, result = run["scenario"], run["result"]
        ratio = _ratio(run, points)
        lines.append(
            f"{scenario['trace']:<{_TRACE_WIDTH}} {scenario['seed']:>4}  {_name(run['policy']):<22}"
            f" {shown_percent(result['attainmentPercent']):>7} {shown_percent(result['worstTenMinutesPercent']):>13}"
            f" {result['cost']:>9.2f} {_text(ratio, 2):>6} {result['meanReplicas']:>6.2f} {result['peakReplicas']:>5}"
        )
    units = sorted({run["scenario"]["costUnit"] for run in document["runs"]})
    lines.append(
        "\nkept: requests that met every objective, of all sent; worst 10 min: in the ten minutes where least did"
    )
    lines.append(f"cost: {' or '.join(units)}; a replica costs 1 an hour where its class has no price")
    lines.append("ratio: cost divided by that of a fleet that knew the traffic beforehand and kept as much")
    lines.append("mean, peak: replicas\n")
    lines.append(f"{'policy':<22} {'traces':<8} {'ratio':>6} {'95 % interval':>15} {'least kept %':>13}  dominated by")
    classes = {row["traceClass"] for row in document["summary"]}
    for row in document["summary"]:
        if len(classes) == 2 and row["traceClass"] != "all":
            # All traces are of one class.
            continue
        interval = "-" if row["ratioCi95"] is None else "{:.2f} - {:.2f}".format(*row["ratioCi95"])
        lines.append(
            f"{row['policy'] + ('-tuned' if row['tuned'] else ''):<22} {row['traceClass']:<8}"
            f" {_text(row['ratioGeomean'], 2):>6} {interval:>15} {shown_percent(row['minAttainmentPercent']):>13}"
            f"  {', '.join(row['dominatedBy']) or '-'}"
        )
    return "\n".join(lines)


def goals_missed(document: Mapping[str, Any]) -> list[str]:
    """Where `fleet` missed a target that the optimum keeps."""
    from inference_fleet.simulation.documents import shown_percent

    best = {
        (each["trace"], each["seed"]): max((point["attainmentPercent"] for point in each["frontier"]), default=0.0)
        for each in document["optimum"]
    }
    words = []
    for run in document["runs"]:
        scenario, attained = run["scenario"], run["result"]["attainmentPercent"]
        if run["policy"]["name"] != "fleet" or attained is None or not scenario["objectives"]:
            continue
        target = 100 * max(objective["target"] for objective in scenario["objectives"])
        reachable = best.get((scenario["trace"], scenario["seed"]), 0.0) >= target
        if reachable and attained < target - _TOLERANCE_POINTS:
            where = f"{scenario['trace']}, seed {scenario['seed']}"
            words.append(f"missed: fleet kept {shown_percent(attained)} % of {target:g} % on {where}")
    return words


def _ratio(run: Mapping[str, Any], frontiers: Mapping[tuple[str, int], Sequence[Mapping[str, float]]]) -> float | None:
    from inference_fleet.simulation.course import FrontierPoint
    from inference_fleet.simulation.documents import ratio_of

    points = {
        key: tuple(FrontierPoint(p["attainmentPercent"], p["replicaHours"], p["cost"]) for p in frontier)
        for key, frontier in frontiers.items()
    }
    return ratio_of(dict(run), points)


def _name(policy: Mapping[str, Any]) -> str:
    return str(policy["name"]) + ("-tuned" if policy["tuned"] else "")


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
