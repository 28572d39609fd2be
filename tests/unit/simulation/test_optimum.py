"""The offline optimum: a plan by hand, the frontier's shape, and its measure."""

from __future__ import annotations

import numpy as np
import pytest

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.optimum import FrontierPoint, cheapest_plan, cost_at, frontier
from inference_fleet.simulation.policies.own import STATIC
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.run import simulate
from inference_fleet.simulation.scenario import Scenario, objectives_of
from inference_fleet.simulation.synthetic import Shape, generate


def test_a_replica_is_kept_over_a_gap_shorter_than_its_start() -> None:
    # Two replicas are needed in minutes 0, 2 and 7; a minute of one costs 60, a start 120.
    misses = np.array([[9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0], [0.0] * 8])
    plan = cheapest_plan([1, 2], misses, price=1000.0, cold_start=120.0, start=2)
    # Over minute 1 it is kept (60 < 120); over minutes 3 to 6 it is not (240 > 120).
    assert plan == (2, 2, 2, 1, 1, 1, 1, 2)


def test_misses_are_accepted_when_they_cost_less_than_a_replica() -> None:
    misses = np.array([[9.0, 0.0], [0.0, 0.0]])
    assert cheapest_plan([1, 2], misses, price=1.0, cold_start=120.0, start=1) == (1, 1)
    # 9 misses at 100 are dearer than a start and a minute: 900 > 180.
    assert cheapest_plan([1, 2], misses, price=100.0, cold_start=120.0, start=1) == (2, 1)


def test_cost_between_points_is_linear_in_nines_and_flat_beyond_the_ends() -> None:
    points = (FrontierPoint(90.0, 1.0, 10.0), FrontierPoint(99.0, 2.0, 20.0))
    assert cost_at(points, 99.0) == pytest.approx(20.0)
    # 1 - a = 10^-1.5 lies half way between 10^-1 and 10^-2.
    assert cost_at(points, 100 * (1 - 10**-1.5)) == pytest.approx(15.0)
    assert cost_at(points, 50.0) == pytest.approx(10.0)
    assert cost_at(points, 99.99) == pytest.approx(20.0)


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    shape = Shape(name="wave", span_seconds=2400.0, rate=lambda now: 6.0 if 900 <= now < 1800 else 1.5, noise=0.0)
    engine = EngineModel(
        step_time=StepTimeModel(
            base_seconds=33e-3, per_prefill_token_seconds=600e-6, per_decoding_sequence_seconds=60e-6
        )
    )
    return Scenario(
        workload=generate(shape, seed=0),
        variants=(VariantModel(name="a", engine=engine),),
        objectives=objectives_of(first_seconds=10.0, pace_seconds=1.0, target=0.99),
        max_replicas=10,
        start=(3,),
    )


def test_the_frontier_ascends_and_beats_every_static_fleet(scenario: Scenario) -> None:
    points = frontier(scenario)
    assert [p.attainment_percent for p in points] == sorted({p.attainment_percent for p in points})
    assert [p.cost for p in points] == sorted(p.cost for p in points)
    assert points[-1].attainment_percent > 99
    for replicas in (5, 6, 7):
        run = simulate(scenario, STATIC, parameters={"replicas": replicas})
        if run.outcome.attainment_percent > 95:
            assert run.outcome.cost > cost_at(points, run.outcome.attainment_percent)
