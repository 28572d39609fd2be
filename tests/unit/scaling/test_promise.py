"""Promises that an idle replica cannot keep."""

from __future__ import annotations

import random

import pytest

from builders.scaling import Scaler, limits, sample, variant_limits
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.promise import promise_of, unavoidable_share
from inference_fleet.scaling.types import Decision, HistogramSample, ObjectiveLimit, VariantObservation
from inference_fleet.scaling.violation_curve import ViolationCurve

STEP = StepTimeModel(base_seconds=0.1, per_prefill_token_seconds=1e-3, per_decoding_sequence_seconds=1e-3)
FIRST = ObjectiveLimit("first", "TimeToFirstToken", 1.0, 0.99)
PACE = ObjectiveLimit("pace", "InterTokenLatency", 0.075, 0.99)


def test_a_pace_below_one_step_of_an_idle_engine_is_left_out_and_said() -> None:
    promise = promise_of((FIRST, PACE), STEP, mean_prompt=500.0)
    assert promise.objectives == (FIRST,)
    assert promise.unreachable == "pace: an idle replica needs 101 ms, 75 ms are promised"


def test_of_several_promises_the_tightest_threshold_the_highest_target_and_the_shortest_window_count() -> None:
    step = StepTimeModel(base_seconds=1e-3, per_prefill_token_seconds=1e-6, per_decoding_sequence_seconds=1e-6)
    laxer = FIRST._replace(name="laxer", threshold_seconds=2.0, target=0.999)
    hourly = PACE._replace(name="hourly", threshold_seconds=0.1, target=0.95, window_seconds=3600.0)
    promise = promise_of((FIRST, laxer, PACE, hourly), step, mean_prompt=500.0)
    assert (promise.first_token_seconds, promise.pace_seconds) == (1.0, 0.075)
    assert (promise.target, promise.window_seconds) == (0.999, 3600.0)


def test_a_first_token_below_the_mean_prompts_own_time_is_left_out() -> None:
    assert promise_of((FIRST,), STEP, mean_prompt=2000.0).objectives == ()


def test_a_threshold_judged_at_an_edge_below_an_idle_replica_is_left_out_and_said() -> None:
    """60 ms are judged at 50 ms: all requests of a replica with steps of 55 ms count as late, on every fleet."""
    step = StepTimeModel(base_seconds=0.055, per_prefill_token_seconds=1e-3, per_decoding_sequence_seconds=1e-4)
    pace = ObjectiveLimit("pace", "InterTokenLatency", 0.06, 0.99)
    promise = promise_of((FIRST, pace), step, mean_prompt=500.0)
    assert promise.objectives == (FIRST,)
    assert promise.unreachable == "pace: an idle replica needs 55.1 ms, 60 ms are promised and judged at 50 ms"


def test_what_an_idle_replica_needs_is_never_said_as_a_power_of_ten() -> None:
    slow = StepTimeModel(base_seconds=1.2344, per_prefill_token_seconds=0.0, per_decoding_sequence_seconds=0.0)
    assert promise_of((PACE,), slow, mean_prompt=1.0).unreachable.startswith("pace: an idle replica needs 1234 ms")


def test_nothing_is_called_unreachable_before_the_engine_was_seen() -> None:
    assert promise_of((FIRST, PACE), None, mean_prompt=2000.0).unreachable == ""


def test_misses_at_quiet_loads_are_unavoidable_once_enough_were_seen() -> None:
    def seen(requests: float, misses: float) -> ViolationCurve:
        return ViolationCurve().learned(load=0.3, requests=requests, misses=misses, seconds=15.0, unit=1.0)

    assert unavoidable_share(seen(20_000, 600), target=0.99) == pytest.approx(0.03)
    assert unavoidable_share(seen(20_000, 100), target=0.99) == 0.0
    assert unavoidable_share(seen(200, 100), target=0.99) == 0.0


def test_misses_that_emptier_replicas_do_not_have_are_not_unavoidable() -> None:
    """At a fifth of the load hardly any request is late, at two fifths 5 % are: more replicas help."""
    curve = ViolationCurve().learned(load=0.4, requests=20_000, misses=1000, seconds=15.0, unit=1.0)
    assert unavoidable_share(curve, target=0.99) > 0.04
    curve = curve.learned(load=0.2, requests=3000, misses=12, seconds=15.0, unit=1.0)
    assert unavoidable_share(curve, target=0.99) == 0.0


def test_an_unreachable_promise_is_said_and_is_not_paid_for_up_to_the_maximum() -> None:
    """Engines of 0.1 s a step under a promise of 75 ms: all are late, with one replica as with ten."""
    scaler = Scaler(limits(variant_limits(max_num_seqs=64), objectives=(PACE,)))
    chance = random.Random(5)
    tokens = prompts = steps = seconds = finished = 0.0
    decision: Decision | None = None
    for _ in range(480):
        running, prefill = chance.uniform(10, 20), chance.uniform(50, 150)
        step = 0.1 + 50e-6 * prefill + 1e-3 * running
        taken = 15.0 / step
        steps, tokens, prompts = steps + taken, tokens + taken * running, prompts + taken * prefill
        seconds, finished = seconds + taken * running * step, finished + taken * running / 100
        pods = tuple(
            sample(
                name,
                at=scaler.now,
                running=running,
                prompt_tokens=prompts,
                generation_tokens=tokens,
                finished_requests=finished,
                steps=steps,
                inter_token_sum_seconds=seconds,
                inter_token_count=tokens,
            )
            for name in ("a-0", "a-1")
        )
        late = HistogramSample("InterTokenLatency", 0.075, 0.0, 2 * finished, scaler.now)
        decision = scaler.tick(
            VariantObservation("a", desired=2, ready=2, ready_pods=("a-0", "a-1"), pods=pods, histograms=(late,))
        )
    assert decision is not None
    assert "an idle replica needs" in decision.unreachable
    assert decision.total <= 3
