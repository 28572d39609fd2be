"""The benchmark of the scaler's parts: a variation changes what it says and nothing afterwards; its page is true."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inference_fleet.scaling import hold
from inference_fleet.scaling.forecast import Forecast
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.season import Season
from inference_fleet.scaling.standby import Standby
from inference_fleet.simulation.fleet import Fleet
from inference_fleet.simulation.observe import Observer, Scrape
from inference_fleet.simulation.policies.catalogue import POLICIES
from inference_fleet.simulation.run import simulate
from inference_fleet.simulation.scenario import Scenario
from inference_fleet.simulation.synthetic import SHAPES, generate
from inference_fleet.simulation.traces import window

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def benchmark_modules() -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    """benchmarks/ablations.py, its variations, and the script that writes the page."""
    folders = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]
    sys.path[:0] = folders
    yield (
        importlib.import_module("ablations"),
        importlib.import_module("ablation_variations"),
        importlib.import_module("scaling_parts_page"),
    )
    for folder in folders:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def variations(benchmark_modules: tuple[ModuleType, ModuleType, ModuleType]) -> ModuleType:
    return benchmark_modules[1]


@pytest.fixture(scope="module")
def page(benchmark_modules: tuple[ModuleType, ModuleType, ModuleType]) -> ModuleType:
    return benchmark_modules[2]


@pytest.fixture(scope="module")
def scenario(benchmark_modules: tuple[ModuleType, ModuleType, ModuleType]) -> Scenario:
    """Forty minutes of steady chat."""
    found: Scenario = benchmark_modules[0].cases_by_name()["slice", "chat-steady-40min"].scenario(0)
    return found


def test_the_first_variation_is_the_scaler_as_it_is(variations: ModuleType, scenario: Scenario) -> None:
    demands = variations.Demands()
    own = variations.as_it_is(scenario, demands)
    assert own.outcome == simulate(scenario, POLICIES["fleet"]).outcome
    assert len(demands.values) == len(own.moments)
    # Ten requests per second take three to four replicas.
    assert 2 < sum(demands.values[-40:]) / 40 < 6


def test_a_scaler_that_knows_the_demand_forecasts_it_without_errors(variations: ModuleType) -> None:
    demands = variations.Demands([0.0, 15.0, 30.0], [1.0, 2.0, 3.0])
    forecast = Forecast()
    for tick in range(10):
        forecast = forecast.learned(5.0, felt=5.0, seconds=15.0, lead_seconds=15.0, now=15.0 * (tick - 9))
    assert forecast.pending[-1].due == 15.0
    outlook = variations.exactly(demands)(forecast)
    assert outlook.demand == pytest.approx(2.0)
    assert set(outlook.errors) == {0.0}
    late = forecast.learned(5.0, felt=5.0, seconds=15.0, lead_seconds=15.0, now=30.0)
    assert variations.exactly(demands)(late) == late.outlook(), "after the trace's end nothing is known"


def test_a_scaler_that_knows_the_mean_is_told_the_noise_around_it_as_errors(variations: ModuleType) -> None:
    values = [1.0, 7.0] * 50
    demands = variations.Demands([15.0 * place for place in range(100)], values)
    forecast = Forecast()
    for tick in range(10):
        forecast = forecast.learned(9.0, felt=9.0, seconds=15.0, lead_seconds=15.0, now=15.0 * (tick + 40))
    outlook = variations.on_average(demands)(forecast)
    assert outlook.demand == pytest.approx(4.0, rel=0.1)
    assert list(outlook.errors) == sorted(outlook.errors)
    assert outlook.errors[0] == pytest.approx(math.log(1 / 4), abs=0.1)
    assert outlook.errors[-1] == pytest.approx(math.log(7 / 4), abs=0.1)


def test_nothing_stays_changed_after_a_variation(variations: ModuleType, scenario: Scenario) -> None:
    def parts() -> tuple[object, ...]:
        laboratory = variations.laboratory.Observer
        constants = [getattr(module, name) for module, name in variations.CONSTANTS]
        return Forecast.outlook, Standby.replicas, Season.learned, hold.HOLD_COLD_STARTS, laboratory, *constants

    before = parts()
    short = dataclasses.replace(scenario, workload=_first_minutes(scenario, 10))
    outcomes = set()
    for table in variations.TABLES.values():
        demands = variations.Demands()
        for perform in table.values():
            outcomes.add(perform(short, demands).outcome.cost)
            assert parts() == before
    assert len(outcomes) > 1


def test_a_constant_is_another_while_its_variation_runs(
    variations: ModuleType, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    during: dict[str, float] = {}
    for module, name in variations.CONSTANTS:
        for factor in variations.FACTORS:
            words = variations.constant_words(module, name, factor)

            def noted(*_: Any, module: ModuleType = module, name: str = name, words: str = words) -> None:
                during[words] = getattr(module, name)

            monkeypatch.setattr(variations, "_run", noted)
            variations.TABLES["constants"][words](scenario, variations.Demands())
            usual = getattr(module, name)
            assert during[words] == pytest.approx(factor * usual, abs=1.0 if isinstance(usual, int) else 1e-9)
            assert type(during[words]) is type(usual)
            assert during[words] != usual
    assert [*variations.TABLES["constants"]] == [variations.USUAL, *during], "each has its row"


def test_a_restart_leaves_what_the_last_half_hour_said_or_nothing(variations: ModuleType, scenario: Scenario) -> None:
    seventy = dataclasses.replace(scenario, workload=generate(SHAPES["chat-steady"], seed=0))
    seventy = dataclasses.replace(seventy, workload=_first_minutes(seventy, 70))
    heard: list[int] = []

    def restarted(seen: Any, limits: Any) -> Any:
        heard.append(len(seen))
        assert variations.nothing_left(seen, limits) == ScalerMemory.empty()
        memory = variations.replayed(seen, limits)
        assert memory.forecast.ticks == pytest.approx(len(seen), abs=2)
        return memory

    variations._run(seventy, variations.Scaler(seventy.limits, restarted=restarted))
    assert heard == [variations.REPLAYED_TICKS], "once, after an hour"


def _scrapes(variations: ModuleType, scenario: Scenario, observer: type[Observer]) -> list[Scrape]:
    """What this observer read in a run."""
    seen: list[Scrape] = []

    class Noted(observer):  # type: ignore[misc, valid-type]
        def __init__(self, fleet: Fleet, **settings: Any) -> None:
            super().__init__(fleet, **settings)

        def show(self, scrape: Scrape) -> Any:
            seen.append(scrape)
            return super().show(scrape)

    variations.seen_by(Noted)(scenario, variations.Demands())
    return seen


def test_each_pod_is_scraped_at_a_second_of_its_own(variations: ModuleType, scenario: Scenario) -> None:
    short = dataclasses.replace(scenario, workload=_first_minutes(scenario, 10))
    together = _scrapes(variations, short, variations.SixSecondsOld)
    assert {len({sample.sample_time for sample in scrape.pods[0]}) for scrape in together} == {1}
    own = _scrapes(variations, short, variations.OwnSeconds)
    seconds: dict[str, set[float]] = {}
    for scrape in own:
        for sample in scrape.pods[0]:
            seconds.setdefault(sample.pod, set()).add((sample.sample_time or 0.0) % 15)
    assert all(len(those) == 1 for those in seconds.values()), "the same second in every tick"
    assert len(set.union(*seconds.values())) > 1
    pair = _scrapes(variations, short, variations.Pair)
    assert any(
        len({s.sample_time % 15 for scrape in pair for s in scrape.pods[0] if s.pod == pod}) == 2 for pod in seconds
    )
    failing = [(s.pod, s.sample_time) for look in _scrapes(variations, short, variations.Failing) for s in look.pods[0]]
    assert 0.9 < len(set(failing)) / len(failing) < 1, "a sample that is shown twice is one whose next scrape failed"


def _first_minutes(scenario: Scenario, minutes: int) -> Any:
    return window(scenario.workload, start_seconds=0.0, duration_seconds=60.0 * minutes)


def row(table: str, variation: str, kept: float, cost: float, **other: Any) -> dict[str, Any]:
    usual = {"part": "suite", "trace": "t", "seed": 0, "traceClass": "smooth"}
    counted = {"attainmentPercent": kept, "cost": cost, "meanReplicas": cost, "hoursKeptPercent": 50.0}
    return {"table": table, "variation": variation, "worstHourPercent": 90.0, **usual, **counted, **other}


def test_a_trace_of_which_the_optimum_cannot_keep_the_target_is_in_no_mean(page: ModuleType) -> None:
    def frontier(trace: str, kept: float) -> dict[str, Any]:
        points = [{"attainmentPercent": kept, "replicaHours": 10.0, "cost": 10.0}]
        return {"trace": trace, "seed": 0, "frontier": points}

    suite = {"runs": [], "optimum": [frontier("t", 99.5), frontier("u", 98.9)]}
    rows = [row("f", "a", 99.5, 20.0), row("f", "b", 99.5, 11.0)]
    rows += [row("f", "a", 98.5, 90.0, trace="u"), row("f", "b", 98.9, 50.0, trace="u")]
    rows += [row("f", "a", 98.5, 90.0, trace="none"), row("f", "b", 98.9, 50.0, trace="none")]
    table = page._foresight(rows, {"suite": suite})
    assert "synthetic, smooth (1 runs) | synthetic, bursty (0 runs)" in table
    assert "| a | 2.00 (99.5) | - |" in table
    assert "| b | 1.10 (99.5) | - |" in table


def test_costs_of_scrapes_are_compared_run_by_run(page: ModuleType) -> None:
    rows = [row("s", "first", 99.0, 10.0), row("s", "second", 98.0, 11.0)]
    rows += [row("s", "first", 99.0, 100.0, seed=1), row("s", "second", 98.5, 110.0, seed=1)]
    assert page._scrapes(rows).splitlines()[-1] == "| second | 98.25 | +10.0 % ± 0.0 |"


def test_a_constant_is_one_line_with_less_and_more_of_it(page: ModuleType) -> None:
    rows = [row("c", "first", 99.0, 10.0), row("c", "p.A = 2 x 0.7", 98.5, 9.0), row("c", "p.A = 2 x 1.4", 99.5, 11.0)]
    rows += [row("c", "first", 97.0, 100.0, seed=1), row("c", "p.A = 2 x 0.7", 97.0, 90.0, seed=1)]
    rows += [row("c", "p.A = 2 x 1.4", 97.5, 110.0, seed=1)]
    head, _, line = page._constants(rows).splitlines()
    assert head == "| constant | times 0.7: cost, kept | times 1.4: cost, kept |"
    assert line == "| `p.A = 2` | -10.0 % ± 0.0, -0.25 | +10.0 % ± 0.0, +0.50 |"


def test_a_file_of_rows_keeps_what_was_not_made_anew(benchmark_modules: tuple[ModuleType, ...]) -> None:
    ablations = benchmark_modules[0]
    recorded = json.loads(ablations.RESULTS.read_text(encoding="utf-8"))
    newer = {**recorded[0], "cost": -1.0}
    found = json.loads(ablations.written([*recorded, newer, {**newer, "variation": "gone"}]))
    assert found[0] == newer
    assert found[1:] == recorded[1:]
