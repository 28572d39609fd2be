"""Runs side by side: the ratio to the optimum, who dominates whom, and the best fixed fleet in hindsight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from inference_fleet.simulation.batch import best_static
from inference_fleet.simulation.course import FrontierPoint
from inference_fleet.simulation.documents import (
    Frontier,
    compare_document,
    geometric_mean,
    is_kept,
    ratio_of,
    resampled_interval,
    shown_percent,
)
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.scenario import LLAMA_8B_L4, Scenario, Workload, objectives_of
from inference_fleet.simulation.synthetic import Shape, generate

POINTS = (FrontierPoint(99.0, 10.0, 10.0), FrontierPoint(99.9, 20.0, 20.0))


def run_of(policy: str, kept: float, cost: float, *, trace: str = "w", seed: int = 0) -> dict[str, Any]:
    return {
        "scenario": {"trace": trace, "seed": seed, "traceClass": "smooth", "objectives": []},
        "policy": {"name": policy, "tuned": False},
        "result": {"attainmentPercent": kept, "cost": cost},
    }


def dominating(*others: dict[str, Any]) -> list[str]:
    document = compare_document([run_of("fleet", 99.0, 100.0), *others], [])
    row = next(row for row in document["summary"] if (row["policy"], row["traceClass"]) == ("fleet", "all"))
    found: list[str] = row["dominatedBy"]
    return found


def test_the_ratio_is_to_what_the_optimum_pays_for_as_much() -> None:
    frontiers = {("w", 0): POINTS}
    assert ratio_of(run_of("a", 99.0, 15.0), frontiers) == pytest.approx(1.5)
    # One nine more is held to the dearer point.
    assert ratio_of(run_of("a", 99.9, 30.0), frontiers) == pytest.approx(1.5)
    assert ratio_of(run_of("a", 99.0, 15.0, seed=1), frontiers) is None


def test_a_promise_of_every_hour_is_judged_by_the_worst_one() -> None:
    run = run_of("a", 99.5, 1.0)
    run["result"]["worstWindowPercent"] = 97.0
    assert is_kept(run)  # nothing is promised
    for hours, kept in ((24, True), (1, False)):
        run["scenario"]["objectives"] = [{"target": 0.99, "windowHours": 24}, {"target": 0.98, "windowHours": hours}]
        assert is_kept(run) is kept
    run["result"]["worstWindowPercent"] = None
    assert not is_kept(run)


@pytest.mark.parametrize(
    ("kept", "cost", "dominates"),
    [
        (99.2, 100.0, True),
        (99.0, 96.0, True),
        (99.05, 98.0, False),  # within 0.1 points and 3 %
        (99.2, 100.5, False),  # dearer
        (98.9, 50.0, False),  # keeps less
    ],
)
def test_a_rival_dominates_with_as_much_of_both_and_clearly_more_of_one(
    kept: float, cost: float, dominates: bool
) -> None:
    assert dominating(run_of("b", kept, cost)) == (["b on w"] if dominates else [])


def test_runs_of_other_traces_or_seeds_do_not_dominate() -> None:
    assert dominating(run_of("b", 100.0, 1.0, trace="v"), run_of("b", 100.0, 1.0, seed=1)) == []


@pytest.mark.parametrize(
    ("share", "shown"),
    [(98.996, "98.99"), (99.998, "99.99"), (99.0, "99.00"), (98.29, "98.29"), (100.0, "100.00"), (None, "-")],
)
def test_a_share_that_misses_is_not_shown_as_one_that_does_not(share: float | None, shown: str) -> None:
    assert shown_percent(share) == shown


def test_the_mean_of_ratios_is_geometric_and_its_interval_needs_three() -> None:
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert geometric_mean([]) is None
    assert resampled_interval([1.0, 4.0]) is None
    assert resampled_interval([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0])
    low, high = resampled_interval([1.0, 2.0, 4.0]) or (0.0, 0.0)
    assert 1.0 <= low < 2.0 < high <= 4.0


def test_the_summary_takes_every_run_that_has_an_optimum() -> None:
    runs = [run_of("fleet", 99.0, cost, trace=trace) for trace, cost in (("w", 20.0), ("v", 5.0), ("u", 7.0))]
    document = compare_document(runs, [Frontier("w", 0, POINTS), Frontier("v", 0, POINTS)])
    assert document["summary"][0]["ratioGeomean"] == pytest.approx(1.0)  # 2.0 and 0.5


def test_the_best_fixed_fleet_is_the_smallest_that_keeps_the_target() -> None:
    shape = Shape(name="steady", span_seconds=300.0, rate=lambda _: 8.0, noise=0.0)
    scenario = Scenario(
        workload=Workload("steady", "0", generate(shape, seed=0).arrivals),
        variants=(VariantModel(name="l4", engine=LLAMA_8B_L4),),
        objectives=objectives_of(first_seconds=2.5, pace_seconds=0.2, target=0.95),
        max_replicas=16,
    )
    best = best_static(scenario)
    size = int(best.parameters["replicas"])
    assert 1 < size < 16
    assert best.outcome.attainment_percent >= 95.0
    smaller = best_static(replace(scenario, max_replicas=size - 1))
    # None does: it is the largest that may be.
    assert int(smaller.parameters["replicas"]) == size - 1
    assert smaller.outcome.attainment_percent < 95.0
