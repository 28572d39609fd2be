"""The rules of llm-d's newer scalers and of NVIDIA Dynamo, held by their authors' numbers or by numbers worked here."""

from __future__ import annotations

import dataclasses

import pytest

from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.scaling.types import Limits, Mode, PodSample, VariantLimits
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.policies.dynamo import LocalTrend, engine_rate
from inference_fleet.simulation.policies.llm_d_tokens import TokenAware, prefill_rate
from inference_fleet.simulation.policies.llm_d_wva import SaturationV2, Supply, derived_capacity, grown, shrunk
from inference_fleet.simulation.run import simulate
from inference_fleet.simulation.scenario import LLAMA_8B_L4, Scenario, objectives_of
from inference_fleet.simulation.synthetic import Shape, generate

VARIANT = VariantLimits("a", 0, 64, 256, DEFAULT_STEP_TIME, kv_cache_tokens=16_000)
LIMITS = Limits(mode=Mode.AUTOMATIC, min_replicas=1, max_replicas=64, variants=(VARIANT,))


# llm-d's guide: requests a second of 8192 tokens at V_P 2696, as replica-equivalents, by the shipped 1.5 s.
@pytest.mark.parametrize(("rate", "equivalents", "replicas"), [(0.15, 0.46, 1), (0.30, 0.91, 1), (0.50, 1.52, 2)])
def test_token_aware_keeps_the_second_pod_from_the_knee_on(rate: float, equivalents: float, replicas: int) -> None:
    backlog = rate * 8192 / 2696
    assert backlog == pytest.approx(equivalents, abs=0.005)
    rule = TokenAware(LIMITS, backlog_seconds=1.5, cache=0.8)
    assert rule.wish(2, backlog_seconds=backlog, cache=0.0) == replicas


def test_token_aware_takes_the_second_pod_beyond_the_tolerance_of_the_hpa() -> None:
    rule = TokenAware(LIMITS, backlog_seconds=1.5, cache=0.8)
    assert rule.wish(1, backlog_seconds=1.52, cache=0.0) == 1  # 1.3 % above the threshold, and 10 % is nothing
    assert rule.wish(1, backlog_seconds=1.66, cache=0.0) == 2


def test_token_aware_follows_the_larger_of_both_triggers() -> None:
    rule = TokenAware(LIMITS, backlog_seconds=1.5, cache=0.8)
    assert rule.wish(2, backlog_seconds=0.0, cache=2.5) == 4  # 2.5 / 0.8 = 3.1 pods' worth of cache
    assert rule.wish(2, backlog_seconds=7.0, cache=2.5) == 5  # 7.0 / 1.5 = 4.7


def test_token_aware_calibrates_by_the_first_token_of_an_idle_engine() -> None:
    step = StepTimeModel(base_seconds=0.05, per_prefill_token_seconds=1e-4, per_decoding_sequence_seconds=0.0)
    # 8192 tokens in 0.05 + 0.8192 s.
    assert prefill_rate(step, chunk_tokens=8192) == pytest.approx(9424.8, abs=0.1)


def test_token_aware_adds_one_pod_per_three_minutes_and_removes_one_per_five() -> None:
    rule = TokenAware(LIMITS, backlog_seconds=1.5, cache=0.8)
    assert rule.settle(9, current=2, now=0.0) == 3
    assert rule.settle(9, current=3, now=15.0) == 3
    assert rule.settle(9, current=3, now=181.0) == 4
    for tick in range(1, 21):
        assert rule.settle(1, current=4, now=181.0 + 15.0 * tick) == 4
    assert rule.settle(1, current=4, now=181.0 + 15.0 * 21) == 3


def wva_pod(*, held: int, waiting: int) -> PodSample:
    return PodSample("p", 0.0, waiting=float(waiting), kv_cache_usage=held / 16_000, kv_cache_tokens=16_000.0)


# WVA's own test of its analyzer: a cache of 16000 tokens, prompts of 100, outputs of 50 ("short") or 600 ("long").
def test_wva_takes_what_a_pod_held_when_a_queue_stood_and_remembers_it_by_length() -> None:
    rule = SaturationV2(LIMITS, up=0.85, down=0.70)

    def capacity(held: int, waiting: int, output: float = 50) -> float:
        pod = wva_pod(held=held, waiting=waiting)
        return rule.capacity(0, pod, VARIANT, prompt_tokens=100, output_tokens=output)

    assert capacity(5000, 0) == pytest.approx(12_800)  # 0.8 of the cache
    assert capacity(8000, 6) == pytest.approx(8000)
    assert capacity(6000, 2) == pytest.approx(8000)  # remembered, not 12800
    assert capacity(6000, 2, output=600) == pytest.approx(12_800)


# The same: B 4096, S 256, I 500, O 100.
def test_wva_derives_capacity_from_the_engines_limits() -> None:
    assert derived_capacity(batch_tokens=4096, sequences=256, prompt_tokens=500, output_tokens=100) == 140_800


CHEAP, MIDDLE, DEAR = Supply(2, 10_000, 5.0), Supply(2, 15_000, 10.0), Supply(2, 20_000, 15.0)


# WVA's own tests of its cost-aware optimizer.
@pytest.mark.parametrize(
    ("supplies", "required", "expected"),
    [
        ((CHEAP, dataclasses.replace(DEAR, replicas=1)), 5_000, [3, 1]),
        ((dataclasses.replace(CHEAP, replicas=1), dataclasses.replace(MIDDLE, replicas=1)), 25_000, [4, 1]),
        ((Supply(0, 0, 1.0), Supply(1, 10_000, 10.0)), 5_000, [0, 2]),
    ],
)
def test_wva_grows_where_capacity_is_cheapest(
    supplies: tuple[Supply, ...], required: float, expected: list[int]
) -> None:
    assert grown(supplies, required) == expected


@pytest.mark.parametrize(
    ("supplies", "spare", "expected"),
    [
        ((dataclasses.replace(CHEAP, replicas=3), DEAR), 15_000, [2, 2]),
        ((dataclasses.replace(DEAR, replicas=1), dataclasses.replace(CHEAP, replicas=1)), 30_000, [0, 1]),
        ((dataclasses.replace(DEAR, replicas=1), dataclasses.replace(CHEAP, replicas=1)), 15_000, [1, 0]),
        ((DEAR, MIDDLE, CHEAP), 50_000, [0, 2, 1]),
    ],
)
def test_wva_shrinks_where_replicas_are_dearest(
    supplies: tuple[Supply, ...], spare: float, expected: list[int]
) -> None:
    assert shrunk(supplies, spare) == expected


# Dynamo publishes formulas without numbers: worked by hand. A step of 10 ms and 1 ms for a prefill token or sequence,
# prompts and outputs of 10: a batch of x prefills x tokens a step, 10 + 2 x ms; 40 ms -> x = 15, 15 / (10 x 0.040 s).
def test_dynamo_takes_the_largest_batch_that_keeps_both_promises() -> None:
    step = StepTimeModel(base_seconds=0.010, per_prefill_token_seconds=0.001, per_decoding_sequence_seconds=0.001)
    limits = {"prompt_tokens": 10.0, "output_tokens": 10.0, "sequences": 256, "cache_tokens": 1e6}
    assert engine_rate(step, first_seconds=1.0, pace_seconds=0.0401, **limits) == pytest.approx(37.5)
    # First token of the same batch: 10 + 25 + 15 = 50 ms; at 40 ms the batch is 10: 10 + 20 + 10.
    assert engine_rate(step, first_seconds=0.0401, pace_seconds=1.0, **limits) == pytest.approx(10 / (10 * 0.030))
    # A cache of 45 tokens holds 3 requests of 10 + 10 / 2.
    small = {**limits, "cache_tokens": 45.0}
    assert engine_rate(step, first_seconds=1.0, pace_seconds=1.0, **small) == pytest.approx(3 / (10 * 0.016))


def test_dynamo_follows_level_and_trend() -> None:
    trend = LocalTrend()
    assert trend.predicted(0.0) == 0.0
    assert trend.predicted(100.0) == 100.0
    # Variances 2001, 1000, 1000.1: gains 0.99503 and 0.49727 on an error of 20 -> 119.90 + 9.95.
    assert trend.predicted(120.0) == pytest.approx(129.85, abs=0.01)


@pytest.mark.parametrize("name", ["llm-d-token-aware", "wva-v2", "dynamo-planner"])
def test_the_rules_follow_a_load_that_doubles(name: str) -> None:
    shape = Shape(name="step", span_seconds=2400.0, rate=lambda now: 3.0 if now < 1200 else 9.0, noise=0.0)
    scenario = Scenario(
        workload=generate(shape, seed=0),
        variants=(VariantModel(name="a", engine=LLAMA_8B_L4),),
        objectives=objectives_of(first_seconds=2.5, pace_seconds=0.2, target=0.99),
        start=(2,),
    )
    run = simulate(scenario, POLICIES[name])
    assert run.outcome.failed < run.outcome.sent / 2
    assert max(moment.desired for moment in run.moments) > 2
