"""Runs tasks with progress bars on standard error, so that standard output holds the answer alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from inference_fleet.simulation.batch import Finished, Task, perform_all
from inference_fleet.simulation.documents import Frontier


def run_tasks(tasks: Sequence[Task], options: Mapping[str, Any]) -> list[Finished | Frontier]:
    """All answers in the order of the tasks; bars only where a person watches."""
    jobs = min(len(tasks), options["jobs"] or os.cpu_count() or 1)
    dask = options["dask"]
    try:
        if not sys.stderr.isatty():
            return perform_all(tasks, jobs=jobs, dask=dask)
        return _watched(tasks, jobs=jobs, dask=dask)
    except ModuleNotFoundError as error:
        if error.name != "distributed":
            raise
        raise click.ClickException(
            "--dask needs the Python module 'distributed'."
            " Install it with: pip install 'inference-fleet-operator[dask]'"
        ) from error
    except OSError as error:
        raise click.ClickException(f"the runs could not be started: {error}") from error


def _watched(tasks: Sequence[Task], *, jobs: int, dask: str | None) -> list[Finished | Frontier]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    counted = TextColumn("{task.completed:.0f} of {task.total:.0f}")
    left = (TextColumn("left"), TimeRemainingColumn())
    columns = (TextColumn("{task.description}"), BarColumn(), counted, TimeElapsedColumn(), *left)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("runs", total=float(len(tasks)))
        shares: dict[str, float] = {}

        def show(label: str, share: float) -> None:
            shares[label] = share
            bars.update(bar, completed=sum(shares.values()), description=label)

        return perform_all(tasks, jobs=jobs, dask=dask, progress=show)


def write_report(finished: Sequence[Finished], frontiers: Sequence[Frontier], *, path: Path | None) -> None:
    """The page, if one is wanted; where it lies is said on standard error."""
    if path is None:
        return
    from inference_fleet.simulation.report import report_page

    try:
        path.write_text(report_page(finished, frontiers), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path}: cannot be written: {error.strerror}") from error
    click.echo(f"report: {path}", err=True)
