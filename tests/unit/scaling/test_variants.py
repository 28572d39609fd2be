"""Which variants carry the load, and when it moves between them."""

from __future__ import annotations

import pytest

from builders.scaling import Scaler, limits, variant, variant_limits
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.spread import Carrier, cheaper_fleet, replicas_for_load, worths_by_cost
from inference_fleet.scaling.types import VariantObservation

SLOW = StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6)
FAST = StepTimeModel(base_seconds=16e-3, per_prefill_token_seconds=48e-6, per_decoding_sequence_seconds=18e-6)


def carrier(name: str, *, worth: float, cost: float | None, most: int = 10) -> Carrier:
    return Carrier(
        limits=variant_limits(name, cost_per_replica_hour=cost, max_replicas=most),
        seen=VariantObservation(name, desired=0, ready=0),
        worth=worth,
    )


SMALL, LARGE = carrier("small", worth=1.0, cost=2.0), carrier("large", worth=4.0, cost=9.0)


def test_the_cheapest_by_what_it_carries_comes_first() -> None:
    assert replicas_for_load(6.0, (LARGE, SMALL), kept={}) == {"large": 0, "small": 6}
    dearer = carrier("small", worth=1.0, cost=2.5)
    assert replicas_for_load(6.0, (LARGE, dearer), kept={}) == {"large": 2, "small": 0}


def test_what_the_cheapest_may_not_carry_falls_to_the_next() -> None:
    few = carrier("small", worth=1.0, cost=2.0, most=3)
    assert replicas_for_load(6.0, (LARGE, few), kept={}) == {"large": 1, "small": 3}


def test_the_dearest_go_first() -> None:
    assert worths_by_cost({"small": 2, "large": 1}, (LARGE, SMALL)) == (4.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("current", "need", "most", "then"),
    [
        ({"small": 0, "large": 2}, {"small": 5, "large": 0}, 10, {"small": 5, "large": 2}),  # 18 an hour, or 10
        ({"small": 0, "large": 2}, {"small": 5, "large": 0}, 6, {"small": 0, "large": 2}),  # no room for both
        ({"small": 0, "large": 2}, {"small": 9, "large": 0}, 20, {"small": 0, "large": 2}),  # 18, or 18
        ({"small": 5, "large": 0}, {"small": 3, "large": 0}, 10, {"small": 5, "large": 0}),  # less, nowhere to move
    ],
)
def test_the_load_moves_only_where_that_soon_pays(
    current: dict[str, int], need: dict[str, int], most: int, then: dict[str, int]
) -> None:
    assert cheaper_fleet(current, need, (LARGE, SMALL), cold_start=120.0, most=most) == then


def test_without_prices_nothing_moves() -> None:
    unpriced = (carrier("large", worth=4.0, cost=None), SMALL)
    assert cheaper_fleet({"small": 0, "large": 2}, {"small": 5, "large": 0}, unpriced, cold_start=1.0, most=20) == {
        "small": 0,
        "large": 2,
    }


def test_a_variant_is_worth_what_its_engine_carries_of_this_traffic() -> None:
    scaler = Scaler(
        limits(
            variant_limits("slow", step_time=SLOW, max_num_seqs=256, cost_per_replica_hour=1.0),
            variant_limits("fast", step_time=FAST, max_num_seqs=256, cost_per_replica_hour=6.0),
        )
    )
    decision = scaler.tick(variant("slow", at=scaler.now, ready=2), VariantObservation("fast", desired=0, ready=0))
    worth = {term.name: term.value for term in decision.terms if term.name.startswith("worth/")}
    assert worth["worth/slow"] == 1.0
    assert worth["worth/fast"] == pytest.approx(4.0, rel=0.15)  # prefill is four times as fast
