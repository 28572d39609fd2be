"""Engines' speed from their counters."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.scaling.step_time_fit import StepSample, StepTimeFit

TRUE = StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6)


def sample(prefill: float, sequences: float, *, steps: float = 400.0, model: StepTimeModel = TRUE) -> StepSample:
    seconds = model.step_seconds(prefill_tokens=prefill, decoding_sequences=int(sequences))
    return StepSample(seconds=seconds, prefill_tokens=prefill, sequences=int(sequences), steps=steps)


def fitted(samples: list[StepSample]) -> StepTimeModel:
    fit = StepTimeFit()
    for number, one in enumerate(samples):
        fit = fit.learned([one], now=15.0 * number)
    return fit.model(DEFAULT_STEP_TIME)


def test_without_samples_the_prior_stands() -> None:
    model = StepTimeFit().model(DEFAULT_STEP_TIME)
    assert model.base_seconds == pytest.approx(DEFAULT_STEP_TIME.base_seconds)
    assert model.per_prefill_token_seconds == pytest.approx(DEFAULT_STEP_TIME.per_prefill_token_seconds)


def test_a_prior_that_is_wrong_several_times_over_is_corrected() -> None:
    chance = random.Random(1)
    model = fitted([sample(chance.uniform(0, 800), chance.uniform(5, 90)) for _ in range(400)])
    assert model.base_seconds == pytest.approx(TRUE.base_seconds, rel=0.05)
    assert model.per_prefill_token_seconds == pytest.approx(TRUE.per_prefill_token_seconds, rel=0.05)


def test_samples_that_are_all_alike_do_not_throw_the_split_about() -> None:
    """Every step full: base and prefill cannot be told apart, and the prior holds their ratio."""
    model = fitted([sample(512.0, 40.0)] * 400)
    step = model.step_seconds(prefill_tokens=512.0, decoding_sequences=40)
    assert step == pytest.approx(TRUE.step_seconds(prefill_tokens=512.0, decoding_sequences=40), rel=0.05)
    assert 0.2 < model.per_prefill_token_seconds / TRUE.per_prefill_token_seconds < 2


def test_an_engine_that_hangs_teaches_nothing() -> None:
    slow = StepSample(seconds=5.0, prefill_tokens=10.0, sequences=3.0, steps=400.0)
    assert StepTimeFit().learned([slow], now=0.0) == StepTimeFit()


def test_learned_from_every_tick_when_young_and_once_a_minute_later() -> None:
    fit = StepTimeFit().learned([sample(100.0, 10.0)], now=1000.0)
    assert fit.due(now=1015.0, age=300.0)
    assert not fit.due(now=1015.0, age=3000.0)
    assert fit.due(now=1060.0, age=3000.0)


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
