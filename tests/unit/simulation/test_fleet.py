"""The simulated fleet: hand-computed steps, nothing lost, the same seed the same run."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation.engines import GENERATION_TOKENS, HELD_TOKENS, PREEMPTIONS
from inference_fleet.simulation.fleet import Fleet, FleetSettings, Routing, VariantModel
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrival, RequestLog

# 10 ms a step, 1 ms a prefill token, 1 ms a decoding sequence: figures that can be added in the head.
STEP = StepTimeModel(base_seconds=0.010, per_prefill_token_seconds=0.001, per_decoding_sequence_seconds=0.001)


def fleet_of(
    requests: list[tuple[float, int, int]],
    *,
    replicas: int = 1,
    engine: EngineModel | None = None,
    settings: FleetSettings | None = None,
    seed: int = 0,
) -> Fleet:
    variant = VariantModel(name="a", engine=engine or EngineModel(step_time=STEP))
    log = RequestLog(Arrival(*request) for request in requests)
    return Fleet([variant], log, settings=settings or FleetSettings(), start=[replicas], seed=seed)


def test_one_request_takes_its_prefill_and_its_decode_steps() -> None:
    fleet = fleet_of([(1.0, 100, 5)])
    fleet.advance(10.0)
    # prefill 10 + 100 ms; four more tokens of 11 ms each
    assert fleet.log.first_token[0] == pytest.approx(1.110)
    assert fleet.log.finish[0] == pytest.approx(1.154)
    assert fleet.log.inter_token_latency(0) == pytest.approx(0.011)


def test_a_request_that_comes_during_a_step_joins_at_its_end() -> None:
    fleet = fleet_of([(0.0, 100, 101), (0.115, 50, 2)])
    fleet.advance(10.0)
    # The first decodes from 0.110 in steps of 11 ms; the second joins at 0.121: 10 + 50 + 1 ms of a mixed step.
    assert fleet.log.first_token[1] == pytest.approx(0.182)
    # Then both decode for one step of 12 ms.
    assert fleet.log.finish[1] == pytest.approx(0.194)
    # 100 steps of the first: one of 11, one of 61, one of 12, 97 of 11.
    assert fleet.log.finish[0] == pytest.approx(0.110 + 0.011 + 0.061 + 0.012 + 97 * 0.011)


def test_a_long_prompt_is_prefilled_in_chunks_of_the_token_budget() -> None:
    fleet = fleet_of([(0.0, 250, 1)], engine=EngineModel(step_time=STEP, max_num_batched_tokens=100))
    fleet.advance(10.0)
    assert fleet.log.first_token[0] == pytest.approx(0.110 + 0.110 + 0.060)


def test_a_full_batch_makes_the_next_request_wait() -> None:
    fleet = fleet_of([(0.0, 100, 3), (0.0, 100, 1)], engine=EngineModel(step_time=STEP, max_num_seqs=1))
    fleet.advance(10.0)
    assert fleet.log.finish[0] == pytest.approx(0.132)
    assert fleet.log.first_token[1] == pytest.approx(0.132 + 0.110)


def test_a_full_cache_preempts_the_newest_and_both_finish() -> None:
    fleet = fleet_of([(0.0, 50, 40), (0.0, 50, 40)], engine=EngineModel(step_time=STEP, kv_cache_tokens=120))
    fleet.advance(10.0)
    assert fleet.replicas[0].whole[PREEMPTIONS] >= 1
    assert fleet.log.finish[0] < fleet.log.finish[1]
    assert fleet.replicas[0].whole[HELD_TOKENS] == 0


def test_counters_move_within_a_jump() -> None:
    fleet = fleet_of([(0.0, 100, 1001)])
    fleet.advance(0.110 + 0.011 * 100 + 0.001)
    _, _, _, _, generated, finished, steps, *_ = fleet.shown(fleet.replicas)[0]
    assert (generated, steps, finished) == (101, 101, 0)


def test_requests_wait_for_the_first_ready_replica() -> None:
    fleet = fleet_of([(1.0, 100, 1)], replicas=0)
    fleet.scale(0, 1)
    fleet.advance(600.0)
    ready = fleet.replicas[0].ready_at
    assert 30 < ready < 400
    assert fleet.log.first_token[0] == pytest.approx(ready + 0.110)


def test_a_removed_replica_finishes_its_work_and_is_paid_until_then() -> None:
    fleet = fleet_of([(0.0, 100, 1001)])
    fleet.advance(0.5)
    fleet.scale(0, 0)
    fleet.advance(20.0)
    assert fleet.log.finish[0] == pytest.approx(0.110 + 11.0)
    assert fleet.replica_seconds(0, start=0.0, end=20.0) == pytest.approx(11.110)


def test_a_drain_that_takes_too_long_fails_its_requests() -> None:
    fleet = fleet_of([(0.0, 100, 1001)], settings=FleetSettings(drain_seconds=5.0))
    fleet.advance(0.5)
    fleet.scale(0, 0)
    fleet.advance(6.0)
    assert fleet.log.failures == [0]
    assert math.isnan(fleet.log.finish[0])


def test_scaling_down_takes_the_youngest_start_first_then_the_least_busy() -> None:
    fleet = fleet_of([(0.0, 100, 1001)], replicas=2)
    fleet.advance(0.5)
    fleet.scale(0, 3)
    fleet.scale(0, 1)
    assert [fleet.outstanding(replica) for replica in fleet.ready(0)] == [1]
    assert fleet.desired(0) == 1


def test_a_crash_fails_what_the_replica_held_and_another_starts() -> None:
    fleet = fleet_of([(0.0, 100, 1001), (10.0, 10, 1)])
    fleet.advance(0.5)
    fleet.crash(fleet.replicas[0])
    fleet.advance(900.0)
    assert fleet.log.failures == [0]
    assert not math.isnan(fleet.log.finish[1])


def _random_requests(seed: int, count: int) -> list[tuple[float, int, int]]:
    chance = random.Random(seed)
    return [(chance.uniform(0, 60), chance.randint(1, 900), chance.randint(1, 300)) for _ in range(count)]


@given(
    seed=st.integers(0, 10_000),
    routing=st.sampled_from(list(Routing)),
    scales=st.lists(st.tuples(st.floats(0, 120), st.integers(1, 6)), max_size=6),
    cache=st.sampled_from([1_300, 5_000, 100_000]),
)
def test_every_request_finishes_or_is_counted_failed(
    seed: int, routing: Routing, scales: list[tuple[float, int]], cache: int
) -> None:
    engine = EngineModel(
        step_time=StepTimeModel(base_seconds=0.01, per_prefill_token_seconds=5e-5, per_decoding_sequence_seconds=3e-5),
        max_num_seqs=16,
        max_num_batched_tokens=512,
        kv_cache_tokens=cache,
    )
    settings = FleetSettings(routing=routing, drain_seconds=20.0)
    fleet = fleet_of(_random_requests(seed, 80), replicas=2, engine=engine, settings=settings, seed=seed)
    for time, count in sorted(scales):
        fleet.advance(time)
        fleet.scale(0, count)
    fleet.advance(10_000.0)
    log = fleet.log
    finished = [not math.isnan(finish) for finish in log.finish]
    assert sum(finished) + len(log.failures) == len(log)
    assert len(log.finishes) == sum(finished)
    assert sorted({*log.finishes, *log.failures}) == list(range(len(log)))
    if not log.failures:
        assert all(replica.whole[HELD_TOKENS] == 0 for replica in fleet.replicas)
        assert sum(replica.whole[GENERATION_TOKENS] for replica in fleet.replicas) == sum(log.output_tokens)


def test_the_same_seed_gives_the_same_run() -> None:
    def run(seed: int) -> list[float]:
        fleet = fleet_of(_random_requests(3, 200), seed=seed, settings=FleetSettings(routing=Routing.RANDOM))
        fleet.scale(0, 3)
        fleet.advance(3_000.0)
        return [*fleet.log.finish, *(replica.ready_at for replica in fleet.replicas)]

    assert run(1) == run(1)
    assert run(1) != run(2)
