"""How near scaling policies come to an offline optimum: the table of `benchmarks/results/scaling.json`.

    python benchmarks/scaling.py [--slice short|suite] [--seed N] [--seeds N] [--seconds S] [--output FILE]

The short slice is the first hour of five synthetic traces, as shipped policies and the best static fleet in hindsight;
the suite is all of them in full. With TRACES=DIR the recorded traces found there are added. Everything that is done is
kept in FILE.partial.jsonl, so that a run that was stopped (or ran out of --seconds) goes on where it was; the file
goes when all is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_fleet.cli.compare import table
from inference_fleet.simulation.batch import Finished, OptimumTask, RunTask, Task, perform
from inference_fleet.simulation.documents import Frontier, compare_document
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.optimum import FrontierPoint
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.scenario import LLAMA_8B_A100, LLAMA_8B_L4, Scenario, Workload, objectives_of
from inference_fleet.simulation.synthetic import SUITE, generate, trace_class
from inference_fleet.simulation.traces import TraceRefusal, read_workload, scaled, window

PROJECT = Path(__file__).resolve().parents[1]
HOUR = 3600.0
SHORT = ("chat-steady", "chat-bursts", "code-bursts", "reasoning", "flash-crowd")
POLICY_NAMES = (*(name for name in POLICIES if name != "static"), "static-tuned")
TARGET = 0.99


@dataclass(frozen=True)
class Recorded:
    """A recorded trace: file, times its load, the hours of it that are taken, and what is promised (seconds)."""

    file: str
    rate_scale: float
    start_hour: float
    hours: float
    first_seconds: float
    pace_seconds: float


# Scales that ask for five to twelve of the engines below; promises that an idle engine can keep.
RECORDED = (
    Recorded("azure-2023-conv.csv.gz", 12, 0, 1, 1.0, 0.075),
    Recorded("mooncake-conversation.csv.gz", 8, 0, 1, 5.0, 0.1),
    Recorded("servegen-mmid-day4.csv.gz", 20, 9, 1, 1.0, 0.075),
    Recorded("servegen-msmall-day2.csv.gz", 20, 11, 1, 1.0, 0.075),
    Recorded("servegen-mlarge-day0.csv.gz", 10, 9, 1, 1.0, 0.075),
)


def main() -> int:
    """Run what is left, or as much of it as there are seconds for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slice", choices=("short", "suite"), default="short")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or 0))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks/results/scaling.json")
    options = parser.parse_args()
    partial = options.output.with_name(options.output.name + ".partial.jsonl")
    done = _done(partial)
    begun = time.monotonic()
    tasks = list(_tasks(options))
    for number, (key, task) in enumerate(tasks, start=1):
        if key in done:
            continue
        if time.monotonic() - begun > options.seconds:
            print(f"{len(done)} of {len(tasks)} done; run again to go on", file=sys.stderr)
            return 1
        done[key] = _plain(perform(task))
        with partial.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"key": key, "answer": done[key]}) + "\n")
        print(f"{number}/{len(tasks)} {task.label}", file=sys.stderr, flush=True)
    answers = [done[key] for key, _ in tasks]
    document = compare_document(
        [answer["run"] for answer in answers if "run" in answer],
        [_frontier(answer["frontier"]) for answer in answers if "frontier" in answer],
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.unlink(missing_ok=True)
    print(table(document))
    return 0


def _tasks(options: argparse.Namespace) -> Iterator[tuple[str, Task]]:
    for seed in range(options.seed, options.seed + options.seeds):
        for scenario in _scenarios(options.slice, seed):
            where = f"{options.slice} {scenario.workload.name} {scenario.workload.sha256[:12]} {seed}"
            yield f"{where} optimum", OptimumTask(scenario)
            for name in POLICY_NAMES:
                yield f"{where} {name}", RunTask(scenario, name)


def _scenarios(which: str, seed: int) -> Iterator[Scenario]:
    for shape in SUITE:
        if which == "suite":
            yield _scenario(generate(shape, seed=seed), LLAMA_8B_L4, 2.5, 0.2, seed=seed)
        elif shape.name in SHORT:
            short = dataclasses.replace(shape, span_seconds=HOUR)
            yield _scenario(generate(short, seed=seed), LLAMA_8B_L4, 2.5, 0.2, seed=seed)
    folder = os.environ.get("TRACES")
    for recorded in RECORDED if folder else ():
        workload = read_workload(Path(folder or "") / recorded.file)
        if isinstance(workload, TraceRefusal):
            raise SystemExit(str(workload))
        part = window(workload, start_seconds=recorded.start_hour * HOUR, duration_seconds=recorded.hours * HOUR)
        yield _scenario(
            scaled(part, recorded.rate_scale, seed=seed),
            LLAMA_8B_A100,
            recorded.first_seconds,
            recorded.pace_seconds,
            seed=seed,
        )


def _scenario(workload: Workload, engine: EngineModel, first: float, pace: float, *, seed: int) -> Scenario:
    return Scenario(
        workload=workload,
        variants=(VariantModel(name="a", engine=engine),),
        objectives=objectives_of(first_seconds=first, pace_seconds=pace, target=TARGET),
        seed=seed,
        trace_class=trace_class(workload.arrivals),
    )


def _plain(answer: Finished | Frontier) -> dict[str, Any]:
    if isinstance(answer, Finished):
        return {"run": answer.document}
    return {"frontier": dataclasses.asdict(answer)}


def _frontier(plain: dict[str, Any]) -> Frontier:
    return Frontier(plain["trace"], plain["seed"], tuple(FrontierPoint(**point) for point in plain["points"]))


def _done(partial: Path) -> dict[str, dict[str, Any]]:
    if not partial.exists():
        return {}
    lines = (json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines())
    return {line["key"]: line["answer"] for line in lines}


if __name__ == "__main__":
    raise SystemExit(main())
