"""The benchmark against a real engine, held to an engine whose step time is known: a simulated one."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.load.judgement import Fate, Outcome
from inference_fleet.scaling.step_time_fit import StepSample, StepTimeFit
from inference_fleet.simulation.request_log import Arrivals

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
SECONDS = 240.0
TRUE_STEP = StepTimeModel(base_seconds=8e-3, per_prefill_token_seconds=40e-6, per_decoding_sequence_seconds=500e-6)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import real_engine  # type: ignore[import-not-found]

    module: ModuleType = real_engine
    return module


def test_a_step_is_learned_from_the_metrics_pages(benchmark: ModuleType) -> None:
    learned = benchmark.learned(pages_of_known_engine(benchmark)).model(DEFAULT_STEP_TIME)
    for busy, prefill in ((1, 0), (4, 0), (4, 200), (8, 200)):
        truth = TRUE_STEP.step_seconds(prefill_tokens=prefill, decoding_sequences=busy)
        found = learned.step_seconds(prefill_tokens=prefill, decoding_sequences=busy)
        # The prior alone is off by 80 % at the first of these. No tick had more than 24 prefilled tokens a step.
        assert found == pytest.approx(truth, rel=0.2), (busy, prefill)


def test_without_a_prior_the_samples_alone_are_fitted(benchmark: ModuleType) -> None:
    fit = StepTimeFit()
    for prefill in (0.0, 100.0, 300.0):
        for busy in (1.0, 4.0, 8.0):
            seconds = TRUE_STEP.step_seconds(prefill_tokens=prefill, decoding_sequences=busy)
            fit = fit.learned([StepSample(seconds, prefill, busy, 400.0)], now=0.0)
    found = benchmark.least_squares(fit)
    assert found.base_seconds == pytest.approx(TRUE_STEP.base_seconds)
    assert found.per_prefill_token_seconds == pytest.approx(TRUE_STEP.per_prefill_token_seconds)
    assert found.per_decoding_sequence_seconds == pytest.approx(TRUE_STEP.per_decoding_sequence_seconds)


def test_the_step_behind_the_latencies_of_the_first_half_is_found(benchmark: ModuleType) -> None:
    arrivals: Arrivals = benchmark.traffic(SECONDS, rate=2.0, seed=0)
    run = benchmark.Run(
        outcomes_of_known_engine(benchmark, arrivals), pages=[], version="0.32.0", cores=2, load_average=0.5
    )
    start = StepTimeModel(
        base_seconds=2 * TRUE_STEP.base_seconds,
        per_prefill_token_seconds=TRUE_STEP.per_prefill_token_seconds / 2,
        per_decoding_sequence_seconds=2 * TRUE_STEP.per_decoding_sequence_seconds,
    )
    found = benchmark.fitted_to_latencies(run, arrivals, start=start, half=SECONDS / 2)
    for busy, prefill in ((1, 0), (4, 200), (8, 400)):
        truth = TRUE_STEP.step_seconds(prefill_tokens=prefill, decoding_sequences=busy)
        step = found.step_seconds(prefill_tokens=prefill, decoding_sequences=busy)
        assert step == pytest.approx(truth, rel=0.05), (busy, prefill)


def test_a_measurement_that_was_kept_comes_back(benchmark: ModuleType) -> None:
    outcome = Outcome(arrival_seconds=1.0, sent_seconds=1.1, ended_seconds=2.0, fate=Fate.COMPLETED)
    run = benchmark.Run([outcome], pages_of_known_engine(benchmark), version="0.32.0", cores=2, load_average=0.5)
    assert benchmark.from_document(json.loads(json.dumps(benchmark.as_document(run)))) == run


def pages_of_known_engine(benchmark: ModuleType) -> list[object]:
    arrivals: Arrivals = benchmark.traffic(SECONDS, rate=2.0, seed=0)
    moments = [benchmark.Page(place * 5.0, {}) for place in range(int(SECONDS / 5))]
    _, shown = benchmark.simulated(arrivals, TRUE_STEP, pages=moments)
    return [benchmark.Page(moment.seconds, values) for moment, values in zip(moments, shown, strict=True)]


def outcomes_of_known_engine(benchmark: ModuleType, arrivals: Arrivals) -> list[Outcome]:
    log, _ = benchmark.simulated(arrivals, TRUE_STEP, pages=())
    every = np.arange(len(log))
    first, pace = log.time_to_first_token(every), log.inter_token_latency(every)
    return [
        Outcome(
            arrival_seconds=float(log.arrival[place]),
            sent_seconds=float(log.arrival[place]),
            ended_seconds=float(log.finish[place]),
            fate=Fate.COMPLETED,
            time_to_first_token_seconds=float(first[place]),
            inter_token_latency_seconds=float(pace[place]),
        )
        for place in every.tolist()
    ]
