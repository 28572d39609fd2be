"""Which variants carry the load, and when it moves between them."""

from __future__ import annotations

from typing import Any

import pytest

from builders.scaling import Scaler, limits, sample, variant, variant_limits
from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.fleets import (
    cheaper_fleet,
    cheapest_fleet,
    cut_to,
    fullest_fleet,
    smallest,
    step_down,
    wanted_fleet,
    without_hindrance,
    worth_exchanging,
)
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.preference import Preference
from inference_fleet.scaling.spread import Carrier, capacity
from inference_fleet.scaling.types import Decision, VariantObservation

SLOW = StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6)
FAST = StepTimeModel(base_seconds=16e-3, per_prefill_token_seconds=48e-6, per_decoding_sequence_seconds=18e-6)


def carrier(
    name: str,
    *,
    worth: float,
    cost: float | None,
    most: int = 10,
    full: float = 1.0,
    fixed: float = 0.0,
    ready: int = 0,
    lost: int = 0,
    least: int = 0,
) -> Carrier:
    bounds = variant_limits(name, cost_per_replica_hour=cost, max_replicas=most, min_replicas=least)
    seen = VariantObservation(name, desired=ready + lost, ready=ready, unschedulable=lost)
    return Carrier(limits=bounds, seen=seen, worth=worth, full=full, fixed=fixed)


# These two lose nothing together: a replica carries as much beside the other.
SMALL, LARGE = carrier("small", worth=1.0, cost=1.0), carrier("large", worth=4.5, cost=3.0)
BOTH = (SMALL, LARGE)
# An L4 and an A100, that hold 72 and 235 requests when full: beside the small one the large is filled to a third.
L4 = carrier("l4", worth=1.0, cost=1.0, full=72.0, fixed=0.33, most=32)
A100 = carrier("a100", worth=4.5, cost=3.0, full=235.0, fixed=0.22, most=32)
UNLIKE = (L4, A100)


def running(carriers: tuple[Carrier, ...], **ready: int) -> tuple[Carrier, ...]:
    return tuple(
        each._replace(seen=VariantObservation(each.name, desired=count, ready=count))
        for each in carriers
        for count in (ready.get(each.name, 0),)
    )


def test_ten_units_are_two_large_and_one_small_if_they_lose_nothing_together() -> None:
    assert cheapest_fleet(10.0, BOTH, main="large") == {"small": 1, "large": 2}  # 7, where three large are 9


def test_unlike_replicas_carry_less_together() -> None:
    assert capacity({"a100": 2}, UNLIKE) == 9.0
    together = capacity({"l4": 1, "a100": 2}, UNLIKE)
    assert 7.0 < together < 7.5  # 72 requests in each: 1 + 2 x 3.07
    assert cheapest_fleet(10.0, UNLIKE, main="a100") == {"l4": 0, "a100": 3}


@pytest.mark.parametrize(("load", "large", "small"), [(9.0, 2, 0), (9.1, 2, 1), (13.5, 3, 0), (12.1, 3, 0)])
def test_nothing_is_rounded_up_that_another_carries_for_less(load: float, large: int, small: int) -> None:
    assert cheapest_fleet(load, BOTH, main="large") == {"small": small, "large": large}


def test_what_the_main_variant_may_not_carry_falls_to_the_next() -> None:
    few = carrier("large", worth=4.5, cost=3.0, most=1)
    assert cheapest_fleet(6.0, (SMALL, few), main="large") == {"small": 2, "large": 1}
    without_devices = carrier("large", worth=4.5, cost=3.0, ready=1, lost=2)
    assert cheapest_fleet(6.0, (SMALL, without_devices), main="large") == {"small": 2, "large": 1}


def test_what_no_variant_can_carry_is_asked_of_the_main_one() -> None:
    none = (carrier("small", worth=1.0, cost=1.0, lost=1), carrier("large", worth=4.5, cost=3.0, lost=1))
    assert cheapest_fleet(9.0, none, main="large") == {"small": 0, "large": 2}


def test_minima_are_kept_and_count() -> None:
    least = carrier("small", worth=1.0, cost=1.0, least=2)
    assert cheapest_fleet(6.0, (least, LARGE), main="large") == {"small": 2, "large": 1}


def test_without_prices_the_first_is_filled_before_the_next() -> None:
    carriers = (carrier("first", worth=1.0, cost=None, most=3), carrier("next", worth=4.0, cost=None))
    assert cheapest_fleet(6.0, carriers, main="first") == {"first": 3, "next": 1}
    chosen = Preference().learned({"first": 9.0, "next": 1.0}, seconds=15.0, age=0.0)
    assert chosen.chosen(6.0, carriers, cold_start=120.0, most=20).main == "first"


def test_more_load_goes_to_what_runs_where_a_move_would_not_pay_in_an_hour() -> None:
    on_l4 = running(UNLIKE, l4=2)
    assert wanted_fleet(3.0, on_l4, main="a100", cold_start=120.0, most=32) == {"l4": 3, "a100": 0}  # 3, or 3 to start
    assert wanted_fleet(9.0, on_l4, main="a100", cold_start=120.0, most=32) == {"l4": 0, "a100": 2}  # 9, or 6


@pytest.mark.parametrize(
    ("ready", "keep", "most", "then"),
    [
        ({"l4": 9}, 9.0, 32, {"l4": 9, "a100": 2}),  # 9 an hour, or 6
        ({"l4": 9}, 9.0, 10, {"l4": 9, "a100": 0}),  # no room for both
        ({"l4": 3}, 3.0, 32, {"l4": 3, "a100": 0}),  # 3, or 3
        ({"a100": 2}, 4.0, 32, {"l4": 0, "a100": 2}),  # less, nowhere to move
    ],
)
def test_the_load_moves_only_where_that_soon_pays(
    ready: dict[str, int], keep: float, most: int, then: dict[str, int]
) -> None:
    current = {"l4": 0, "a100": 0, **ready}
    assert cheaper_fleet(current, keep, running(UNLIKE, **ready), main="a100", cold_start=120.0, most=most) == then


def test_without_prices_nothing_moves() -> None:
    unpriced = (carrier("a", worth=1.0, cost=None), LARGE)
    current = {"a": 6, "large": 0}
    assert cheaper_fleet(current, 6.0, unpriced, main="large", cold_start=1.0, most=20) == current


def test_the_old_fleet_serves_until_the_new_one_does() -> None:
    start = {"l4": 9, "a100": 2}
    starting = (running(UNLIKE, l4=9)[0], A100)
    assert smallest(start, 9.0, starting) == start
    assert smallest(start, 9.0, running(UNLIKE, l4=9, a100=2)) == {"l4": 0, "a100": 2}
    # A move that is not wanted any more is given up: 3 carry it.
    assert smallest(start, 2.0, starting) == {"l4": 2, "a100": 0}


def test_a_step_down_takes_at_most_a_quarter_of_what_the_fleet_carries() -> None:
    ready = running(UNLIKE, l4=0, a100=8)
    assert step_down({"l4": 0, "a100": 8}, {"l4": 0, "a100": 2}, ready) == {"l4": 0, "a100": 6}
    # Five L4 at once: with them the two A100 carry 11.2, by themselves 9.
    assert step_down({"l4": 5, "a100": 2}, {"l4": 0, "a100": 2}, ready) == {"l4": 0, "a100": 2}
    assert step_down({"l4": 0, "a100": 2}, {"l4": 0, "a100": 1}, ready) == {"l4": 0, "a100": 1}


def test_a_small_replica_that_keeps_large_ones_from_filling_up_goes() -> None:
    current = {"l4": 1, "a100": 2}
    assert without_hindrance(current, running(UNLIKE, l4=1, a100=2)) == {"l4": 0, "a100": 2}
    assert without_hindrance(current, (running(UNLIKE, l4=1)[0], A100)) == current  # they do not serve yet
    assert without_hindrance({"small": 1, "large": 2}, running(BOTH, small=1, large=2)) == {"small": 1, "large": 2}


def test_the_main_variant_is_the_one_that_alone_was_cheaper_for_long_enough() -> None:
    preference = Preference()
    for tick in range(240):
        preference = preference.learned({"l4": 9.0, "a100": 6.0}, seconds=15.0, age=15.0 * tick)
        preference = preference.chosen(9.0, UNLIKE, cold_start=120.0, most=32)
    assert preference.main == "a100"
    for tick in range(4):  # a minute in which the other would have been cheaper
        preference = preference.learned({"l4": 1.0, "a100": 3.0}, seconds=15.0, age=3600.0 + 15.0 * tick)
        preference = preference.chosen(1.0, UNLIKE, cold_start=120.0, most=32)
    assert preference.main == "a100"
    for tick in range(480):
        preference = preference.learned({"l4": 1.0, "a100": 3.0}, seconds=15.0, age=3660.0 + 15.0 * tick)
        preference = preference.chosen(1.0, UNLIKE, cold_start=120.0, most=32)
    assert preference.main == "l4"


def test_a_small_saving_does_not_move_the_load() -> None:
    on_l4 = running(UNLIKE, l4=9)
    for saved, then in ((0.1, "l4"), (3.0, "a100")):
        preference = Preference("l4", (("l4", 9.0), ("a100", 9.0 - saved)))
        # Two A100 beside nine L4 for two starts of 120 s are 0.4.
        assert preference.chosen(9.0, on_l4, cold_start=120.0, most=32).main == then
    dearer = Preference("l4", (("l4", 6.0), ("a100", 9.0)))
    assert dearer.chosen(9.0, on_l4, cold_start=120.0, most=32).main == "l4"


def test_a_fleet_as_large_as_the_maximum_fits_it() -> None:
    # Nine L4 are cheapest, and nine are allowed.
    cheap = (L4._replace(limits=variant_limits("l4", max_replicas=32, cost_per_replica_hour=0.5)), A100)
    assert wanted_fleet(9.0, cheap, main="l4", cold_start=120.0, most=9) == {"l4": 9, "a100": 0}
    assert wanted_fleet(9.0, cheap, main="l4", cold_start=120.0, most=8) == {"l4": 0, "a100": 2}


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


DEAR = carrier("large", worth=4.0, cost=8.0)


def test_of_few_replicas_those_that_carry_most_carry_most() -> None:
    assert fullest_fleet(3, (SMALL, DEAR)) == {"small": 0, "large": 3}
    few = carrier("large", worth=4.0, cost=8.0, most=1)
    assert fullest_fleet(3, (SMALL, few)) == {"small": 2, "large": 1}
    without_devices = carrier("large", worth=4.0, cost=8.0, ready=0, lost=1)
    assert fullest_fleet(3, (SMALL, without_devices)) == {"small": 3, "large": 0}
    # An L4 would be filled as an A100 is, and carry less than it takes from it.
    assert fullest_fleet(3, (L4, carrier("a100", worth=4.5, cost=3.0, full=235.0, fixed=0.22, most=2))) == {
        "l4": 0,
        "a100": 2,
    }


@pytest.mark.parametrize(
    ("small", "load", "lacked", "cheapest", "most", "then"),
    [
        (3, 10.0, 120.0, "large", 3, {"small": 2, "large": 1}),
        (12, 40.0, 120.0, "large", 12, {"small": 9, "large": 3}),  # a quarter at once
        (3, 10.0, 119.0, "large", 3, None),  # a moment
        (12, 14.0, 120.0, "large", 12, None),  # 12 that give way for a start cost more than 2 bring in one
        (12, 14.0, 720.0, "large", 12, {"small": 9, "large": 3}),  # and less than they bring in six
        (3, 10.0, 120.0, "small", 3, None),  # their money is more than the late requests are worth
        (3, 10.0, 120.0, "large", 4, None),  # there is room for one more
        (3, 3.0, 120.0, "large", 3, None),  # they carry the load
    ],
)
def test_replicas_that_fill_the_maximum_give_way_to_larger_ones_where_that_pays(
    small: int, load: float, lacked: float, cheapest: str, most: int, then: dict[str, int] | None
) -> None:
    current = {"small": small, "large": 0}
    carriers = (carrier("small", worth=1.0, cost=1.0, most=12), carrier("large", worth=4.0, cost=8.0, most=12))
    step = worth_exchanging(current, load, carriers, cheapest=cheapest, lacked=lacked, cold_start=120.0, most=most)
    assert step == then


def test_without_prices_larger_ones_are_taken_for_their_capacity() -> None:
    carriers = (carrier("small", worth=1.0, cost=None), carrier("large", worth=4.0, cost=None))
    current = {"small": 3, "large": 0}
    step = worth_exchanging(current, 9.0, carriers, cheapest="small", lacked=60.0, cold_start=60.0, most=3)
    assert step == {"small": 2, "large": 1}


def test_more_than_the_maximum_is_cut_to_what_carries_most() -> None:
    assert cut_to(3, {"small": 3, "large": 1}, (SMALL, DEAR)) == {"small": 2, "large": 1}
    assert cut_to(9, {"small": 3, "large": 1}, (SMALL, DEAR)) == {"small": 3, "large": 1}
    least = carrier("small", worth=1.0, cost=1.0, least=2)
    assert cut_to(3, {"small": 3, "large": 2}, (least, DEAR)) == {"small": 2, "large": 1}
    assert cut_to(1, {"small": 3, "large": 2}, (least, DEAR)) == {"small": 1, "large": 0}
    assert cut_to(2, {"small": 5}, (SMALL,)) == {"small": 2}


class TwoVariants:
    """Engines of a slow and cheap and of a fast and dear variant, at most three, and more than three slow ones carry.

    35 requests a second, of 964 prompt and 206 output tokens, spread evenly: 8.2 of the slow ones.
    """

    def __init__(self, *, cold_start: float = 20.0, fast_cost: float = 6.0, **overrides: Any) -> None:
        usual = {"max_num_seqs": 256, "cold_start_seconds": cold_start}
        self.scaler = Scaler(
            limits(
                variant_limits("slow", step_time=SLOW, cost_per_replica_hour=1.0, **usual),
                variant_limits("fast", step_time=FAST, cost_per_replica_hour=fast_cost, **usual),
                **{"max_replicas": 3, **overrides},
            )
        )
        self.served: dict[str, float] = {}

    def tick(
        self, *, slow: int, fast: int, starting: int = 0, rate: float = 35.0, silent: bool = False, **fast_ones: int
    ) -> Decision:
        """With so many ready; `starting` more of the fast ones. fast_ones: how many of these lack what."""
        seen = []
        for name, ready, coming in (("slow", slow, 0), ("fast", fast, starting)):
            pods = tuple(f"{name}-{place}" for place in range(ready))
            for pod in pods:
                self.served[pod] = self.served.get(pod, 0.0) + rate * 15 / (slow + fast)
            samples = tuple(
                sample(
                    pod,
                    at=self.scaler.now,
                    running=200.0 * rate / 35.0,
                    prompt_tokens=964 * self.served[pod],
                    generation_tokens=206 * self.served[pod],
                    finished_requests=self.served[pod],
                )
                for pod in pods
            )
            answered = samples[1:] if silent and name == "slow" else samples
            seen.append(
                VariantObservation(
                    name,
                    desired=ready + coming,
                    ready=ready,
                    starting=coming,
                    ready_pods=pods,
                    pods=answered,
                    **(fast_ones if name == "fast" else {}),
                )
            )
        return self.scaler.tick(*seen)

    def until_exchanged(self, *, slow: int, fast: int, ticks: int = 40) -> Decision:
        for _ in range(ticks):
            decision = self.tick(slow=slow, fast=fast)
            if dict(decision.replicas) != {"slow": slow, "fast": fast}:
                break
        return decision


def test_a_fleet_at_its_maximum_that_cannot_carry_the_load_is_exchanged_one_by_one() -> None:
    fleet = TwoVariants()
    first = fleet.until_exchanged(slow=3, fast=0)
    assert dict(first.replicas) == {"slow": 2, "fast": 1}
    assert first.exchange == "1 of fast replaces 1 of slow"
    assert f"scaling.maxReplicas allows 3; {first.exchange}" in first.message
    assert first.limited_by == ("scaling.maxReplicas",)
    # The slow one serves until the fast one does, and no further one is exchanged meanwhile.
    for _ in range(10):
        assert dict(fleet.tick(slow=3, fast=0, starting=1).replicas) == {"slow": 2, "fast": 1}
    assert dict(fleet.tick(slow=3, fast=1).replicas) == {"slow": 2, "fast": 1}
    second = fleet.until_exchanged(slow=2, fast=1)
    assert dict(second.replicas) == {"slow": 1, "fast": 2}


def test_one_that_waits_for_a_device_is_kept_and_one_that_fails_is_not() -> None:
    fleet = TwoVariants()
    fleet.until_exchanged(slow=3, fast=0)
    for _ in range(10):
        # It costs nothing, the slow ones serve on, and a node may be made for it.
        assert dict(fleet.tick(slow=3, fast=0, starting=1, unschedulable=1).replicas) == {"slow": 2, "fast": 1}
    assert dict(fleet.tick(slow=3, fast=0, starting=1, failing=1).replicas) == {"slow": 3, "fast": 0}


def test_nothing_is_exchanged_for_a_load_of_a_moment_or_while_a_pod_is_silent() -> None:
    fleet = TwoVariants(cold_start=120.0)
    for tick in range(100):
        moment = 60 <= tick < 64
        decision = fleet.tick(slow=3, fast=0, rate=35.0 if moment else 3.0)
        assert dict(decision.replicas)["fast"] == 0
        assert ("allows 3" in decision.message) or not moment
    fleet = TwoVariants()
    assert all(dict(fleet.tick(slow=3, fast=0, silent=True).replicas) == {"slow": 3, "fast": 0} for _ in range(40))


def test_in_its_first_minutes_a_scaler_exchanges_nothing() -> None:
    fleet = TwoVariants()
    fleet.scaler.memory = ScalerMemory.empty()
    began = fleet.scaler.now
    decision = fleet.until_exchanged(slow=3, fast=0)
    assert decision.time - began >= 70.0  # three and a half starts of 20 s
    assert dict(decision.replicas) == {"slow": 2, "fast": 1}


def test_a_maximum_that_is_lowered_leaves_what_carries_most() -> None:
    fleet = TwoVariants(max_replicas=2)
    assert dict(fleet.tick(slow=3, fast=1).replicas) == {"slow": 1, "fast": 1}


def test_larger_ones_that_are_cheaper_for_what_they_carry_take_the_maximum_at_once() -> None:
    fleet = TwoVariants(fast_cost=3.0)
    for _ in range(3):
        decision = fleet.tick(slow=3, fast=0)
    assert dict(decision.replicas)["fast"] >= 2
    assert sum(dict(decision.replicas).values()) == 3


def test_a_fleet_that_lacks_never_gives_up_capacity_for_the_cheaper_variant() -> None:
    fleet = TwoVariants()
    fleet.tick(slow=0, fast=3, rate=70.0)  # the first has no rates yet
    for _ in range(20):
        # Six slow ones would be cheaper than two fast ones, but no more than three are allowed.
        assert dict(fleet.tick(slow=0, fast=3, rate=70.0).replicas) == {"slow": 0, "fast": 3}
