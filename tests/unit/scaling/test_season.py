"""Crowds that come at the same time of the day: when they are expected, and when no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builders.scaling import Scaler, limits, variant_limits
from inference_fleet.scaling.memory import MAXIMUM_BYTES, ScalerMemory
from inference_fleet.scaling.season import DAY_SECONDS, MAXIMUM_SURPRISES, MAXIMUM_TOLD, Season, Surprise, Told
from inference_fleet.scaling.types import Decision, Rule
from inference_fleet.scaling.violation_curve import ViolationCurve

TICK, HOUR = 60.0, 3600.0
COLD_START, LEAD = 120.0, 150.0
NINE, LASTS = 9 * HOUR, 1200.0
QUIET, CROWD = 0.5, 6.0
CURVE = ViolationCurve().curve()
PRICE = 40.0


class Days:
    """Days of a quiet load with crowds, and at which times how much was made ready. No forecast sees a crowd."""

    def __init__(self, *, midnight: float = 0.0, price: float = PRICE, foreseen: float = 1.0) -> None:
        self.season, self.midnight, self.price, self.foreseen = Season(), midnight, price, foreseen
        self.days, self.ready = 0, dict[float, float]()

    def of(self, *crowds: float | None) -> Days:
        """A day each: the time of its crowd, None without one. Afterwards `ready` is that of the last day."""
        for crowd in crowds:
            self.ready = {}
            for tick in range(round(DAY_SECONDS / TICK)):
                time = tick * TICK
                age = self.days * DAY_SECONDS + time
                comes = crowd is not None and 0 <= time - crowd < LASTS
                demand = CROWD if comes else QUIET
                self.season = self.season.learned(
                    demand,
                    curve=CURVE,
                    price=self.price * demand,
                    usual=max(self.foreseen, demand + 1 if comes else 1.0),
                    age=age,
                    lead=LEAD,
                    seconds=TICK,
                    now=self.midnight + age,
                )
                self.ready[time] = self.season.replicas
            self.days += 1
        return self

    def at(self, time: float) -> float:
        """What was asked for early enough to serve at this time."""
        return self.ready[(time - LEAD) // TICK * TICK]


def test_nothing_is_expected_before_two_days_are_known() -> None:
    days = Days().of(NINE, NINE)
    assert not any(days.ready.values())


@pytest.mark.parametrize("midnight", [0.0, 1_700_000_000.0, 1_711_843_199.5])
def test_a_crowd_of_two_days_is_expected_on_the_third_wherever_the_day_begins(midnight: float) -> None:
    days = Days(midnight=midnight).of(NINE, NINE, NINE)
    assert days.at(NINE) >= 6
    assert days.at(NINE - HOUR) == days.at(NINE + HOUR) == 0


def test_no_more_than_some_minutes_are_stood_by_for() -> None:
    days = Days().of(NINE, NINE, NINE)
    assert sum(ready > 0 for ready in days.ready.values()) * TICK <= 2 * LEAD + 2 * TICK


def test_a_crowd_whose_minute_wanders_is_expected_from_its_earliest_to_its_latest() -> None:
    days = Days().of(NINE - 600, NINE + 600, NINE, NINE)
    assert min(days.at(NINE - 600), days.at(NINE), days.at(NINE + 600)) >= 6


def test_crowds_at_another_hour_every_day_are_not_expected() -> None:
    days = Days()
    for hour in (3, 17, 9, 22, 6, 13, 1):
        assert not any(days.of(hour * HOUR).ready.values())


def test_crowds_that_stop_coming_are_expected_for_two_days_more() -> None:
    days = Days().of(*[NINE] * 8)
    assert days.of(None).at(NINE) > 0
    assert days.of(None).at(NINE) > 0
    assert not any(days.of(None).ready.values())
    assert not any(days.of(None).ready.values())


def test_clocks_that_change_by_an_hour_cost_three_days() -> None:
    days = Days().of(*[NINE] * 8)
    assert days.of(*[NINE + HOUR] * 3).at(NINE + HOUR) == 0
    assert days.of(NINE + HOUR).at(NINE + HOUR) >= 6


def test_weekends_without_a_crowd_are_known_after_two_weeks() -> None:
    week = [NINE] * 5 + [None] * 2
    days = Days().of(*week, *week, *week[:5])
    assert not any(days.of(None).ready.values())
    assert not any(days.of(None).ready.values())
    assert days.of(NINE).at(NINE) >= 6


def test_what_would_have_cost_more_than_it_saved_is_not_stood_by_for() -> None:
    assert not any(Days(price=0.2).of(NINE, NINE, NINE).ready.values())


def test_a_crowd_that_the_forecast_asked_for_in_time_is_no_surprise() -> None:
    assert Days(foreseen=9.0).of(NINE, NINE).season.surprises == ()


def test_a_crowd_that_was_stood_by_for_stays_known() -> None:
    days = Days().of(*[NINE] * 6)
    assert days.at(NINE) >= 6
    assert len(days.season.surprises) == 6


def test_larger_replicas_take_over_what_was_learned_of_smaller_ones() -> None:
    season = Season((Surprise(1.0, 2.0, 8.0, 400.0),), (Told(3.0, 2.0, 8.0),), 8.0)
    assert season.in_units(4.0) == Season((Surprise(1.0, 2.0, 2.0, 100.0),), (Told(3.0, 0.5, 2.0),), 2.0)


def test_a_full_memory_of_crowds_fits_into_a_checkpoint_and_comes_back() -> None:
    season = Season()
    for place in range(MAXIMUM_SURPRISES + MAXIMUM_TOLD):
        for demand in (QUIET, CROWD):
            season = season.learned(
                demand,
                curve=CURVE,
                price=PRICE * demand,
                usual=1.0,
                age=0.0,
                lead=LEAD,
                seconds=15.0,
                now=1_700_000_000.12 + 1000 * place + 500 * (demand == CROWD),
            )
    assert len(season.surprises) == MAXIMUM_SURPRISES
    season = season._replace(told=(season.told[0],) * MAXIMUM_TOLD)
    text = ScalerMemory(started=0.0, season=season).to_json()
    assert len(text.encode()) < MAXIMUM_BYTES // 4
    assert ScalerMemory.from_json(text) == ScalerMemory(started=0.0, season=season)


@pytest.mark.parametrize("replicas", ["-1", '"many"', "null"])
def test_a_checkpoint_with_a_crowd_of_no_replicas_is_damaged(replicas: str) -> None:
    crowd = '{"begun":1.0,"ended":2.0,"replicas":' + replicas + ',"saved":1.0}'
    text = ScalerMemory(started=0.0).to_json().replace('"surprises":[]', f'"surprises":[{crowd}]')
    assert ScalerMemory.from_json(text) is None


NOW = 10 * DAY_SECONDS


def decided(*days_back: float, load: Callable[[Scaler], Decision]) -> Decision:
    """By a scaler of ten days which crowds surprised so many days ago, two minutes from now."""
    crowds = tuple(
        Surprise(NOW + 150.0 - back * DAY_SECONDS, NOW + 400.0 - back * DAY_SECONDS, 8.0, 1e5)
        for back in sorted(days_back, reverse=True)
    )
    memory = ScalerMemory(started=NOW - 3 * DAY_SECONDS, season=Season(crowds))
    bounds = limits(variant_limits(cold_start_seconds=COLD_START, max_replicas=40), max_replicas=40)
    return load(Scaler(bounds, memory=memory, now=NOW))


def quiet(scaler: Scaler) -> Decision:
    return scaler.hold(4, ready=2, running=6.0)


def idle(scaler: Scaler) -> Decision:
    return scaler.hold(12, ready=2)


@pytest.mark.parametrize("load", [quiet, idle])
def test_what_is_made_ready_for_its_hour_is_a_term_and_is_said(load: Callable[[Scaler], Decision]) -> None:
    decision = decided(1, 2, 3, load=load)
    assert decision.rule is Rule.FORECAST
    assert decision.total == 8
    assert {term.name: term.value for term in decision.terms}["season"] == 8
    assert "8 are kept for a load as on the last days at this hour" in decision.message


@pytest.mark.parametrize("load", [quiet, idle])
def test_decisions_are_those_without_it_where_nothing_is_expected(load: Callable[[Scaler], Decision]) -> None:
    assert decided(1, load=load) == decided(load=load)
    assert decided(1.2, 2.4, 2.9, load=load) == decided(load=load)
