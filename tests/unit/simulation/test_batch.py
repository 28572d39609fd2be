"""Many runs at once, and what becomes of them when nobody wants them any more."""

from __future__ import annotations

import multiprocessing

import pytest

from inference_fleet.simulation.batch import OptimumTask, RunTask, perform_all
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.request_log import Arrival, Arrivals
from inference_fleet.simulation.scenario import ENGINES, Scenario, Workload, objectives_of
from inference_fleet.simulation.synthetic import SHAPES, generate


def scenario(workload: Workload) -> Scenario:
    return Scenario(
        workload=workload,
        variants=(VariantModel(name="a", engine=ENGINES["llama-8b-l4"]),),
        objectives=objectives_of(first_seconds=2.5, pace_seconds=0.2, target=0.99),
    )


def test_an_interrupt_ends_runs_that_have_minutes_to_go() -> None:
    short = RunTask(scenario(Workload("short", "0", Arrivals.of([Arrival(1.0, 9, 9)]))), "static")
    long = OptimumTask(scenario(generate(SHAPES["chat-days"], seed=0)))
    told: list[str] = []

    def interrupt(label: str, share: float) -> None:
        told.append(label)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        perform_all([short, long], jobs=2, progress=interrupt)
    assert told == [short.label]
    assert multiprocessing.active_children() == []
