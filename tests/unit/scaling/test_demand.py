"""The load as one number: replicas that it fills, by tokens that come and by what they hold."""

from __future__ import annotations

from typing import Any

import pytest

from builders.scaling import variant_limits
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.demand import Need, Rates, Traffic, clogged, need_of
from inference_fleet.scaling.pod_counters import PodCounters
from inference_fleet.scaling.signals import FleetLoad, VariantLoad
from inference_fleet.scaling.types import SignalState

STEP = StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6)
# 87 sequences, of which 92 % can be used: 80.
L4 = variant_limits("l4", step_time=STEP, max_num_seqs=87)
CHAT = Traffic(prompt_tokens=96_400.0, prefills=100.0, output_tokens=20_600.0, finishes=100.0)


def load(**overrides: Any) -> FleetLoad:
    values: dict[str, Any] = {
        "state": SignalState.FRESH,
        "running": 0.0,
        "waiting": 0.0,
        "rejected": 0.0,
        "failed": 0.0,
        "answered": 1,
        "ready": 1,
        "sample_time": 0.0,
        "variants": (),
        "changes": (),
        "share": 1.0,
        "moving_share": 1.0,
        "pods": (),
        "problem": "",
    }
    return FleetLoad(**(values | overrides))


def need(requests_per_second: float, *, pace: float = 0.2, **loaded: Any) -> Need:
    rates = Rates(requests_per_second, 964.0 * requests_per_second, 206.0 * requests_per_second)
    return need_of(L4, STEP, rates=rates, load=load(**loaded), traffic=CHAT, pace_seconds=pace)


def test_ten_chats_a_second_fill_the_batch_of_three_replicas_or_the_pace_of_two_and_a_half() -> None:
    # The example of need_of: 1.95 seconds of work per second.
    assert need(10.0).compute == pytest.approx(2.80, abs=0.01)
    # With a pace of 100 ms it is the pace that limits: 1.9552 / (1 - 33 / 100).
    assert need(10.0, pace=0.1).compute == pytest.approx(1.9552 / 0.67, rel=1e-3)
    # However tight the pace, a replica does 15 % of its possible work.
    assert need(10.0, pace=0.034).compute == pytest.approx(1.9552 / 0.15, rel=1e-3)


def test_demand_is_the_time_of_all_requests_that_come() -> None:
    for rate in (0.5, 10.0, 300.0):
        assert need(rate).compute == pytest.approx(rate * need(1.0).request_seconds)


def test_a_full_replica_holds_the_sequences_of_its_batch() -> None:
    assert need(1.0).full == pytest.approx(80.0, rel=1e-2)
    # 85 of 280 ms are the base steps, which are there however few requests share them.
    assert need(1.0).fixed == pytest.approx(0.085 / 0.280, rel=0.01)


def test_what_waits_and_what_was_turned_away_is_served_one_request_after_another() -> None:
    assert need(1.0, waiting=7.0, rejected=3.0).queue_seconds == pytest.approx(10 * 0.2805, rel=1e-3)
    # All of it within half a minute: so many replicas.
    assert need(1.0, waiting=7.0, rejected=3.0).backlog == pytest.approx(10 * 0.2805 / 30, rel=1e-3)


def test_what_is_held_counts_by_sequences_or_by_cache_whichever_is_fuller() -> None:
    assert need(0.0, running=160.0).demand == pytest.approx(160 / 87 / 0.92)
    cached = variant_limits("l4", step_time=STEP, max_num_seqs=87, kv_cache_tokens=60_000)
    rates, half_full = Rates(0.0, 0.0, 0.0), VariantLoad("l4", 10.0, 0.0, 90_000.0, 1.5)
    held = need_of(
        cached, STEP, rates=rates, load=load(running=10.0, variants=(half_full,)), traffic=CHAT, pace_seconds=0.2
    )
    assert held.space == pytest.approx(1.5 / 0.92)


def test_a_pod_is_clogged_by_a_queue_that_outlasts_the_patience_of_its_callers() -> None:
    pods = tuple((name, PodCounters(sample_time=0.0, waiting=waiting)) for name, waiting in (("a", 9.0), ("b", 8.0)))
    asked: dict[str, Any] = {"request_seconds": 0.28, "patience_seconds": 2.5}
    assert clogged(load(pods=pods), pods={"a", "b"}, **asked) == 1  # 2.52 s and 2.24 s
    assert clogged(load(pods=pods), pods={"b"}, **asked) == 0
