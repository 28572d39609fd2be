"""The page of the scaling benchmark: it says truly which goal is missed, and who is better."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
FRONTIER = [{"attainmentPercent": 99.0, "replicaHours": 10.0, "cost": 10.0}]


@pytest.fixture
def goals(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling_goals  # type: ignore[import-not-found]

    module: ModuleType = scaling_goals
    return module


def run(policy: str, kept: float, hours: float, *, trace: str = "t", trace_class: str = "smooth") -> dict[str, Any]:
    return {
        "scenario": {"trace": trace, "seed": 0, "traceClass": trace_class, "coldStartSeconds": {"mean": 120.0}},
        "policy": {"name": policy.removesuffix(" tuned"), "tuned": policy.endswith(" tuned")},
        "result": {"attainmentPercent": kept, "cost": hours, "replicaHours": hours, "meanReplicas": hours / 2},
    }


def suite(*runs: dict[str, Any], frontier: list[dict[str, float]] | None = None) -> dict[str, Any]:
    optimum = [{"trace": "t", "seed": 0, "frontier": FRONTIER if frontier is None else frontier}]
    return {"suite": {"runs": list(runs), "optimum": optimum}}


def verdicts(goals: ModuleType, documents: dict[str, Any]) -> dict[str, bool | None]:
    return {goal.demand.split(" ")[0]: goal.met for goal in goals.goals(documents, {})}


def test_a_rival_that_keeps_as_much_for_clearly_less_is_better(goals: ModuleType) -> None:
    own = run("fleet", 99.5, 100.0)
    for rival, better in (
        (run("keda-queue", 99.5, 96.0), True),
        (run("keda-queue tuned", 99.65, 100.0), True),
        (run("keda-queue", 99.55, 98.0), False),
        (run("keda-queue", 99.4, 50.0), False),
        (run("static tuned", 99.5, 50.0), False),
    ):
        documents = suite(own, rival, run("aibrix-apa", 99.0, 200.0))
        (each,) = goals.beside_rivals(documents)
        assert bool(each.better) is better
        assert verdicts(goals, documents)["Traces"] is not better


def test_the_best_rival_keeps_as_much_and_is_as_shipped(goals: ModuleType) -> None:
    rivals = (run("a", 99.45, 160.0), run("b", 99.9, 140.0), run("c tuned", 99.9, 101.0), run("d", 90.0, 10.0))
    (each,) = goals.beside_rivals(suite(run("fleet", 99.5, 100.0), *rivals))
    assert goals.name_of(each.rival) == "b"
    assert each.saved == pytest.approx(1 - 100 / 140)


def test_where_no_rival_keeps_as_much_ratios_to_the_optimum_are_compared(goals: ModuleType) -> None:
    frontier = [{"attainmentPercent": 90.0, "replicaHours": 5.0, "cost": 5.0}, *FRONTIER]
    (each,) = goals.beside_rivals(suite(run("fleet", 99.0, 11.0), run("a", 90.0, 10.0), frontier=frontier))
    assert each.by_ratio
    assert each.saved == pytest.approx(1 - 1.1 / 2.0)


def test_a_rival_that_even_the_optimum_is_not_far_below_is_told_as_such(goals: ModuleType) -> None:
    for rival_hours, out_of_reach in ((12.0, 1), (15.0, 0)):
        documents = suite(run("fleet", 99.0, 11.5), run("a", 99.0, rival_hours))
        (each,) = goals.beside_rivals(documents)
        assert each.foreseen == pytest.approx(1 - 10 / rival_hours)
        (goal,) = [goal for goal in goals.goals(documents, {}) if goal.demand.startswith("Replica-hours")]
        assert goal.reached.endswith(f"; on {out_of_reach} of these the optimum is no 25 % below the rival")
        assert f"| {100 * each.foreseen:.0f} % |" in goals.rivals_table(documents)
    (each,) = goals.beside_rivals(suite(run("fleet", 99.0, 11.5), run("a", 99.0, 12.0), frontier=[]))
    assert each.foreseen is None


def test_days_are_told_beside_a_fixed_fleet_and_beside_what_foresight_would_save(goals: ModuleType) -> None:
    for kept, met in ((99.0, True), (98.9, False)):
        (part,) = suite(run("fleet", kept, 10.8), run("static tuned", 99.2, 20.0)).values()
        (goal,) = [goal for goal in goals.goals({"days": part}, {}) if goal.demand.startswith("Days")]
        assert goal.met is met
        assert goal.reached == f"t 46 % fewer (kept {kept:.2f}, fixed 99.20; the optimum 50 % fewer)"
    (part,) = suite(run("fleet", 99.0, 12.0), run("static tuned", 99.2, 20.0), frontier=[]).values()
    (goal,) = [goal for goal in goals.goals({"days": part}, {}) if goal.demand.startswith("Days")]
    assert goal.met is False
    assert goal.reached == "t 40 % fewer (kept 99.00, fixed 99.20)"


def test_a_trace_on_which_the_optimum_misses_too_breaks_no_promise(goals: ModuleType) -> None:
    assert verdicts(goals, suite(run("fleet", 98.0, 11.0)))["99"] is False
    low = [{"attainmentPercent": 98.5, "replicaHours": 5.0, "cost": 5.0}]
    assert verdicts(goals, suite(run("fleet", 98.0, 11.0), frontier=low))["99"] is None


def test_a_crowd_is_judged_by_a_fixed_fleet_that_costs_no_more(goals: ModuleType) -> None:
    own = run("fleet", 80.0, 20.0, trace_class="flash")
    for fixed, met in ((run("static tuned", 99.0, 19.0), False), (run("static tuned", 99.0, 21.0), True)):
        fixed["scenario"]["traceClass"] = "flash"
        assert verdicts(goals, suite(own, fixed))["Flash"] is met


def test_what_was_not_run_is_neither_met_nor_missed(goals: ModuleType) -> None:
    assert {met for demand, met in verdicts(goals, {}).items() if demand != "Noise"} == {None}


def test_what_limited_queues_do_is_told_beside_the_same_trace_without(goals: ModuleType) -> None:
    suite_runs = [run("fleet", 84.0, 20.0, trace="flash"), run("fleet", 86.0, 16.0, trace="flash")]
    limited = run("fleet", 90.0, 12.0, trace="flash, queue of 8,000 tokens")
    told = {
        goal.demand: goal
        for goal in goals.goals(
            {"suite": {"runs": suite_runs, "optimum": []}, "conditions": {"runs": [limited], "optimum": []}}, {}
        )
    }
    (limits,) = [goal for demand, goal in told.items() if "limit of the engines' queue" in demand]
    assert limits.reached == "flash 85.0 % at 9.0 -> 90.0 % at 6.0"
    (others,) = [goal for demand, goal in told.items() if demand.startswith("Starts of 60")]
    assert others.reached == "not run"
