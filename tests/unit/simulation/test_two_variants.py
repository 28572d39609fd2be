"""What the operator's scaler makes of a cheap and slow variant beside a dear and fast one."""

from __future__ import annotations

import dataclasses
from typing import Any

from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.policies.own import OwnScaler
from inference_fleet.simulation.run import Run, simulate_policy
from inference_fleet.simulation.scenario import LLAMA_8B_A100, LLAMA_8B_L4, Scenario, objectives_of
from inference_fleet.simulation.synthetic import SHAPES, generate
from inference_fleet.simulation.traces import scaled

L4 = VariantModel(name="l4", engine=LLAMA_8B_L4, cost_per_hour=1.0)
A100 = VariantModel(name="a100", engine=LLAMA_8B_A100, cost_per_hour=3.0)


def run(*variants: VariantModel, **changes: Any) -> tuple[Run, OwnScaler]:
    shape = dataclasses.replace(SHAPES["chat-steady"], span_seconds=4800.0)
    scenario = Scenario(
        workload=scaled(generate(shape, seed=0), 2.0, seed=0),
        variants=variants,
        objectives=objectives_of(first_seconds=2.5, pace_seconds=0.2, target=0.99),
        start=(6, *(0 for _ in variants[1:])),
        **changes,
    )
    scaler = OwnScaler(scenario.limits)
    return simulate_policy(scenario, scaler, name="fleet", parameters={}), scaler


def test_a_fleet_of_both_costs_what_the_better_alone_does_and_a_single_move() -> None:
    both, scaler = run(L4, A100)
    slow, _ = run(L4)
    fast, _ = run(A100)
    assert both.outcome.attainment_percent >= 99.0
    # The six that it starts with run beside the others for two cold starts.
    move = 6 * L4.cost_per_hour * 240 / 3600
    assert both.outcome.cost <= min(slow.outcome.cost, fast.outcome.cost) + move
    counts = [dict(decision.replicas)["l4"] for decision in scaler.decisions]
    # Once in the other fleet it stays there, and nothing that was left is started again.
    left = counts.index(0)
    assert set(counts[left:]) == {0}


def test_a_load_that_six_small_replicas_cannot_carry_is_carried_by_large_and_dear_ones_within_the_maximum() -> None:
    dear = dataclasses.replace(A100, cost_per_hour=8.0)
    both, scaler = run(L4, dear, max_replicas=6)
    alone, _ = run(L4, max_replicas=6)
    assert alone.outcome.attainment_percent < 10
    assert both.outcome.attainment_percent > 90
    assert max(decision.total for decision in scaler.decisions) == 6
    assert [decision for decision in scaler.decisions if decision.exchange]
