"""status.objectives: news is told, noise is not."""

from __future__ import annotations

from typing import Any

from builders.world import World
from inference_fleet.planning.attainment_status import told_objectives
from inference_fleet.scaling.types import Attainment

NOW = 1_750_000_000.0


def kept(misses: float, *, requests: float = 10_000, name: str = "first-token") -> Attainment:
    """Of a target of 99 %: 100 of 10,000 may miss."""
    return Attainment(name, 0.99, requests=requests, misses=misses, since=NOW - 3600)


def told(misses: float, *, ago: float) -> list[dict[str, Any]]:
    return told_objectives((), (kept(misses),), now=NOW - ago)


def test_what_is_told() -> None:
    assert told_objectives((), (kept(39),), now=NOW) == [
        {
            "name": "first-token",
            "attainedPercent": "99.61",
            "errorBudgetLeftPercent": 61,
            "requests": 10_000,
            "since": "2025-06-15T14:06:40Z",
            "time": "2025-06-15T15:06:40Z",
        }
    ]


def test_a_window_of_its_own_is_named_and_another_window_is_told_at_once() -> None:
    hourly = kept(40)._replace(window_seconds=3600.0)
    former = told(40, ago=300)
    (entry,) = told_objectives(former, (hourly,), now=NOW)
    assert entry["windowHours"] == 1
    assert told_objectives([entry], (hourly,), now=NOW + 600) == [entry]
    (again,) = told_objectives([entry], (kept(40),), now=NOW + 600)
    assert "windowHours" not in again


def test_it_is_told_anew_when_ten_points_of_the_budget_have_gone_or_come_back() -> None:
    former = told(40, ago=3600)
    for misses, is_news in ((40, False), (49, False), (31, False), (50, True), (30, True), (900, True)):
        found = told_objectives(former, (kept(misses),), now=NOW)
        assert (found != former) is is_news, misses


def test_an_incident_is_no_stream_of_writes() -> None:
    former = told(40, ago=299)
    assert told_objectives(former, (kept(900),), now=NOW) == former
    assert told_objectives(told(40, ago=300), (kept(900),), now=NOW) != former


def test_objectives_that_come_and_go_are_told_at_once() -> None:
    former = told(40, ago=1)
    both = (kept(40), kept(0, name="pace"))
    assert [entry["name"] for entry in told_objectives(former, both, now=NOW)] == ["first-token", "pace"]
    assert told_objectives(former, (), now=NOW) == []


def test_a_status_that_somebody_else_wrote_is_replaced() -> None:
    strange = [{"name": "first-token", "errorBudgetLeftPercent": "much", "time": "soon"}]
    assert told_objectives(strange, (kept(40),), now=NOW)[0]["errorBudgetLeftPercent"] == 60


def test_it_is_part_of_the_status_and_stays_while_nothing_is_measured() -> None:
    world = World()
    world.decide(1, attainments=(kept(40),))
    world.settle()
    assert world.status["objectives"][0]["attainedPercent"] == "99.6"
    world.decision = None  # the operator has just started
    world.settle()
    assert world.status["objectives"][0]["attainedPercent"] == "99.6"


def test_a_decision_that_no_longer_fits_the_spec_still_tells_what_was_kept() -> None:
    world = World()
    world.decide(4, attainments=(kept(40),))
    world.edit(scaling={**world.deployment["spec"].get("scaling", {}), "maxReplicas": 2})
    world.settle()
    assert world.status["objectives"][0]["errorBudgetLeftPercent"] == 60


def test_nothing_to_say_is_no_field() -> None:
    world = World()
    world.decide(1)
    world.settle()
    assert "objectives" not in world.status
