"""`inference-fleet demo`: the main job on one machine, watched and judged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from inference_fleet.cli.main import EXIT_FAILED, EXIT_GOAL_MISSED, EXIT_INTERRUPTED, EXIT_OK


@click.command(short_help="Serve, load and scale a model in a sandbox, and report.")
@click.option(
    "--engine",
    type=click.Choice(["emulated", "vllm"]),
    default="emulated",
    show_default=True,
    help="Engine: emulated, which only takes the time, or real vLLM on the CPU.",
)
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="Load to send: a CSV file with arrival_s,input_tokens,output_tokens (.gz too). Default: a built-in load.",
)
@click.option("--duration", type=click.FloatRange(min=10), metavar="S", help="How long the load lasts, seconds.")
@click.option(
    "--rate-scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="X",
    help="Multiplies the load.",
)
@click.option(
    "--start", type=click.FloatRange(min=0), default=0.0, metavar="S", help="Second of the trace to begin at."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the built-in load.")
@click.option(
    "--summary",
    "summary_path",
    type=click.Path(path_type=Path),
    default="demo-summary.json",
    show_default=True,
    help="File for the figures as JSON.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(path_type=Path),
    default="demo-report.html",
    show_default=True,
    help="File for the HTML page with pictures.",
)
def command(
    engine: str,
    trace: Path | None,
    duration: float | None,
    rate_scale: float,
    start: float,
    seed: int,
    summary_path: Path,
    report_path: Path,
) -> int:
    """Start a sandbox, install the operator, serve the sample model, send a load that rises and falls, and report.

    Passed: no request failed or was cut off, and the fleet scaled up and back down. Invalid: the machine was too slow
    for the emulated engines.
    """
    from rich.console import Console

    from inference_fleet.cli.demonstration.load_process import LoadFailed
    from inference_fleet.cli.demonstration.performance import Options, chosen_trace, perform
    from inference_fleet.cli.demonstration.report import headline, report_page
    from inference_fleet.cli.demonstration.stage import StageFailed
    from inference_fleet.load.trace import TraceRefusal

    console = Console()
    with tempfile.TemporaryDirectory(prefix="inference-fleet-demo-") as folder:
        options = Options(
            engine=engine,
            trace=trace,
            duration_seconds=duration,
            start_seconds=start,
            rate_scale=rate_scale,
            seed=seed,
            folder=Path(folder),
        )
        chosen = chosen_trace(options)
        if isinstance(chosen, TraceRefusal):
            raise click.ClickException(str(chosen))
        try:
            seen, summary = perform(options, chosen, console=console)
        except (StageFailed, LoadFailed) as error:
            raise click.ClickException(str(error)) from error
    summary_path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    report_path.write_text(report_page(seen, summary), encoding="utf-8")
    console.print(f"\n{summary['verdict'].upper()}  {headline(summary)}", highlight=False, soft_wrap=True)
    for failure in summary["failures"]:
        console.print(f"  - {failure}", highlight=False, soft_wrap=True)
    console.print(f"report  {report_path}     summary  {summary_path}", highlight=False, soft_wrap=True)
    return _exit_status(summary)


def _exit_status(summary: dict[str, Any]) -> int:
    if "it was interrupted" in summary["failures"]:
        return EXIT_INTERRUPTED
    return {"passed": EXIT_OK, "failed": EXIT_GOAL_MISSED, "invalid": EXIT_FAILED}[summary["verdict"]]
