"""How near scaling policies come to an offline optimum: benchmarks/scaling.md and benchmarks/results/scaling.json.

    python benchmarks/scaling.py [--part PART ...] [--case NAME ...] [--policy NAME ...] [--seeds N] [--jobs N]
                                 [--seconds S] [--fresh] [--tune] [--partial] [--output FOLDER]

Parts: slice (for tests), suite, ramp, conditions, variants, days; with TRACES=DIR also recorded and unseen. Every run
is kept in the cache folder under what it depends on, so that a benchmark that was stopped (or ran out of --seconds)
goes on where it was, and only runs of a changed scaler are made again. --tune finds the settings of rivals in hindsight
and writes benchmarks/tuned.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from scaling_cases import Case, cases
from scaling_table import page

from inference_fleet.simulation.batch import Finished, OptimumTask, RunTask, perform
from inference_fleet.simulation.course import FrontierPoint
from inference_fleet.simulation.documents import Frontier, compare_document
from inference_fleet.simulation.policies.catalogue import POLICIES, TUNED_SUFFIX
from inference_fleet.simulation.scenario import Scenario

PROJECT = Path(__file__).resolve().parents[1]
TUNED_FILE = PROJECT / "benchmarks/tuned.json"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-fleet/bench-scaling"
# Changed by hand when the laboratory or a rival's rule changes what comes out.
LABORATORY = 1
# The same for the search for the optimum alone.
SEARCH = 5
# Facts of a case that came later: they count where they are set, so that what was run before still stands.
LATER = ("max_num_queued_reqs", "max_num_queued_tokens")
OPTIMUM = "optimum"
OTHER_RESULTS = ("simulator", "decide", "emulated", "real-engine")
URGENT = ((OPTIMUM, "fleet"), ("static-tuned", "llm-d-slo-aware"))


@dataclass(frozen=True)
class Job:
    """One thing to compute. what: a policy, `static:N`, or `optimum`."""

    part: str
    case: str
    seed: int
    what: str
    parameters: tuple[tuple[str, float], ...] = ()


def main() -> int:
    """Run what is left, or as much of it as there are seconds for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", help="only these (slice is only run when named)")
    parser.add_argument("--case", action="append", help="only cases of these names")
    parser.add_argument(
        "--policy", action="append", help="make only runs of these (`optimum` is one); the rest is kept"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seeds", type=int, default=5, help="at most so many of every case")
    parser.add_argument("--fresh", action="store_true", help="take nothing from the cache")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--partial", action="store_true", help="write the tables of what is done when the time is up")
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks")
    options = parser.parse_args()
    chosen = [case for case in cases() if (case.part in options.part if options.part else case.part != "slice")]
    chosen = [case for case in chosen if not options.case or case.name in options.case]
    chosen = [dataclasses.replace(case, seeds=case.seeds[: options.seeds + (case.part == "ramp")]) for case in chosen]
    if not chosen:
        parser.error("no such part, or it needs TRACES=DIR")
    todo = list(_tuning(chosen) if options.tune else sorted(_jobs(chosen), key=_urgency))
    wanted = None if options.policy is None else frozenset(options.policy)
    answers = _performed(todo, wanted=wanted, jobs=options.jobs, seconds=options.seconds, fresh=options.fresh)
    whole = todo
    if len(answers) < len(todo):
        print(f"{len(answers)} of {len(todo)} done; run again to go on", file=sys.stderr)
        if not options.partial:
            return 1
        todo = [job for job in todo if job in answers]
    if options.tune:
        _write_tuned(todo, answers)
        return 0
    documents = {part: _document(part, todo, answers) for part in dict.fromkeys(job.part for job in whole)}
    documents = {
        part: {
            **document,
            "coreMinutes": _core_minutes(part, todo, answers),
            "notRun": _not_run(part, whole, answers),
        }
        for part, document in documents.items()
    }
    results = options.output / "results" / "scaling.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    if options.part and results.exists():
        documents = {**json.loads(results.read_text(encoding="utf-8"))["parts"], **documents}
    results.write_text(json.dumps({"parts": documents}, indent=1) + "\n", encoding="utf-8")
    (options.output / "scaling.md").write_text(page(documents, other_results()), encoding="utf-8")
    print(f"{results}\n{options.output / 'scaling.md'}")
    return 0


def other_results() -> dict[str, Any]:
    """What other benchmarks recorded and the page's goals name."""
    files = (PROJECT / "benchmarks/results" / f"{name}.json" for name in OTHER_RESULTS)
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files if file.exists()}


def _urgency(job: Job) -> int:
    """What a table needs first, for runs that are cut short: the optimum and our scaler, the best of the rest."""
    return next((place for place, names in enumerate(URGENT) if job.what in names), len(URGENT))


def _jobs(chosen: list[Case]) -> Iterator[Job]:
    tuned = json.loads(TUNED_FILE.read_text(encoding="utf-8")) if TUNED_FILE.exists() else {}
    for case in chosen:
        for seed in case.seeds:
            if case.optimum:
                yield Job(case.part, case.name, seed, OPTIMUM)
            for policy in case.policies:
                if policy != "fleet" and seed != case.seeds[0] and case.part != "ramp":
                    continue
                if policy.removesuffix(TUNED_SUFFIX) == "static" or not policy.endswith(TUNED_SUFFIX):
                    yield Job(case.part, case.name, seed, policy)
                elif setting := tuned.get(case.name, {}).get(policy.removesuffix(TUNED_SUFFIX)):
                    yield Job(case.part, case.name, seed, policy, tuple(sorted(setting.items())))


def _tuning(chosen: list[Case]) -> Iterator[Job]:
    for case in chosen:
        for policy in case.policies:
            kind = POLICIES.get(policy.removesuffix(TUNED_SUFFIX))
            if (
                case.tuned
                and policy.endswith(TUNED_SUFFIX)
                and kind is not None
                and kind.grid
                and policy != "static-tuned"
            ):
                for setting in kind.grid:
                    yield Job(case.part, case.name, case.seeds[0], policy, tuple(sorted(setting.items())))


def _write_tuned(todo: list[Job], answers: dict[Job, dict[str, Any]]) -> None:
    """The cheapest setting that keeps the target, else the one that comes nearest; only of grids that were searched."""
    searched = Counter((job.case, job.what) for job in todo)
    todo = [
        job for job in todo if searched[job.case, job.what] == len(POLICIES[job.what.removesuffix(TUNED_SUFFIX)].grid)
    ]
    found: dict[str, dict[str, Any]] = json.loads(TUNED_FILE.read_text(encoding="utf-8")) if TUNED_FILE.exists() else {}
    best: dict[tuple[str, str], tuple[Any, ...]] = {}
    for job in todo:
        result = answers[job]["run"]["result"]
        reached = result["attainmentPercent"] >= 99.0
        rank = (not reached, result["cost"] if reached else -result["attainmentPercent"])
        key = (job.case, job.what.removesuffix(TUNED_SUFFIX))
        if key not in best or rank < best[key][0]:
            best[key] = (rank, dict(job.parameters))
    for (case, policy), (_, setting) in best.items():
        found.setdefault(case, {})[policy] = setting
    TUNED_FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(TUNED_FILE)


def _performed(
    todo: list[Job], *, wanted: frozenset[str] | None, jobs: int, seconds: float, fresh: bool
) -> dict[Job, dict[str, Any]]:
    """All answers; fewer if the time was up before, or only some were wanted."""
    answers: dict[Job, dict[str, Any]] = {}
    for job in todo:
        file = _file(job)
        if not fresh and file.exists():
            answers[job] = json.loads(file.read_text(encoding="utf-8"))
    left = [job for job in todo if job not in answers and (wanted is None or job.what in wanted)]
    begun = time.monotonic()
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        running: dict[Future[dict[str, Any]], Job] = {}
        while left or running:
            while left and len(running) < jobs and time.monotonic() - begun < seconds:
                job = left.pop(0)
                running[pool.submit(perform_job, job)] = job
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                answers[job] = future.result()
                _file(job).parent.mkdir(parents=True, exist_ok=True)
                _file(job).write_text(json.dumps(answers[job]), encoding="utf-8")
                took = time.monotonic() - begun
                print(
                    f"{len(answers)}/{len(todo)} {took:.0f} s  {job.case}: {job.what}, seed {job.seed}",
                    file=sys.stderr,
                    flush=True,
                )
    return answers


def perform_job(job: Job) -> dict[str, Any]:
    """In a process of the pool. coreSeconds: what it took there, loading the traffic included."""
    begun = time.process_time()
    answer = _answer(job)
    return {**answer, "coreSeconds": round(time.process_time() - begun, 1)}


def _answer(job: Job) -> dict[str, Any]:
    scenario = _scenario(job.part, job.case, job.seed)
    if job.what == OPTIMUM:
        answer = perform(OptimumTask(scenario))
        assert isinstance(answer, Frontier)
        return {"frontier": dataclasses.asdict(answer)}
    policy, _, replicas = job.what.partition(":")
    parameters = {"replicas": float(replicas)} if replicas else dict(job.parameters)
    if replicas:
        scenario = dataclasses.replace(scenario, start=(int(replicas),))
    done = perform(RunTask(scenario, policy, parameters))
    assert isinstance(done, Finished)
    document = done.document
    if replicas:
        document["policy"]["name"] = f"static {replicas}"
    return {"run": document}


@functools.lru_cache(maxsize=1)
def _scenario(part: str, name: str, seed: int) -> Scenario:
    return next(case for case in cases() if (case.part, case.name) == (part, name)).scenario(seed)


def _document(part: str, todo: list[Job], answers: dict[Job, dict[str, Any]]) -> dict[str, Any]:
    own = [answers[job] for job in todo if job.part == part]
    frontiers = [
        Frontier(each["trace"], each["seed"], tuple(FrontierPoint(**point) for point in each["points"]))
        for each in (answer["frontier"] for answer in own if "frontier" in answer)
    ]
    return compare_document([answer["run"] for answer in own if "run" in answer], frontiers)


def _core_minutes(part: str, todo: list[Job], answers: dict[Job, dict[str, Any]]) -> float | None:
    """Processor time of all runs of a part, when they were made; None if it was not noted for one of them."""
    seconds = [answers[job].get("coreSeconds") for job in todo if job.part == part]
    return None if None in seconds else round(sum(seconds) / 60, 1)


def _not_run(part: str, whole: list[Job], answers: dict[Job, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Per case that is not complete: how many runs it has, and how many of them are missing."""
    runs = Counter(job.case for job in whole if job.part == part)
    missing = Counter(job.case for job in whole if job.part == part and job not in answers)
    return {case: {"runs": runs[case], "missing": count} for case, count in missing.items()}


def _file(job: Job) -> Path:
    """Where a job's answer is kept: under everything it depends on."""
    case = next(case for case in cases() if (case.part, case.name) == (job.part, job.case))
    plain = dataclasses.asdict(dataclasses.replace(case, seeds=(), policies=(), tuned=False, optimum=True))
    plain.pop("load")
    for variant in plain["variants"]:
        for name in LATER:
            if variant["engine"][name] is None:
                variant["engine"].pop(name)
    facts = [LABORATORY, plain, job.seed, job.what, job.parameters]
    if job.what == OPTIMUM:
        facts.append(SEARCH)
    if job.what == "fleet":
        facts.append(_scaler())
    digest = hashlib.sha256(json.dumps(facts, default=str, sort_keys=True).encode()).hexdigest()
    return CACHE / f"{digest[:24]}.json"


@functools.cache
def _scaler() -> str:
    folder = PROJECT / "operator/inference_fleet/scaling"
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
