"""Engines' speed from their counters."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.scaling.pod_counters import PodChange
from inference_fleet.scaling.step_time_fit import StepSample, StepTimeFit, step_sample

TRUE = StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6)
TICKS_PER_MINUTE = 4
DATA = Path(__file__).resolve().parents[2] / "data"
# How far an engine may be from its prior, in each coefficient.
FACTORS = [(5, 1, 1), (0.2, 1, 1), (1, 5, 1), (1, 0.2, 1), (1, 1, 5), (1, 1, 0.2), (5, 5, 5), (0.2, 0.2, 0.2)]


def sample(prefill: float, sequences: float, *, model: StepTimeModel = TRUE, error: float = 0.0) -> StepSample:
    seconds = model.base_seconds + model.per_prefill_token_seconds * prefill
    seconds += model.per_decoding_sequence_seconds * sequences
    return StepSample(seconds=seconds * (1 + error), prefill_tokens=prefill, sequences=sequences, steps=400.0)


def fitted(samples: list[StepSample], *, prior: StepTimeModel = DEFAULT_STEP_TIME) -> StepTimeModel:
    fit = StepTimeFit()
    for number, one in enumerate(samples):
        fit = fit.learned([one], now=15.0 * number)
    return fit.model(prior)


def varied(count: int, *, model: StepTimeModel, sequences: tuple[float, float], scatter: float) -> list[StepSample]:
    chance = random.Random(1)
    return [
        sample(chance.uniform(0, 400), chance.uniform(*sequences), model=model, error=chance.gauss(0, scatter))
        for _ in range(count)
    ]


def times(model: StepTimeModel, factors: tuple[float, float, float]) -> StepTimeModel:
    base, prefill, sequence = factors
    return StepTimeModel(
        base_seconds=model.base_seconds * base,
        per_prefill_token_seconds=model.per_prefill_token_seconds * prefill,
        per_decoding_sequence_seconds=model.per_decoding_sequence_seconds * sequence,
    )


def relative(model: StepTimeModel, truth: StepTimeModel) -> tuple[float, float, float]:
    return (
        model.base_seconds / truth.base_seconds,
        model.per_prefill_token_seconds / truth.per_prefill_token_seconds,
        model.per_decoding_sequence_seconds / truth.per_decoding_sequence_seconds,
    )


def test_without_samples_the_prior_stands() -> None:
    assert StepTimeFit().model(DEFAULT_STEP_TIME) == DEFAULT_STEP_TIME


@pytest.mark.parametrize("factors", FACTORS)
def test_a_prior_that_is_wrong_fivefold_is_corrected_within_five_minutes(factors: tuple[float, float, float]) -> None:
    truth = times(DEFAULT_STEP_TIME, factors)
    samples = varied(5 * TICKS_PER_MINUTE, model=truth, sequences=(5, 90), scatter=0.0)
    assert relative(fitted(samples), truth) == pytest.approx((1, 1, 1), rel=0.1, abs=0.6 if factors[2] < 1 else 0.0)


@pytest.mark.parametrize("factors", FACTORS)
def test_what_a_step_takes_is_known_within_five_minutes_at_small_batches(factors: tuple[float, float, float]) -> None:
    truth = times(DEFAULT_STEP_TIME, factors)
    model = fitted(varied(5 * TICKS_PER_MINUTE, model=truth, sequences=(1, 4), scatter=0.02))
    for prefill, sequences in ((0, 1), (0, 4), (200, 2), (400, 4)):
        took = truth.step_seconds(prefill_tokens=prefill, decoding_sequences=sequences)
        assert model.step_seconds(prefill_tokens=prefill, decoding_sequences=sequences) == pytest.approx(took, rel=0.08)


def test_real_vllm_on_processor_cores_moves_a_prior_made_for_accelerators_within_five_minutes() -> None:
    """Least squares say 470 us a prefilled token; the prior says 50."""
    recorded = json.loads((DATA / "real-engine-steps.json").read_text(encoding="utf-8"))["samples"]
    samples = [StepSample(r["stepSeconds"], r["prefillTokens"], r["sequences"], r["steps"]) for r in recorded]
    model = fitted(samples)
    assert len(recorded) == 5 * TICKS_PER_MINUTE
    assert 300e-6 < model.per_prefill_token_seconds < 500e-6
    # Most steps were short; few of them, beside long prompts, were not.
    assert 3e-3 < model.base_seconds < 7e-3


def test_the_cost_of_a_sequence_far_from_its_prior_is_found_at_small_batches() -> None:
    truth = times(DEFAULT_STEP_TIME, (1, 6, 16))
    model = fitted(varied(10 * TICKS_PER_MINUTE, model=truth, sequences=(1, 8), scatter=0.0))
    assert relative(model, truth) == pytest.approx((1, 1, 1), rel=0.2)


@pytest.mark.parametrize("factors", FACTORS)
def test_a_load_that_never_changes_keeps_the_proportions_of_the_prior(factors: tuple[float, float, float]) -> None:
    """Base, prefill and sequences cannot be told apart: the step is right, and no coefficient is wild."""
    truth = times(DEFAULT_STEP_TIME, factors)
    model = fitted([sample(200.0, 30.0, model=truth)] * 400)
    took = truth.step_seconds(prefill_tokens=200, decoding_sequences=30)
    assert model.step_seconds(prefill_tokens=200, decoding_sequences=30) == pytest.approx(took, rel=0.02)
    assert all(0.15 < one < 5.5 for one in relative(model, DEFAULT_STEP_TIME))
    # Tokens never cost so little that capacity is guessed far too large.
    assert relative(model, truth)[1] > 0.5


def test_scatter_that_hides_a_coefficient_leaves_it_to_the_prior() -> None:
    truth = times(DEFAULT_STEP_TIME, (1, 1, 1))
    model = fitted(varied(40, model=truth, sequences=(1, 2), scatter=0.3))
    assert relative(model, truth)[2] == pytest.approx(1, rel=0.3)


def test_scatter_is_told_by_the_samples() -> None:
    """The same prior gives way to samples that agree, and holds against as many that contradict each other."""
    truth = times(DEFAULT_STEP_TIME, (1, 1, 5))
    clear = fitted(varied(20, model=truth, sequences=(5, 40), scatter=0.0))
    vague = fitted(varied(20, model=truth, sequences=(5, 40), scatter=0.5))
    assert relative(clear, DEFAULT_STEP_TIME)[2] == pytest.approx(5, rel=0.1)
    assert relative(vague, DEFAULT_STEP_TIME)[2] < 3


def test_an_engine_that_has_changed_is_learned_anew_within_hours() -> None:
    before = varied(600, model=TRUE, sequences=(5, 90), scatter=0.0)
    after = varied(600, model=times(TRUE, (2, 2, 2)), sequences=(5, 90), scatter=0.0)
    assert relative(fitted([*before, *after]), TRUE) == pytest.approx((2, 2, 2), rel=0.1)


def test_no_coefficient_falls_to_nothing() -> None:
    """Samples in which more prefill went with shorter steps: free tokens would make capacity endless."""
    samples = [
        StepSample(seconds=0.05 - 1e-4 * prefill, prefill_tokens=prefill, sequences=10.0, steps=400.0)
        for prefill in (0.0, 100.0, 200.0, 300.0)
    ]
    model = fitted(samples * 10)
    assert relative(model, DEFAULT_STEP_TIME)[1] == pytest.approx(0.05)


def test_an_engine_that_hangs_teaches_nothing() -> None:
    slow = StepSample(seconds=5.0, prefill_tokens=10.0, sequences=3.0, steps=400.0)
    assert StepTimeFit().learned([slow], now=0.0) == StepTimeFit()


def test_learned_from_every_tick_when_young_and_once_a_minute_later() -> None:
    fit = StepTimeFit().learned([sample(100.0, 10.0)], now=1000.0)
    assert fit.due(now=1015.0, age=300.0)
    assert not fit.due(now=1015.0, age=3000.0)
    assert fit.due(now=1060.0, age=3000.0)


def test_it_is_knowledge_after_five_full_observations() -> None:
    fit = StepTimeFit().learned([sample(100.0, 10.0)] * 5, now=0.0)
    assert not fit.known
    assert fit.learned([sample(100.0, 10.0)], now=15.0).known


@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(0, 1e3), st.floats(1e-5, 10), st.floats(0, 1e6)), min_size=1, max_size=30
    )
)
def test_no_coefficient_is_ever_negative(rows: list[tuple[float, float, float, float]]) -> None:
    fit = StepTimeFit().learned(
        [StepSample(seconds=y, prefill_tokens=x1, sequences=x2, steps=n) for x1, x2, y, n in rows],
        now=0.0,
    )
    model = fit.model(DEFAULT_STEP_TIME)
    assert model.base_seconds > 0
    assert model.per_prefill_token_seconds > 0
    assert model.per_decoding_sequence_seconds > 0


CHANGE = PodChange(
    pod="a",
    variant="v",
    seconds=15.0,
    prompt=6000.0,
    generated=3100.0,
    finished=10.0,
    rejected=0.0,
    steps=300.0,
    inter_token_seconds=150.0,
    inter_tokens=3000.0,
    queued=0.0,
    begun=0.0,
)


def test_a_sample_is_what_sequences_felt_between_two_tokens() -> None:
    assert step_sample(CHANGE) == StepSample(seconds=0.05, prefill_tokens=20.0, sequences=10.0, steps=300.0)


def test_prompts_count_by_the_share_of_time_in_which_somebody_felt_them() -> None:
    """Busy a quarter of the time: three of four prompts are computed beside nobody."""
    found = step_sample(CHANGE._replace(seconds=60.0))
    assert found is not None
    assert found.prefill_tokens == pytest.approx(5.0)


@pytest.mark.parametrize("few", [{"steps": 20.0}, {"inter_tokens": 20.0}, {"inter_token_seconds": 0.0}])
def test_a_tick_with_little_in_it_teaches_nothing(few: dict[str, float]) -> None:
    assert step_sample(CHANGE._replace(**few)) is None


def test_a_damaged_memory_does_not_stop_the_scaler() -> None:
    damaged = replace(StepTimeFit(), a=(1.0, -5.0, 0.0, -3.0, 0.0, 0.0), r=(-1.0, 0.0, 4.0))
    model = damaged.model(DEFAULT_STEP_TIME)
    assert model.base_seconds > 0
