"""Replicas that stand by for loads that no forecast saw coming: for how long, and for which loads."""

from __future__ import annotations

import pytest

from builders.scaling import Scaler, limits, variant, variant_limits
from inference_fleet.scaling.memory import MAXIMUM_BYTES, ScalerMemory
from inference_fleet.scaling.standby import HOLDS_COLD_STARTS, LEVELS, Level, Standby
from inference_fleet.scaling.types import Rule
from inference_fleet.scaling.violation_curve import ViolationCurve

TICK = 15.0
COLD_START = 120.0
QUIET, CROWD = 0.5, 6.0
CURVE = ViolationCurve().curve()
# Of all requests of a replica's demand missing, in replicas: what a day that keeps its promise comes to.
PRICE = 40.0


class Hours:
    """A quiet load with crowds in it, and what stands by. No forecast sees a crowd that has not begun."""

    def __init__(self) -> None:
        self.standby, self.now, self.kept = Standby(), 0.0, 0

    def of(self, demand: float, *, seconds: float, foreseen: float = 1.0, queued: bool = False) -> Hours:
        for _ in range(round(seconds / TICK)):
            self.standby = self.standby.learned(
                demand,
                curve=CURVE,
                price=PRICE * demand,
                foreseen=foreseen,
                wanted=1.0,
                cold_start=COLD_START,
                seconds=TICK,
                now=self.now,
                queued=queued,
            )
            self.kept = self.standby.replicas(cold_start=COLD_START, now=self.now)
            self.now += TICK
        return self

    def crowds(self, *, count: int, apart: float, foreseen: float = 1.0) -> Hours:
        for _ in range(count):
            self.of(QUIET, seconds=apart).of(CROWD, seconds=300, foreseen=foreseen)
        return self


def test_crowds_that_come_back_every_hour_find_replicas_ready() -> None:
    hours = Hours().crowds(count=2, apart=3600.0)
    assert hours.of(QUIET, seconds=3500.0).kept >= 7


def test_a_crowd_that_came_once_in_half_a_day_gets_the_shortest_hold() -> None:
    hours = Hours().crowds(count=1, apart=12 * 3600.0)
    assert hours.kept >= 7
    assert hours.of(QUIET, seconds=2 * COLD_START).kept <= 2


def test_crowds_that_stay_away_are_given_up() -> None:
    hours = Hours().crowds(count=2, apart=1800.0)
    assert hours.of(QUIET, seconds=1800.0).kept >= 7
    assert hours.of(QUIET, seconds=24 * 3600.0).kept <= 2


def test_a_hold_pays_its_idle_time_and_the_start_after_it_is_over() -> None:
    again = Level(used=0.0).begun(cold_start=100.0, now=1000.0)
    # Holds of 100 to 800 s are over and pay a start; those of 1,600 s and more pay the 1,000 s alone.
    assert again.costs == (200.0, 300.0, 500.0, 900.0, 1000.0, 1000.0, 1000.0, 1000.0)
    assert again.late == 4
    # What came late meanwhile is paid by those that had let the replica go.
    assert again.missed(50.0).costs == (250.0, 350.0, 550.0, 950.0, 1000.0, 1000.0, 1000.0, 1000.0)
    # The cheapest in hindsight is kept: now the one of 100 s, as long as its hold runs.
    holds = [hold * 100.0 for hold in HOLDS_COLD_STARTS]
    assert again.kept(holds, now=1100.0)
    assert not again.kept(holds, now=1150.0)
    # Once late requests have cost more than idle time, it is one that had not let it go.
    assert again.missed(900.0).kept(holds, now=1150.0)


def test_a_load_that_the_forecast_asked_for_in_time_earns_no_standby() -> None:
    hours = Hours().crowds(count=2, apart=3600.0, foreseen=20.0)
    assert hours.of(QUIET, seconds=1800.0).kept <= 2


def test_of_a_load_that_queues_unforeseen_half_as_many_again_are_asked_for() -> None:
    def asked_for(*, queued: bool, foreseen: float) -> int:
        hours = Hours().of(QUIET, seconds=1800.0)
        return hours.of(CROWD, seconds=TICK, foreseen=foreseen, queued=queued).kept

    worth = asked_for(queued=False, foreseen=1.0)
    assert asked_for(queued=True, foreseen=1.0) == int(1.5 * worth)
    # What was asked for in time needs no more, though engines may still have a queue.
    assert asked_for(queued=True, foreseen=worth) == worth


def test_misses_that_replicas_do_not_lower_earn_no_standby() -> None:
    hours = Hours()
    hours.standby = hours.standby.learned(
        0.5,
        curve=ViolationCurve(requests=(1e6,) * 28, misses=(3e4,) * 28).curve(),
        price=1e6,
        foreseen=1.0,
        wanted=1.0,
        cold_start=COLD_START,
        seconds=TICK,
        now=0.0,
    )
    assert len(hours.standby.levels) == 1


def test_the_largest_fleets_are_remembered_in_few_levels() -> None:
    standby = Standby()
    for tick in range(3):
        standby = standby.learned(
            4000.0,
            curve=CURVE,
            price=1e7,
            foreseen=0.0,
            wanted=1e9,
            cold_start=COLD_START,
            seconds=TICK,
            now=900.0 * tick,
        )
    assert len(standby.levels) == len(LEVELS) < 100
    assert LEVELS[-1] >= 4000
    text = ScalerMemory(started=0.0, standby=standby).to_json()
    assert len(text.encode()) < MAXIMUM_BYTES // 2
    assert ScalerMemory.from_json(text) == ScalerMemory(started=0.0, standby=standby)


@pytest.mark.parametrize("damage", ['"costs":[1.0],"late":0', '"late":0'])
def test_a_checkpoint_with_a_level_that_lacks_its_costs_is_damaged_or_new(damage: str) -> None:
    text = ScalerMemory(started=0.0).to_json().replace('"levels":[]', '"levels":[{"used":1.0,' + damage + "}]")
    memory = ScalerMemory.from_json(text)
    assert (memory is None) == ("costs" in damage)


def crowded() -> tuple[Scaler, int]:
    """Ten hours of a quiet replica with a crowd of five minutes every hour; what the fleet is in the quiet after."""
    one = Scaler(limits(variant_limits(cold_start_seconds=COLD_START, max_replicas=40), max_replicas=40))
    ready = 1
    for tick in range(10 * 240):
        running = 90.0 if tick % 240 >= 220 else 6.0
        decision = one.tick(variant(at=one.now, ready=ready, running=running))
        ready = decision.total
    for _ in range(60):
        decision = one.tick(variant(at=one.now, ready=ready, running=6.0))
        ready = decision.total
    return one, ready


def test_what_stands_by_is_a_term_and_is_said() -> None:
    one, ready = crowded()
    decision = one.tick(variant(at=one.now, ready=ready, running=6.0))
    terms = {term.name: term.value for term in decision.terms}
    assert decision.rule is Rule.HOLD
    assert terms["standby"] >= 6
    assert "are kept for bursts like those that came unforeseen" in decision.message


def test_larger_replicas_take_over_what_was_learned_of_smaller_ones() -> None:
    small = Hours().of(CROWD, seconds=600.0).standby
    large = small.in_units(4.0)
    assert len(large.levels) == -(-len(small.levels) // 4)
    assert large.levels[0] == small.levels[3]  # the first of four times the size is the fourth
    assert len(large.in_units(0.25).levels) <= len(small.levels) + 3


def test_idleness_ends_the_standby() -> None:
    one, ready = crowded()
    for _ in range(240):
        ready = one.tick(variant(at=one.now, ready=ready)).total
    assert ready == 1
