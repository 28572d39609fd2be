"""What a miss costs, and the replicas that follow."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_fleet.scaling.forecast import Outlook
from inference_fleet.scaling.price import (
    LEAST_PRICE,
    MOST_PRICE,
    START_PRICE,
    Budget,
    cheapest,
    expected_misses,
    price_in_replicas,
    pure_price,
    worth_starting,
)
from inference_fleet.scaling.types import DAY_SECONDS
from inference_fleet.scaling.violation_curve import Curve, ViolationCurve

SURE = (0.0,)
CURVE = ViolationCurve().curve()


def outlook(demand: float, *errors: float) -> Outlook:
    known = tuple(sorted(errors)) or SURE
    return Outlook(math.log(demand), known, weights=(1 / len(known),) * len(known))


def test_a_young_scaler_begins_at_the_usual_price_whatever_happens_first() -> None:
    unlucky = Budget().learned(misses=50, requests=100, seconds=15.0)
    assert pure_price(unlucky.spent(target=0.99, age=60.0), target=0.99) == pytest.approx(START_PRICE)


def test_a_day_that_keeps_the_promise_is_cheaper_than_one_that_does_not() -> None:
    def price_after_a_day(share: float) -> float:
        budget = Budget()
        for _ in range(96):
            budget = budget.learned(misses=1e4 * share, requests=1e4, seconds=900.0)
        return pure_price(budget.spent(target=0.99, age=DAY_SECONDS), target=0.99)

    assert price_after_a_day(0.0) == LEAST_PRICE
    assert price_after_a_day(0.02) == MOST_PRICE
    assert LEAST_PRICE < price_after_a_day(0.0055) < price_after_a_day(0.006) < MOST_PRICE


def days(*shares: float, budget: Budget | None = None) -> Budget:
    """One after the other, with these shares of requests missed, evenly over each day."""
    budget = Budget() if budget is None else budget
    for share in shares:
        for _ in range(96):
            budget = budget.learned(misses=1e4 * share, requests=1e4, seconds=DAY_SECONDS / 96)
    return budget


def test_a_bad_day_keeps_the_price_up_for_days() -> None:
    after = [days(0.02, *[0.002] * calm).spent(target=0.99, age=10 * DAY_SECONDS) for calm in range(8)]
    assert after == sorted(after, reverse=True)
    # Of the day alone two calm days would leave (0.02 e^-2 + 0.002) / 0.01 = 0.47, the least price.
    assert pure_price(after[2], target=0.99) > START_PRICE
    assert pure_price(after[7], target=0.99) == LEAST_PRICE


def test_a_bad_day_after_a_calm_week_raises_the_price_on_that_day() -> None:
    calm = days(*[0.0005] * 14)
    assert pure_price(calm.spent(target=0.99, age=14 * DAY_SECONDS), target=0.99) == LEAST_PRICE
    bad = days(0.015, budget=calm)
    assert pure_price(bad.spent(target=0.99, age=15 * DAY_SECONDS), target=0.99) > START_PRICE


def test_a_checkpoint_that_knows_no_week_goes_on_with_its_day() -> None:
    former = Budget(misses=40.0, requests=10_000.0)
    after = former.learned(misses=1.0, requests=5.0, seconds=15.0)
    assert after.week_misses == pytest.approx(41.0, rel=1e-3)
    assert after.week_requests == pytest.approx(10_005.0, rel=1e-3)
    # The one late request of five is no week.
    assert after.spent(target=0.99, age=DAY_SECONDS) < 1.0


def test_a_stricter_promise_pays_as_many_times_more() -> None:
    assert pure_price(0.95, target=0.999) == pytest.approx(10 * pure_price(0.95, target=0.99))


def test_more_is_bought_for_a_higher_price_and_for_less_certainty() -> None:
    sure = cheapest(outlook(4.0), CURVE, price=100.0, most=100).replicas
    dear = cheapest(outlook(4.0), CURVE, price=1000.0, most=100).replicas
    unsure = cheapest(outlook(4.0, -0.5, 0.0, 0.5), CURVE, price=100.0, most=100).replicas
    assert 4 <= sure < dear
    assert sure < unsure


def test_misses_that_no_replica_saves_are_not_paid_for() -> None:
    floored = Curve(tuple(0.03 + 0.97 * share for share in CURVE.shares))
    plain = cheapest(outlook(4.0), CURVE, price=100.0, most=100).replicas
    assert abs(cheapest(outlook(4.0), floored, price=100.0, most=100).replicas - plain) <= 1


def test_nothing_can_be_bought_where_all_are_late_at_any_load() -> None:
    assert cheapest(outlook(4.0), Curve((1.0,) * 28), price=1e4, most=100).replicas == 1


@settings(max_examples=40, deadline=None)
@given(
    demand=st.floats(0.02, 100.0),
    price=st.floats(0.1, 5e3),
    errors=st.lists(st.floats(-2, 2), min_size=1, max_size=8),
)
def test_no_other_tolerable_number_costs_less(demand: float, price: float, errors: list[float]) -> None:
    """Against every N up to 1,500, tolerance of the search for large fleets apart."""
    seen = outlook(demand, *sorted(errors))

    def expected(replicas: int) -> float:
        return sum(
            w * CURVE.at(seen.log_demand + e - math.log(replicas))
            for e, w in zip(seen.errors, seen.weights, strict=True)
        )

    choice = cheapest(seen, CURVE, price=price, most=1500)
    tolerable = [n for n in range(1, 1501) if expected(n) <= CURVE.floor + 0.15] or [1500]
    best = min(n + price * expected(n) for n in tolerable)
    assert choice.misses == pytest.approx(expected(choice.replicas), abs=1e-9)
    assert choice.replicas + price * choice.misses <= best * 1.02 + 1e-6


@given(demand=st.floats(0.1, 50.0), factor=st.floats(1.0, 20.0), price=st.floats(1.0, 1e3))
def test_more_demand_never_asks_for_fewer(demand: float, factor: float, price: float) -> None:
    def wanted(load: float) -> int:
        seen = outlook(load, -0.2, 0.0, 0.3)
        return cheapest(seen, CURVE, price=price_in_replicas(price, demand=seen.demand), most=4096).replicas

    assert wanted(demand * factor) >= wanted(demand)


def test_one_replica_more_has_to_pay_for_its_start_and_its_hold() -> None:
    some, curve = outlook(4.0, -0.1, 0.0, 0.1), ViolationCurve().curve()
    lasting = cheapest(some, curve, price=20.0, most=100).replicas
    wanted = cheapest(some, curve, price=40.0, most=100).replicas
    assert wanted == lasting + 1  # else the rest says nothing
    assert worth_starting(some, curve, price=40.0, most=100, present=lasting).replicas == lasting
    # It says what to expect of the fleet as it stays.
    kept = worth_starting(some, curve, price=40.0, most=100, present=lasting)
    assert kept.misses == pytest.approx(expected_misses(some, curve, capacity=lasting))
    # What is there is not given up for it, and what is missing by more is started at once.
    assert worth_starting(some, curve, price=40.0, most=100, present=wanted).replicas == wanted
    assert worth_starting(some, curve, price=40.0, most=100, present=lasting - 1).replicas == wanted
    assert worth_starting(some, curve, price=40.0, most=100, present=0.0).replicas == wanted


@given(st.floats(0.1, 200.0), st.floats(1.0, 5000.0), st.floats(0.0, 300.0))
def test_what_is_worth_starting_is_never_more_than_the_cheapest_nor_less_than_what_is_there_of_it(
    demand: float, price: float, present: float
) -> None:
    some, curve = outlook(demand, -0.2, 0.0, 0.2), ViolationCurve().curve()
    best = cheapest(some, curve, price=price, most=4096).replicas
    found = worth_starting(some, curve, price=price, most=4096, present=present).replicas
    assert min(best, present) <= found <= best
