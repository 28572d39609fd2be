"""The offline optimum: a plan by hand, the frontier's shape, and its measure."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation import optimum
from inference_fleet.simulation.course import Courses, FrontierPoint
from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.optimum import cost_at, frontier
from inference_fleet.simulation.plan import Kind, cheapest_plan
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.policies.static import STATIC
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.run import simulate
from inference_fleet.simulation.scenario import Scenario, objectives_of
from inference_fleet.simulation.synthetic import Shape, generate


def test_a_replica_is_kept_over_a_gap_shorter_than_its_start() -> None:
    # Two replicas are needed in minutes 0, 2 and 7; a minute of one costs 60, a start 120.
    misses = np.array([[9.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 9.0], [0.0] * 8])
    plan = cheapest_plan([Kind((1, 2), 1.0, 120.0, 2)], misses, price=1000.0)
    # Over minute 1 it is kept (60 < 120); over minutes 3 to 6 it is not (240 > 120).
    assert [count for (count,) in plan] == [2, 2, 2, 1, 1, 1, 1, 2]


def test_misses_are_accepted_when_they_cost_less_than_a_replica() -> None:
    misses = np.array([[9.0, 0.0], [0.0, 0.0]])
    kind = Kind((1, 2), 1.0, 120.0, 1)
    assert cheapest_plan([kind], misses, price=1.0) == ((1,), (1,))
    # 9 misses at 100 are dearer than a start and a minute: 900 > 180.
    assert cheapest_plan([kind], misses, price=100.0) == ((2,), (1,))


def test_of_two_kinds_the_cheaper_way_is_taken() -> None:
    # One dear replica (3 a second) does what two cheap ones (1) do; a minute needs as much as one dear one.
    misses = np.full((3, 2, 4), 9.0)
    misses[2, :] = misses[:, 1] = 0.0
    cheap, dear = Kind((0, 1, 2), 1.0, 120.0, 0), Kind((0, 1), 3.0, 120.0, 0)
    assert cheapest_plan([cheap, dear], misses, price=1000.0) == ((2, 0),) * 4
    # A dear one that runs already costs no start: 3 x 60 x 4 < 2 x (60 x 4 + 120) + 1.
    running = Kind((0, 1), 2.9, 120.0, 1)
    assert cheapest_plan([cheap, running], misses, price=1000.0) == ((0, 1),) * 4


def test_minutes_that_do_not_count_are_used_to_start() -> None:
    misses = np.array([[9.0] * 4, [0.0] * 4])
    kind = Kind((1, 2), 1.0, 120.0, 1)
    # A start and a replica in each of four minutes cost 360; the misses 20 a minute.
    assert cheapest_plan([kind], misses, price=20 / 9) == ((1,),) * 4
    # With two of the minutes and half a start for nothing the last minutes are worth it, begun in time.
    assert cheapest_plan([kind], misses, price=80 / 9, free_slots=2) == ((2,),) * 4


def brute_force(kinds: list[Kind], misses: np.ndarray, price: float) -> float:
    """The cost of the best of all courses, by trying them all."""
    fleets = list(itertools.product(*(kind.sizes for kind in kinds)))

    def cost(course: tuple[tuple[int, ...], ...]) -> float:
        total, before = 0.0, tuple(kind.start for kind in kinds)
        for slot, fleet in enumerate(course):
            places = tuple(kind.sizes.index(count) for kind, count in zip(kinds, fleet, strict=True))
            total += price * misses[(*places, slot)]
            for kind, count, earlier in zip(kinds, fleet, before, strict=True):
                total += kind.cost * (60 * count + kind.cold_start_seconds * max(0, count - earlier))
            before = fleet
        return total

    return min(cost(course) for course in itertools.product(fleets, repeat=misses.shape[-1]))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_course_is_cheaper(seed: int) -> None:
    chance = np.random.default_rng(seed)
    kinds = [Kind((0, 1, 2), 1.0, 90.0, 1), Kind((0, 1), 2.5, 150.0, 0)]
    misses = chance.integers(0, 20, (3, 2, 4)).astype(float)
    plan = cheapest_plan(kinds, misses, price=30.0)
    only = [Kind((0, 1, 2), 1.0, 90.0, 1), Kind((0, 1), 2.5, 150.0, 0)]
    found = sum(30.0 * misses[a, b, slot] + 60 * (a + 2.5 * b) for slot, (a, b) in enumerate(plan)) + sum(
        90.0 * max(0, a - before_a) + 2.5 * 150.0 * max(0, b - before_b)
        for (before_a, before_b), (a, b) in itertools.pairwise([(1, 0), *plan])
    )
    assert found == pytest.approx(brute_force(only, misses, 30.0))


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


def test_no_rule_is_cheaper_than_the_optimum_that_keeps_as_much(scenario: Scenario) -> None:
    points = frontier(scenario)
    for name in ("fleet", "llm-d-slo-aware", "hpa-concurrency", "keda-queue"):
        outcome = simulate(scenario, POLICIES[name]).outcome
        assert outcome.cost > cost_at(points, outcome.attainment_percent), name


def test_of_very_many_requests_only_courses_around_the_target_are_sought(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought: list[float] = []

    def planned(survey: Any, *, missed: float, free_slots: int) -> tuple[Any, float]:
        sought.append(missed / len(scenario.workload.arrivals))
        return plan(survey, missed=missed, free_slots=free_slots)

    plan = optimum._plan
    monkeypatch.setattr(optimum, "_plan", planned)
    whole = frontier(scenario)
    assert {round(budget, 4) for budget in sought} == set(optimum.BUDGETS)
    monkeypatch.setattr(optimum, "VERY_MANY_REQUESTS", len(scenario.workload.arrivals) - 1)
    objectives = tuple(objective._replace(target=0.9) for objective in scenario.objectives)
    for target, asked, budgets in (
        (90.0, replace(scenario, objectives=objectives), {0.2, 0.1, 0.05, 0.03}),
        (99.0, scenario, {0.02, 0.01, 0.005, 0.003}),
    ):
        sought.clear()
        near = frontier(asked)
        assert {round(budget, 4) for budget in sought} == budgets
        assert cost_at(near, target) == pytest.approx(cost_at(whole, target), rel=0.1)
    assert optimum._budgets(replace(scenario, objectives=())) == (0.02, 0.01, 0.005, 0.003), "as the scaler takes it"


@pytest.fixture(scope="module")
def both(scenario: Scenario) -> Scenario:
    slow = scenario.variants[0]
    fast = EngineModel(
        step_time=StepTimeModel(
            base_seconds=16e-3, per_prefill_token_seconds=200e-6, per_decoding_sequence_seconds=30e-6
        )
    )
    return replace(scenario, variants=(slow, VariantModel(name="b", engine=fast, cost_per_hour=2.0)), start=(3, 0))


@pytest.mark.parametrize("place", [0, 1])
def test_the_optimum_over_both_variants_is_never_dearer_than_over_one(both: Scenario, place: int) -> None:
    alone = replace(both, variants=both.variants[place : place + 1], start=(3,))
    whole = frontier(replace(both, start=(3, 0) if place == 0 else (0, 3)))
    for point in frontier(alone):
        assert any(
            each.attainment_percent >= point.attainment_percent and each.cost <= point.cost + 1e-9 for each in whole
        ), point


def test_a_course_with_too_many_replicas_is_bettered_within_the_bounds(scenario: Scenario) -> None:
    bounded = replace(scenario, min_replicas=2)
    courses = Courses(bounded)
    begun = courses.follow(((9,),) * 40)
    price = 1e-3
    courses.better(price=price, rounds=8, kinds=(0,))
    best = min(courses.tried.values(), key=lambda course: course.priced(price))
    assert best.priced(price) < 0.9 * begun.priced(price)
    assert all(2 <= count <= 10 for course in courses.tried.values() for (count,) in course.plan)
