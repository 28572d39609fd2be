"""An engine with a limit of its queue turns requests away, as vLLM does, and says how many."""

from __future__ import annotations

import dataclasses
import math

import pytest

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation.engines import QUEUED_TOKENS, WAITING
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.policies.own import OwnScaler
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrival, Arrivals, RequestLog
from inference_fleet.simulation.run import simulate_policy
from inference_fleet.simulation.scenario import Scenario, Workload, objectives_of

STEP = StepTimeModel(base_seconds=0.010, per_prefill_token_seconds=0.001, per_decoding_sequence_seconds=0.001)
ONE_AT_A_TIME = EngineModel(step_time=STEP, max_num_seqs=1)


def served(engine: EngineModel, requests: list[tuple[float, int, int]]) -> tuple[Fleet, list[int]]:
    """The fleet of one such engine after all, and which requests it finished."""
    log = RequestLog(Arrival(*request) for request in requests)
    fleet = Fleet([VariantModel(name="a", engine=engine)], log, settings=FleetSettings(), start=[1], seed=0)
    fleet.advance(1000.0)
    assert fleet.idle
    assert fleet.replicas[0].whole[WAITING] == fleet.replicas[0].whole[QUEUED_TOKENS] == 0
    return fleet, [number for number, finish in enumerate(log.finish) if not math.isnan(finish)]


def rejected(fleet: Fleet) -> float:
    return fleet.shown(fleet.replicas)[0][9]


def test_without_a_limit_every_request_waits() -> None:
    fleet, finished = served(ONE_AT_A_TIME, [(0.0, 100, 10)] * 5)
    assert finished == [0, 1, 2, 3, 4]
    assert rejected(fleet) == 0


def test_a_queue_of_so_many_requests_takes_no_more() -> None:
    engine = dataclasses.replace(ONE_AT_A_TIME, max_num_queued_reqs=2)
    fleet, finished = served(engine, [(0.0, 100, 10)] * 5)
    # The first runs, two wait.
    assert finished == [0, 1, 2]
    assert rejected(fleet) == 2


def test_a_queue_of_so_many_tokens_takes_no_more() -> None:
    engine = dataclasses.replace(ONE_AT_A_TIME, max_num_queued_tokens=150)
    fleet, finished = served(engine, [(0.0, 100, 10), (0.0, 100, 10), (0.0, 60, 10), (0.0, 50, 10)])
    # 100 wait; 60 more are too many, 50 are not.
    assert finished == [0, 1, 3]
    assert rejected(fleet) == 1


def test_a_prompt_longer_than_the_queue_is_turned_away_by_an_idle_engine_too() -> None:
    engine = dataclasses.replace(ONE_AT_A_TIME, max_num_queued_tokens=150)
    fleet, finished = served(engine, [(0.0, 200, 10)])
    assert finished == []
    assert rejected(fleet) == 1


def test_preempted_requests_wait_beyond_the_limit() -> None:
    engine = EngineModel(step_time=STEP, kv_cache_tokens=120, max_num_queued_reqs=2, max_num_queued_tokens=100)
    fleet, finished = served(engine, [(0.0, 50, 40), (0.0, 50, 40)])
    assert finished == [0, 1]
    assert rejected(fleet) == 0


@pytest.mark.parametrize("limit", [None, 400])
def test_the_scaler_sees_what_was_turned_away_as_load(limit: int | None) -> None:
    engine = dataclasses.replace(ONE_AT_A_TIME, max_num_seqs=4, max_num_queued_tokens=limit)
    arrivals = tuple(Arrival(0.05 * number, 100, 10) for number in range(12_000))
    scenario = Scenario(
        workload=Workload("steady", "0", Arrivals.of(arrivals)),
        variants=(VariantModel(name="a", engine=engine, cold_start_seconds=30.0),),
        objectives=objectives_of(first_seconds=1.0, pace_seconds=0.1, target=0.99),
        min_replicas=1,
        max_replicas=8,
        start=(1,),
        seed=0,
    )
    scaler = OwnScaler(scenario.limits)
    outcome = simulate_policy(scenario, scaler, name="fleet", parameters={}).outcome
    seen = max(term.value for decision in scaler.decisions for term in decision.terms if term.name == "rejected")
    assert (seen > 0) == (limit is not None)
    # Twenty requests a second take more than two of these engines.
    assert outcome.peak_replicas >= 3
