"""The scaler's rules, each by its name."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.scaling import Scaler, limits, sample, variant, variant_limits
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.hold import HOLD_COLD_STARTS, held
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import (
    Mode,
    Observation,
    Rule,
    ScheduleLimit,
    SignalState,
    VariantObservation,
)


def test_up_at_once_in_one_step() -> None:
    scaler = Scaler(limits())
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=60))
    # 60 requests fill 4.1 batches of 16; a young scaler knows no better than that loads err by a quarter.
    assert (decision.total, decision.rule) == (7, Rule.SATURATION)
    assert "60 requests run" in decision.message


def test_a_queue_longer_than_the_batch_is_a_backlog() -> None:
    scaler = Scaler(limits())
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=16, waiting=20))
    # 1.1 replicas for what runs, and one for the pod that is busy with its queue.
    assert (decision.total, decision.rule) == (3, Rule.BACKLOG)


def test_a_queue_ten_times_as_long_asks_for_no_more_replicas() -> None:
    def wanted(waiting: float) -> int:
        scaler = Scaler(limits(max_replicas=40))
        return scaler.tick(variant(at=scaler.now, ready=1, running=16, waiting=waiting)).total

    # What waits in an engine stays there: more replicas beside it have nothing of it to work off.
    assert wanted(20) == wanted(200)


def test_rejected_requests_are_demand() -> None:
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=1, running=12, rejected=0.0))
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=12, rejected=24.0))
    assert (decision.total, decision.rule) == (2, Rule.BACKLOG)
    assert "24 were turned away" in decision.message


def gateway(*counts: float | None, last_age: float = 0.0) -> float:
    """Arrivals a tick after ticks at which a gateway has counted so many; the engines finish 2,000 a tick. last_age:
    seconds, of the last count.
    """
    scaler = Scaler(limits())
    for tick, count in enumerate(counts):
        seen = variant(at=scaler.now, ready=2, running=10, work=1000.0 * tick)
        age = last_age if tick == len(counts) - 1 else 0.0
        arrivals = None if count is None else (count, scaler.now - age)
        scaler.tick(seen, arrivals=arrivals)
    assert scaler.memory.rates is not None
    assert scaler.memory == ScalerMemory.from_json(scaler.memory.to_json())
    return 15 * scaler.memory.rates.arrivals


def test_what_a_gateway_counts_are_the_arrivals() -> None:
    assert gateway(None, None, None, None) == pytest.approx(2000)
    assert gateway(0.0, 2000.0, 4000.0, 6000.0) == pytest.approx(2000)
    assert gateway(0.0, 4000.0, 8000.0, 12000.0) == pytest.approx(4000)


def test_a_gateway_that_restarts_or_falls_silent_is_no_loss_of_load() -> None:
    assert gateway(9e9, 9e9 + 2000, 2000.0, 4000.0) == pytest.approx(2000)
    assert gateway(0.0, 4000.0, None, None) == pytest.approx(2000)


def test_what_a_gateway_counted_in_a_moment_is_no_rate() -> None:
    # In the half second since the count before, as the other one of a pair of servers tells it, 500 came.
    assert gateway(0.0, 2000.0, 4000.0, 4500.0, last_age=14.5) == pytest.approx(2000)


def test_requests_at_the_gateway_are_no_idleness() -> None:
    scaler = Scaler(limits())
    for tick in range(3):
        decision = scaler.tick(variant(at=scaler.now, ready=1), arrivals=(float(tick), scaler.now))
    assert decision.signals is SignalState.FRESH


def test_replicas_still_starting_count_as_capacity() -> None:
    scaler = Scaler(limits())
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=60, desired=7, starting=6))
    assert (decision.total, decision.rule) == (7, Rule.HOLD)


def test_none_goes_while_some_start_and_no_start_was_seen_to_end() -> None:
    """Starts of ten minutes where two are believed: given up after two, none would ever end, and none be learned."""
    scaler = Scaler(limits())
    for _ in range(40):
        decision = scaler.tick(variant(at=scaler.now, ready=2, running=2, desired=3, starting=1))
        assert (decision.total, decision.rule) == (3, Rule.HOLD)
    assert "how long a start takes is not known" in decision.message


def test_starts_that_are_known_do_not_hold_the_fleet() -> None:
    scaler, starts, totals = Scaler(limits()), (110.0, 120.0, 130.0), []
    for _ in range(40):
        seen = variant(at=scaler.now, ready=2, running=2, desired=3, starting=1, cold_start_seconds=starts)
        totals.append(scaler.tick(seen).total)
    assert min(totals) < 3


def test_a_variant_without_devices_falls_through_to_the_next() -> None:
    scaler = Scaler(limits(variant_limits("a"), variant_limits("b")))
    decision = scaler.tick(
        variant("a", at=scaler.now, ready=2, running=28, desired=3, unschedulable=1),
        VariantObservation(name="b", desired=0, ready=0),
    )
    assert (decision.of("a"), decision.of("b")) == (2, 1)  # counted as coming, the third of a would leave b at 0
    after = scaler.tick(
        variant("a", at=scaler.now, ready=2, running=28, desired=3, unschedulable=1),
        VariantObservation(name="b", desired=1, ready=0, starting=1),
    )
    assert after.of("b") == 1


def test_the_only_variant_without_devices_waits_and_asks_for_no_more() -> None:
    scaler = Scaler(limits())
    decision = scaler.tick(variant(at=scaler.now, ready=2, running=28, desired=3, unschedulable=1))
    assert (decision.total, decision.rule) == (3, Rule.HOLD)


@pytest.mark.parametrize("problem", ["prometheus does not answer", None])
def test_unknown_signals_never_lower(problem: str | None) -> None:
    scaler = Scaler(limits())
    silent = VariantObservation(name="a", desired=5, ready=5, ready_pods=("a-0", "a-1", "a-2", "a-3", "a-4"))
    for _ in range(100):
        decision = scaler.tick(silent, problem=problem)
        assert (decision.total, decision.rule, decision.signals) == (5, Rule.SIGNALS_UNKNOWN, SignalState.UNKNOWN)


def test_what_nobody_saw_does_not_count_as_a_time_in_which_fewer_were_enough() -> None:
    scaler = Scaler(limits())
    busy = scaler.hold(40, ready=6, running=54)
    assert (busy.total, busy.rule) == (6, Rule.HOLD)
    silent = VariantObservation(name="a", desired=6, ready=6, ready_pods=tuple(f"a-{pod}" for pod in range(6)))
    for _ in range(20):
        scaler.tick(silent, problem="prometheus does not answer")
    back = scaler.hold(1, ready=6, running=1)
    assert (back.total, back.rule) == (6, Rule.HOLD)
    assert scaler.memory == ScalerMemory.from_json(scaler.memory.to_json())
    # What stood by is not asked for any more once a cold start was seen without a need for it.
    totals = [scaler.hold(1, ready=6, running=1).total for _ in range(200)]
    assert min(totals) < 6


def test_one_silent_pod_freezes_the_way_down_but_not_up() -> None:
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=4, running=4))
    for _ in range(50):
        seen = variant(at=scaler.now, ready=4, running=4)
        decision = scaler.tick(dataclasses.replace(seen, pods=seen.pods[1:]))
        assert (decision.total, decision.rule) == (4, Rule.SIGNALS_UNKNOWN)
    for _ in range(2):  # one tick alone may be noise
        seen = variant(at=scaler.now, ready=4, running=100)
        decision = scaler.tick(dataclasses.replace(seen, pods=seen.pods[1:]))
    assert decision.total >= 7


@pytest.mark.parametrize("lie", [float("nan"), float("inf"), -1.0])
def test_a_lying_gauge_is_unknown_and_not_zero(lie: float) -> None:
    scaler = Scaler(limits())
    seen = dataclasses.replace(
        variant(at=scaler.now, ready=1, desired=4), pods=(sample("a-0", at=scaler.now, running=lie),)
    )
    assert scaler.tick(seen).rule is Rule.SIGNALS_UNKNOWN


def test_an_old_sample_is_unknown() -> None:
    scaler = Scaler(limits())
    decision = scaler.tick(variant(at=scaler.now - 60, ready=3, running=1))
    assert (decision.total, decision.rule) == (3, Rule.SIGNALS_UNKNOWN)


def test_down_only_to_the_peak_of_the_hold_window() -> None:
    needs = ((0.0, 5.0), (60.0, 3.0))
    # A cold start of 100 s: the 5 of the beginning is just within, or just beyond, what is looked at.
    within = held(needs, need=2.0, cold_start=100.0, started=-1e4, now=HOLD_COLD_STARTS * 100.0)
    beyond = held(needs, need=2.0, cold_start=100.0, started=-1e4, now=HOLD_COLD_STARTS * 100.0 + 1)
    assert within is not None
    assert beyond is not None
    assert (within.replicas, beyond.replicas) == (5.0, 3.0)
    assert beyond.lets_go == 60.0 + HOLD_COLD_STARTS * 100.0


def test_a_hold_begins_anew_with_every_larger_need() -> None:
    needs = ((0.0, 9.0), (60.0, 3.0), (75.0, 2.0))
    holding = held(needs, need=2.0, cold_start=100.0, started=-1e4, now=90.0)
    assert holding is not None
    assert (holding.replicas, holding.lets_go) == (9.0, 60.0 + HOLD_COLD_STARTS * 100.0)
    # Where nothing larger was needed, fewer may do a whole window after now.
    same = held(((75.0, 2.0),), need=2.0, cold_start=100.0, started=-1e4, now=90.0)
    assert same is not None
    assert (same.replicas, same.lets_go) == (2.0, 90.0 + HOLD_COLD_STARTS * 100.0)


def test_fewer_wait_for_a_cold_start_before_one_goes() -> None:
    scaler = Scaler(limits(variant_limits(cold_start_seconds=120.0)))
    scaler.hold(20, ready=4, running=36)
    quiet_since = scaler.now
    for _ in range(200):
        decision = scaler.tick(variant(at=scaler.now, ready=4, running=8))
        if decision.total < 4:
            break
        assert (decision.total, decision.rule) == (4, Rule.HOLD)
    assert decision.rule is Rule.DOWN_RATE
    assert decision.time >= quiet_since + 120.0


def test_down_one_step_per_cold_start() -> None:
    scaler = Scaler(limits())
    ready, lowered_at = 5, []
    scaler.hold(4, ready=5, running=40)
    for _ in range(20):
        decision = scaler.tick(variant(at=scaler.now, ready=ready, running=10))
        assert decision.total >= ready - 1
        if decision.total < ready:
            lowered_at.append(scaler.now)
        ready = decision.total
    assert ready == 1
    assert all(later - earlier >= 20.0 for earlier, later in itertools.pairwise(lowered_at))


def test_proven_idleness_reaches_the_minimum_in_bounded_time() -> None:
    scaler = Scaler(limits(min_replicas=2))
    ready = 6
    began = scaler.now
    while ready > 2 and scaler.now - began <= 300:
        ready = scaler.tick(variant(at=scaler.now, ready=ready)).total
    assert ready == 2


def test_a_young_scaler_holds() -> None:
    scaler = Scaler(limits(), memory=ScalerMemory.empty())
    for _ in range(4):
        decision = scaler.tick(variant(at=scaler.now, ready=5))
        assert (decision.total, decision.rule) == (5, Rule.HOLD)


def test_bounds_come_last_on_every_path() -> None:
    scaler = Scaler(limits(max_replicas=3))
    decision = scaler.tick(variant(at=scaler.now, ready=1, running=600))
    assert (decision.total, decision.rule, decision.limited_by) == (3, Rule.MAXIMUM, ("scaling.maxReplicas",))
    scaler.limits = limits(min_replicas=4)
    unknown = scaler.tick(VariantObservation(name="a", desired=1, ready=1, ready_pods=("a-0",)))
    assert (unknown.total, unknown.rule, unknown.limited_by) == (4, Rule.MINIMUM, ("scaling.minReplicas",))


def test_a_schedule_replaces_the_bounds_while_it_holds() -> None:
    now = 1_000_000.0
    night = ScheduleLimit("night", ((now - 10, now + 10),), min_replicas=3)
    scaler = Scaler(limits(schedules=(night,)), now=now)
    assert scaler.tick(variant(at=scaler.now, ready=1)).rule is Rule.SCHEDULE
    assert scaler.tick(variant(at=scaler.now, ready=1)).total == 1


@pytest.mark.parametrize(("mode", "rule"), [(Mode.MANUAL, Rule.MANUAL), (Mode.EXTERNAL, Rule.EXTERNAL)])
def test_manual_and_external_follow_spec_replicas_and_record_the_recommendation(mode: Mode, rule: Rule) -> None:
    scaler = Scaler(limits(variant_limits("a", max_replicas=2), variant_limits("b", max_replicas=9), mode=mode))
    decision = scaler.tick(
        variant("a", at=scaler.now, ready=1, running=60), VariantObservation("b", desired=0, ready=0), spec_replicas=7
    )
    assert decision.replicas == (("a", 2), ("b", 5))
    assert (decision.rule, decision.recommended) == (rule, 7)


def test_what_nobody_follows_allows_no_scale_down_from_some_moment_on() -> None:
    for mode in (Mode.AUTOMATIC, Mode.MANUAL, Mode.EXTERNAL):
        young = Scaler(limits(mode=mode), memory=ScalerMemory(started=1_000_000.0))
        decision = young.tick(variant(at=young.now, ready=3, running=1))
        assert (decision.scale_down_allowed_after is None) is (mode is not Mode.AUTOMATIC)


def test_manual_without_replicas_keeps_the_live_count() -> None:
    scaler = Scaler(limits(mode=Mode.MANUAL))
    assert scaler.tick(variant(at=scaler.now, ready=3)).total == 3


def test_new_replicas_go_to_the_cheapest_variant() -> None:
    scaler = Scaler(
        limits(variant_limits("a", cost_per_replica_hour=4.0), variant_limits("b", cost_per_replica_hour=1.0))
    )
    decision = scaler.tick(
        variant("a", at=scaler.now, ready=1, running=36), VariantObservation("b", desired=0, ready=0)
    )
    assert decision.of("b") >= 2


def test_a_decision_says_its_terms() -> None:
    scaler = Scaler(limits())
    terms = {term.name: term for term in scaler.tick(variant(at=scaler.now, ready=1, running=60)).terms}
    assert terms["running"].value == 60
    assert terms["demand"].value == pytest.approx(60 / (16 * 0.92))
    assert terms["forecast"].replicas == 7


def test_a_counter_that_fell_has_restarted_and_is_no_idleness() -> None:
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=2, running=2, work=500.0))
    decision = scaler.tick(variant(at=scaler.now, ready=2, running=0, work=3.0))
    assert decision.signals is SignalState.FRESH


counts = st.integers(min_value=0, max_value=12)


@given(
    data=st.data(),
    minimum=st.integers(0, 5),
    span=st.integers(0, 8),
)
def test_min_desired_max_on_every_path(data: st.DataObject, minimum: int, span: int) -> None:
    bounds = limits(variant_limits("a"), variant_limits("b"), min_replicas=minimum, max_replicas=minimum + span)
    memory = ScalerMemory.empty()
    now = 1_000_000.0
    for _ in range(data.draw(st.integers(1, 6))):
        now += data.draw(st.sampled_from([15.0, 60.0, 600.0]))
        seen = []
        for name in ("a", "b"):
            ready = data.draw(counts)
            desired = ready + data.draw(counts)
            numbers = st.sampled_from([0.0, 3.0, 500.0, float("nan"), float("inf"), -3.0])
            pods = tuple(
                sample(f"{name}-{i}", at=now - data.draw(st.sampled_from([1.0, 100.0])), running=data.draw(numbers))
                for i in range(ready)
                if data.draw(st.booleans())
            )
            seen.append(
                VariantObservation(
                    name=name,
                    desired=desired,
                    ready=ready,
                    unschedulable=data.draw(st.integers(0, desired - ready)),
                    ready_pods=tuple(f"{name}-{i}" for i in range(ready)),
                    pods=pods,
                )
            )
        decision, memory = decide(memory, Observation(tuple(seen)), bounds, now)
        assert bounds.min_replicas <= decision.total <= bounds.max_replicas
        assert all(0 <= count <= 10 for _, count in decision.replicas)
        assert ScalerMemory.from_json(memory.to_json()) == memory


def test_what_was_learned_of_cold_starts_outlives_the_pods_it_was_learned_from() -> None:
    scaler = Scaler(limits(variant_limits(cold_start_seconds=None)))
    scaler.tick(variant(at=scaler.now, ready=4, running=40, cold_start_seconds=(20.0, 22.0, 24.0, 26.0)))
    decision = scaler.tick(variant(at=scaler.now, ready=2, running=1, cold_start_seconds=(20.0, 22.0)))
    assert {term.name: term.value for term in decision.terms}["coldStart"] == 26.0


def test_a_pod_that_is_silent_and_one_too_new_to_have_answered_are_told_apart() -> None:
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=2, running=20))
    seen = variant(at=scaler.now, ready=3, running=20)
    decision = scaler.tick(dataclasses.replace(seen, pods=seen.pods[:2]))
    assert decision.message.startswith("1 of 3 pods is too new to have answered")
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=3, running=3))
    seen = variant(at=scaler.now, ready=3, running=3)
    decision = scaler.tick(dataclasses.replace(seen, pods=seen.pods[:2]))
    assert decision.message.startswith("1 of 3 pods is silent")


def test_a_replica_that_has_just_become_ready_is_not_taken_for_a_silent_one_under_load() -> None:
    scaler = Scaler(limits())
    scaler.hold(3, ready=2, running=20)
    seen = variant(at=scaler.now, ready=4, running=20)
    terms = {term.name: term.value for term in scaler.tick(dataclasses.replace(seen, pods=seen.pods[:2])).terms}
    assert terms["running"] == 10  # scaled up to four pods it would be 20
