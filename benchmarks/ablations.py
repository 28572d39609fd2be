"""What the scaler's parts are worth: the same traffic with one part changed (benchmarks/results/ablations.json).

    [TRACES=DIR] python benchmarks/ablations.py [--table NAME ...] [--trace NAME ...] [--jobs N] [--output FILE]

Tables: foresight, windows, restarts, crowds, scrapes, constants; recorded traces only with TRACES=DIR. Rows that were
not made this time stay as they were. `make generate` writes docs/explanation/scaling-parts.md from the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from ablation_variations import TABLES, Demands
from scaling_cases import L4, Case, cases

from inference_fleet.simulation.outcome import met
from inference_fleet.simulation.run import Run
from inference_fleet.simulation.scenario import Workload
from inference_fleet.simulation.synthetic import DAILY_CROWD, DAY, DAYS, HOUR, WEEKS, Shape, day_cycle, generate

RESULTS = Path(__file__).resolve().parent / "results/ablations.json"
# An hour that moves on by five minutes; with fewer requests a share says nothing.
MOVES_SECONDS: Final = 300.0
FEWEST_REQUESTS: Final = 30


class Study(NamedTuple):
    """Traffic of one table: a case's part and name, and how many seeds of it."""

    table: str
    part: str
    trace: str
    seeds: int


RECORDED: Final = (
    "azure-2023-conv",
    "mooncake-conversation",
    "servegen-r1-morning",
    "servegen-mmid-day4",
    "servegen-msmall-day2",
    "servegen-mlarge-day0",
    "servegen-mlarge-day2",
)
SMOOTH: Final = ("chat-steady", "chat-morning", "reasoning")
QUIET_WEEK: Final = "a quiet week, ten times the load for 20 minutes at nine every day"
CROWDS: Final = (
    QUIET_WEEK,
    f"{QUIET_WEEK}, starts of 600 s",
    f"{QUIET_WEEK}, its minute wanders by up to ten minutes",
    "six days with a daily cycle, four times the load for 10 minutes at nine",
    "eight days with a daily cycle, bursts by chance and more noise, four times the load for 10 minutes at nine",
    "four days with a daily cycle, three times the load for 4 minutes in every hour",
    "the first eight days of chat-weeks: a daily cycle, bursts by chance, no such crowd",
)
STUDIES: Final = (
    *(Study("foresight", "suite", name, 5) for name in (*SMOOTH, "chat-bursts")),
    *(Study("foresight", "recorded", name, 1) for name in RECORDED),
    Study("foresight", "days", "chat-days", 1),
    Study("foresight", "ramp", "llm-d-ramp", 6),
    *(Study("windows", "recorded", name, 2) for name in RECORDED[2:5]),
    Study("windows", "suite", "chat-bursts", 3),
    Study("windows", "suite", "reasoning", 2),
    *(Study("restarts", "suite", name, 3) for name in ("chat-steady", "chat-morning", "chat-bursts")),
    *(Study("restarts", "recorded", name, 1) for name in RECORDED[2:4]),
    *(Study("scrapes", "suite", name, 5) for name in (*SMOOTH, "chat-bursts")),
    *(Study("scrapes", "suite", name, 3) for name in ("code-bursts", "flash-crowd")),
    *(Study("scrapes", "recorded", name, 1) for name in (RECORDED[0], *RECORDED[2:5])),
    Study("crowds", "days", "daily-crowd", 2),
    *(Study("crowds", "crowds", name, 1) for name in CROWDS),
    # The longest first, so that none is left alone at the end.
    *(Study("constants", "recorded", name, 1) for name in reversed(RECORDED)),
    Study("constants", "days", "chat-days", 1),
    *(Study("constants", "suite", name, 4) for name in SMOOTH),
    Study("constants", "suite", "chat-bursts", 5),
    Study("constants", "suite", "code-bursts", 2),
)


def cases_by_name() -> dict[tuple[str, str], Case]:
    """All that can be run here, by part and name."""
    return {(case.part, case.name): case for case in (*cases(), *_crowds())}


def _crowds() -> Iterator[Case]:
    """Crowds at their hour, and traffic that has none."""
    slow = tuple(dataclasses.replace(variant, cold_start_seconds=600.0) for variant in L4)
    nine = dataclasses.replace(DAILY_CROWD, rate=_crowd(lambda _: 0.6, factor=10.0, minutes=20))
    cycle = dataclasses.replace(DAYS, rate=_crowd(day_cycle(1.0, 9.0), factor=4.0, minutes=10), bursts_per_hour=0.0)
    hourly = _crowd(day_cycle(1.0, 9.0), factor=3.0, minutes=4, every=HOUR, at=0.0)
    noisy = dataclasses.replace(cycle, span_seconds=8 * DAY, bursts_per_hour=0.3, noise=0.3)
    wanders = _crowd(lambda _: 0.6, factor=10.0, minutes=20, wanders=600.0)
    for name, shape, variants in (
        (CROWDS[0], nine, L4),
        (CROWDS[1], nine, slow),
        (CROWDS[2], dataclasses.replace(nine, rate=wanders), L4),
        (CROWDS[3], dataclasses.replace(cycle, span_seconds=6 * DAY), L4),
        (CROWDS[4], noisy, L4),
        (CROWDS[5], dataclasses.replace(cycle, span_seconds=4 * DAY, rate=hourly), L4),
        (CROWDS[6], dataclasses.replace(WEEKS, span_seconds=8 * DAY), L4),
    ):
        yield Case("crowds", name, _load(dataclasses.replace(shape, name=name)), variants=variants)


def _load(shape: Shape) -> Callable[[int], Workload]:
    return lambda seed: generate(shape, seed=seed)


def _crowd(
    rate: Callable[[float], float],
    *,
    factor: float,
    minutes: float,
    every: float = DAY,
    at: float = 9 * HOUR,
    wanders: float = 0.0,
) -> Callable[[float], float]:
    """A rate, and `factor` times it for some minutes a day (or `every` so often). wanders: seconds, either way."""

    def crowded(now: float) -> float:
        day = int(now // every)
        off = random.Random(day).uniform(-wanders, wanders) if wanders else 0.0
        return rate(now) * (factor if 0 <= now % every - at - off < 60 * minutes else 1.0)

    return crowded


class Job(NamedTuple):
    """All variations of one table, with one trace and seed."""

    table: str
    part: str
    trace: str
    seed: int


def jobs() -> list[Job]:
    """All of them, in the order of the file."""
    return [Job(*study[:3], seed) for study in STUDIES for seed in range(study.seeds)]


def rows_of(job: Job) -> list[dict[str, Any]]:
    """What every variation kept, and for what."""
    scenario, demands = cases_by_name()[job.part, job.trace].scenario(job.seed), Demands()
    rows = []
    for variation, perform in TABLES[job.table].items():
        run = perform(scenario, demands)
        outcome, hours = run.outcome, _hours(run)
        rows.append(
            {
                **job._asdict(),
                "variation": variation,
                "traceClass": scenario.trace_class,
                "attainmentPercent": round(outcome.attainment_percent, 3),
                "meanReplicas": round(outcome.mean_replicas, 3),
                "cost": round(outcome.cost, 3),
                "hoursKeptPercent": round(100 * float(np.mean(hours >= 100 * scenario.objectives[0].target)), 1),
                "worstHourPercent": round(float(np.min(hours)), 2),
            }
        )
    return rows


def _hours(run: Run) -> Any:
    """The share kept, in percent, in windows of an hour."""
    first = int(np.searchsorted(run.log.arrival, run.scenario.warm_up))
    arrived = run.log.arrival[first:]
    kept = np.concatenate(([0], np.cumsum(met(run.log, run.scenario)[first:])))
    begins = np.arange(arrived[0], max(arrived[0], arrived[-1] - HOUR) + MOVES_SECONDS, MOVES_SECONDS)
    low, high = np.searchsorted(arrived, begins), np.searchsorted(arrived, begins + HOUR)
    enough = high - low >= FEWEST_REQUESTS
    return 100 * (kept[high] - kept[low])[enough] / (high - low)[enough]


def written(rows: Iterable[dict[str, Any]]) -> str:
    """The file, a line a row, in the order of the studies and of their tables' variations; what is no longer defined
    goes."""
    found = {tuple(row[name] for name in (*Job._fields, "variation")): row for row in rows}
    keys = [(*job, variation) for job in jobs() for variation in TABLES[job.table]]
    lines = (json.dumps(found[key]) for key in keys if key in found)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> int:
    """Run what is asked for; the file is written after every job, so that one that is stopped keeps what is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="append", choices=TABLES, help="only these")
    parser.add_argument("--trace", action="append", help="only traces of these names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    here = cases_by_name()
    todo = [
        job
        for job in jobs()
        if (job.part, job.trace) in here
        and (not options.table or job.table in options.table)
        and (not options.trace or job.trace in options.trace)
    ]
    if not todo:
        parser.error("no such trace, or it needs TRACES=DIR")
    rows = json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else []
    begun = time.monotonic()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(rows_of, job): job for job in todo}
        for done, future in enumerate(as_completed(running), 1):
            rows += future.result()
            options.output.write_text(written(rows), encoding="utf-8")
            job, took = running[future], time.monotonic() - begun
            print(f"{done}/{len(todo)} {took:.0f} s  {job.table}: {job.trace}, seed {job.seed}", file=sys.stderr)
    print(options.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
