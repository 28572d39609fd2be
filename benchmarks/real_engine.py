"""The laboratory's engine against real vLLM on processor cores: learned on one half of a run, judged on the other.

    python benchmarks/real_engine.py [--seconds S] [--rate R] [--seed N] [--output FILE] [--keep FILE | --kept FILE]

Real vLLM serves its tiny model while seeded requests are sent in wall-clock time. The scaler sees its metrics every
15 s, as in a cluster, and learns the time of a step; what it has learned by half-time is all that the laboratory is
told. The same requests then run in virtual time. Beside it stand the step that fits these samples best without a prior,
and the one that fits the latencies of the learned half best: what is then left is the error of the laboratory itself.
Needs `make setup-engine`, and a machine without other work. What was measured can be kept, and judged again without an
engine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import os
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from wall_clock import compared, known, quantiles_compared, replayed, send_lag_seconds

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.load.judgement import Fate, Outcome
from inference_fleet.sandbox.real_engine import find_real_engine
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.step_time_fit import StepTimeFit
from inference_fleet.scaling.types import Limits, Mode, Observation, PodSample, VariantLimits, VariantObservation
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrivals, RequestLog
from inference_fleet.simulation.synthetic import Shape, generate

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from builders.real_engine_process import MODEL_NAME, serving  # noqa: E402 - beside the tests' builders

MAX_NUM_SEQS = 8
MAX_NUM_BATCHED_TOKENS = 1024
CONTEXT_TOKENS = 4096
ARGUMENTS = (
    *("--max-model-len", str(CONTEXT_TOKENS), "--max-num-seqs", str(MAX_NUM_SEQS)),
    *("--max-num-batched-tokens", str(MAX_NUM_BATCHED_TOKENS), "--gpu-memory-utilization", "0.5"),
    *("--enforce-eager", "--no-enable-prefix-caching"),
)
SCRAPE_SECONDS = 5.0
SCRAPES_PER_TICK = 3
LONGEST_DRAIN_SECONDS = 600.0
# What is fitted of the latencies, and the factors by which a coefficient is tried larger and smaller.
FITTED_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
LEAST_SECONDS = 1e-7
TRIED_FACTORS = (2.0, 1.4, 1.2, 1.1, 1.05, 1.02)
# Names of the scaler's signals on the metrics page of an engine.
GAUGES = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting"}
COUNTERS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "generation_tokens": "vllm:generation_tokens_total",
    "finished_requests": "vllm:request_success_total",
    "steps": "vllm:iteration_tokens_total_count",
    "inter_token_sum_seconds": "vllm:inter_token_latency_seconds_sum",
    "inter_token_count": "vllm:inter_token_latency_seconds_count",
}
# Columns of `Fleet.shown` by the same names.
SHOWN = {
    "running": 0,
    "waiting": 1,
    "prompt_tokens": 3,
    "generation_tokens": 4,
    "finished_requests": 5,
    "steps": 6,
    "inter_token_sum_seconds": 7,
    "inter_token_count": 8,
}


@dataclass(frozen=True)
class Page:
    """What the metrics page says at a moment: values by the scaler's names of signals."""

    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Run:
    """What was measured: requests in the order of arrival, and the metrics page every few seconds. version: of vLLM;
    load_average: of the machine at the end.
    """

    outcomes: Sequence[Outcome]
    pages: Sequence[Page]
    version: str
    cores: int | None
    load_average: float


def main() -> int:
    """Measure, learn, simulate and write the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=400.0)
    parser.add_argument("--rate", type=float, default=3.0, help="requests a second; twice as many in a burst")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks/results/real-engine.json")
    parser.add_argument("--keep", type=Path, help="write what was measured to this file")
    parser.add_argument("--kept", type=Path, help="judge what was measured earlier, with the same other options")
    options = parser.parse_args()
    arrivals = traffic(options.seconds, rate=options.rate, seed=options.seed)
    if options.kept:
        run = from_document(json.loads(options.kept.read_text(encoding="utf-8")))
    else:
        engine = find_real_engine()
        if engine is None:
            parser.error("no real engine here: run `make setup-engine`")
        folder = tempfile.TemporaryDirectory()
        with folder, serving(engine, folder=Path(folder.name), arguments=ARGUMENTS) as server:
            run = asyncio.run(_measured(arrivals, url=server.url, version=engine.version))
    if options.keep:
        options.keep.write_text(json.dumps(as_document(run)) + "\n", encoding="utf-8")
    half = options.seconds / 2
    fit = learned([page for page in run.pages if page.seconds <= half])
    samples_alone = least_squares(fit)
    steps = {
        "asTheScaler": fit.model(DEFAULT_STEP_TIME),
        "withoutPrior": samples_alone,
        "fromLatencies": fitted_to_latencies(run, arrivals, start=samples_alone, half=half),
    }
    document = {
        "vllm": run.version,
        "arguments": list(ARGUMENTS),
        "seconds": options.seconds,
        "seed": options.seed,
        "requests": len(arrivals),
        "failed": sum(outcome.fate is not Fate.COMPLETED for outcome in run.outcomes),
        **{name: _judged(run, arrivals, step, half=half) for name, step in steps.items()},
        "sendLagSecondsP99": send_lag_seconds(run.outcomes),
        "cores": run.cores,
        "loadAverage": run.load_average,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


def traffic(seconds: float, *, rate: float, seed: int) -> Arrivals:
    """Waves, and in either half a burst that the batch does not hold."""

    def requests_per_second(now: float) -> float:
        place = now % (seconds / 2) / (seconds / 2)
        return rate * (2.0 if 0.5 <= place < 0.65 else 1.0 + 0.5 * math.sin(6 * math.pi * place))

    shape = Shape(
        name="real-engine",
        span_seconds=seconds,
        rate=requests_per_second,
        noise=0.0,
        prompt_tokens=(400.0, 0.7),
        output_tokens=(60.0, 0.7),
    )
    made = generate(shape, seed=seed).arrivals
    return made.taken(made.input_tokens + made.output_tokens < CONTEXT_TOKENS)


async def _measured(arrivals: Arrivals, *, url: str, version: str) -> Run:
    # What is compiled or allocated at the first request is no part of a step.
    await replayed(Arrivals.sorted(np.zeros(4), np.full(4, 500), np.full(4, 20)), url=url, model=MODEL_NAME)
    pages: list[Page] = []
    began = asyncio.get_running_loop().time()
    scraping = asyncio.create_task(_scrape(url, into=pages, began=began))
    outcomes = await replayed(arrivals, url=url, model=MODEL_NAME)
    scraping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await scraping
    return Run(outcomes, pages, version=version, cores=os.cpu_count(), load_average=round(os.getloadavg()[0], 1))


def as_document(run: Run) -> dict[str, Any]:
    """A measurement for a file."""
    return dataclasses.asdict(run)


def from_document(document: Mapping[str, Any]) -> Run:
    """The measurement back."""
    outcomes = [Outcome(**{**outcome, "fate": Fate(outcome["fate"])}) for outcome in document["outcomes"]]
    return Run(**{**document, "outcomes": outcomes, "pages": [Page(**page) for page in document["pages"]]})


async def _scrape(url: str, *, into: list[Page], began: float) -> None:
    async for _ in _every(SCRAPE_SECONDS, began=began):
        page = await asyncio.to_thread(_page, f"{url}/metrics")
        into.append(Page(asyncio.get_running_loop().time() - began, page))


async def _every(seconds: float, *, began: float) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    while True:
        yield
        await asyncio.sleep(seconds - (loop.time() - began) % seconds)


def _page(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    wanted = {name: signal for signal, name in {**GAUGES, **COUNTERS}.items()}
    # A series comes with its first event.
    found = dict.fromkeys(wanted.values(), 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in wanted:
                found[wanted[sample.name]] += sample.value
    return found


def learned(pages: Sequence[Page]) -> StepTimeFit:
    """What the operator's scaler knows of a step after these pages, one tick every third."""
    variant = VariantLimits(
        "engine", min_replicas=1, max_replicas=1, max_num_seqs=MAX_NUM_SEQS, step_time=DEFAULT_STEP_TIME
    )
    limits = Limits(mode=Mode.AUTOMATIC, min_replicas=1, max_replicas=1, variants=(variant,))
    memory = ScalerMemory.empty()
    for page in pages[::SCRAPES_PER_TICK]:
        sample = PodSample(pod="engine", sample_time=page.seconds, **page.values)
        seen = VariantObservation("engine", desired=1, ready=1, ready_pods=("engine",), pods=(sample,))
        _, memory = decide(memory, Observation(variants=(seen,)), limits, page.seconds)
    return memory.variant("engine").fit


def least_squares(fit: StepTimeFit) -> StepTimeModel:
    """The samples alone: what fits them best, the coefficients that would be negative left out."""
    a00, a01, a02, a11, a12, a22 = fit.a
    matrix, right = np.array([[a00, a01, a02], [a01, a11, a12], [a02, a12, a22]]), np.array(fit.r)
    used, found = [0, 1, 2], np.zeros(3)
    while used:
        solved = np.linalg.lstsq(matrix[np.ix_(used, used)], right[used], rcond=None)[0]
        if solved.min() >= 0:
            found[used] = solved
            break
        used = [place for place, value in zip(used, solved, strict=True) if value > 0]
    base, prefill, sequence = found.tolist()
    return StepTimeModel(base_seconds=base, per_prefill_token_seconds=prefill, per_decoding_sequence_seconds=sequence)


def fitted_to_latencies(run: Run, arrivals: Arrivals, *, start: StepTimeModel, half: float) -> StepTimeModel:
    """The step with which the laboratory comes nearest to the latencies of the requests that arrive before `half`.

    Pattern search: one coefficient after the other larger and smaller, by ever less.
    """

    def distance(step: StepTimeModel) -> float:
        log, _ = simulated(arrivals, step, pages=())
        total = 0.0
        for pair in _latencies(run, log, begin=0.0, end=half):
            ours, theirs = (np.log(np.quantile(known(each), FITTED_QUANTILES)) for each in pair)
            total += float(np.square(ours - theirs).sum())
        return total

    best = dataclasses.replace(
        start, **{name: max(value, LEAST_SECONDS) for name, value in dataclasses.asdict(start).items()}
    )
    nearest = distance(best)
    for factor in TRIED_FACTORS:
        moved = True
        while moved:
            moved = False
            for name, by in itertools.product(dataclasses.asdict(best), (factor, 1 / factor)):
                tried = dataclasses.replace(best, **{name: by * getattr(best, name)})
                if (found := distance(tried)) < nearest:
                    best, nearest, moved = tried, found, True
    return best


def _latencies(run: Run, log: RequestLog, *, begin: float, end: float) -> list[tuple[list[float], list[float | None]]]:
    """Simulated and measured, of the requests that arrive in [begin, end): first token, then mean time per token."""
    chosen = np.flatnonzero((log.arrival >= begin) & (log.arrival < end))
    several = chosen[log.output_tokens[chosen] > 1]
    return [
        (
            log.time_to_first_token(chosen).tolist(),
            [run.outcomes[place].time_to_first_token_seconds for place in chosen.tolist()],
        ),
        (
            log.inter_token_latency(several).tolist(),
            [run.outcomes[place].inter_token_latency_seconds for place in several.tolist()],
        ),
    ]


def _judged(run: Run, arrivals: Arrivals, step: StepTimeModel, *, half: float) -> dict[str, Any]:
    """The laboratory's errors with this step, on the half it was learned from and on the other."""
    log, shown = simulated(arrivals, step, pages=run.pages)
    return {
        "step": {
            "baseSeconds": round(step.base_seconds, 6),
            "perPrefillTokenSeconds": round(step.per_prefill_token_seconds, 8),
            "perDecodingSequenceSeconds": round(step.per_decoding_sequence_seconds, 8),
        },
        "learnedHalf": _differences(run, log, shown, begin=0.0, end=half),
        "judgedHalf": _differences(run, log, shown, begin=half, end=2 * half),
    }


def simulated(
    arrivals: Arrivals, step: StepTimeModel, *, pages: Sequence[Page]
) -> tuple[RequestLog, list[Mapping[str, float]]]:
    """The whole run in virtual time, and what its metrics page showed whenever the real one was read."""
    engine = EngineModel(step_time=step, max_num_seqs=MAX_NUM_SEQS, max_num_batched_tokens=MAX_NUM_BATCHED_TOKENS)
    log = RequestLog(arrivals)
    fleet = Fleet([VariantModel(name="engine", engine=engine)], log, settings=FleetSettings(), start=[1], seed=0)
    shown: list[Mapping[str, float]] = []
    for page in pages:
        fleet.advance(page.seconds)
        columns = fleet.shown(fleet.ready(0))[0]
        shown.append({signal: columns[place] for signal, place in SHOWN.items()})
    fleet.advance(fleet.now + LONGEST_DRAIN_SECONDS)
    return log, shown


def _differences(
    run: Run, log: RequestLog, shown: Sequence[Mapping[str, float]], *, begin: float, end: float
) -> dict[str, Any]:
    """Both runs' latencies of the requests that arrive in [begin, end), and the engine's work in it."""
    first_tokens, paces = _latencies(run, log, begin=begin, end=end)
    read = [(page, each) for page, each in zip(run.pages, shown, strict=True) if begin <= page.seconds < end]
    (first, simulated_first), (last, simulated_last) = read[0], read[-1]
    seconds = last.seconds - first.seconds
    written = last.values["generation_tokens"] - first.values["generation_tokens"]

    def means(signal: str) -> dict[str, float | None]:
        return compared(
            float(np.mean([each[signal] for _, each in read])),
            float(np.mean([page.values[signal] for page, _ in read])),
        )

    return {
        "requests": len(first_tokens[0]),
        "firstTokenSeconds": quantiles_compared(*first_tokens),
        "perTokenSeconds": quantiles_compared(*paces),
        "tokensPerSecond": compared(
            (simulated_last["generation_tokens"] - simulated_first["generation_tokens"]) / seconds, written / seconds
        ),
        "meanRunning": means("running"),
        "meanWaiting": means("waiting"),
    }


if __name__ == "__main__":
    raise SystemExit(main())
