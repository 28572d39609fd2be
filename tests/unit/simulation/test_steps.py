"""What the operator's scaler makes of a load that goes up in one step."""

from __future__ import annotations

import pytest

from inference_fleet.scaling import standby
from inference_fleet.scaling.demand import Need
from inference_fleet.scaling.overload import Overload
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.policies.own import OwnScaler
from inference_fleet.simulation.run import Run, simulate_policy
from inference_fleet.simulation.scenario import LLAMA_8B_L4, Scenario, objectives_of
from inference_fleet.simulation.synthetic import Shape, generate

BEFORE_SECONDS = 1500.0


def three_times_the_load() -> Run:
    """8 requests a second fill 2.6 replicas, 24 fill 7.8."""
    shape = Shape(name="step", span_seconds=2700.0, rate=lambda now: 8.0 if now < BEFORE_SECONDS else 24.0, noise=0.05)
    scenario = Scenario(
        workload=generate(shape, seed=0),
        variants=(VariantModel(name="l4", engine=LLAMA_8B_L4),),
        objectives=objectives_of(first_seconds=2.5, pace_seconds=0.2, target=0.99),
        start=(5,),
    )
    return simulate_policy(scenario, OwnScaler(scenario.limits), name="fleet", parameters={})


def held_as_it_is(overload: Overload, needs: tuple[Need, ...]) -> tuple[Need, ...]:
    return needs


def test_the_queue_of_a_step_is_not_taken_for_more_load(monkeypatch: pytest.MonkeyPatch) -> None:
    run = three_times_the_load()
    monkeypatch.setattr(Overload, "arriving", held_as_it_is)
    misled = three_times_the_load()
    # Replicas that work a queue off are full whatever comes: counted as load they ask for more that save nothing.
    assert run.outcome.peak_replicas < misled.outcome.peak_replicas
    assert run.outcome.replica_hours < 0.97 * misled.outcome.replica_hours
    assert run.outcome.attainment_percent > misled.outcome.attainment_percent - 0.1


def test_room_in_the_first_order_keeps_more_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    run = three_times_the_load()
    monkeypatch.setattr(standby, "ROOM", 1.0)
    tight = three_times_the_load()
    assert run.outcome.attainment_percent > tight.outcome.attainment_percent
