"""What follows from an object before a count is known, and what of it time alone changes."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

from builders.world import SPEC, World
from inference_fleet.planning.plan import plan
from inference_fleet.planning.study import studied_again, study

EVENING = {"name": "evening", "start": "0 18 * * *", "durationSeconds": 3600, "minReplicas": 4}


def at(hour: int) -> float:
    return datetime(2026, 3, 2, hour, 30, tzinfo=UTC).timestamp()


def test_an_unchanged_object_without_schedules_is_studied_once() -> None:
    first = study(World().snapshot(), now=at(9))
    assert studied_again(first, now=at(18)) is first


def test_schedules_come_and_go_though_the_object_does_not_change() -> None:
    snapshot = World(scaling={**SPEC["scaling"], "schedules": [EVENING]}).snapshot()
    morning = study(snapshot, now=at(9))
    evening = studied_again(morning, now=at(18))
    assert evening == study(snapshot, now=at(18))
    assert evening.limits is not None
    assert morning.limits is not None
    assert (len(morning.limits.schedules[0].windows), len(evening.limits.schedules[0].windows)) == (0, 1)


def test_a_refused_spec_is_scaled_by_the_bounds_of_the_accepted_one() -> None:
    world = World()
    world.settle()
    world.edit(scaling={"mode": "Manual"}, variants=[{"name": "l4", "acceleratorClassName": "nobody"}])
    found = study(world.snapshot(), now=world.now)
    assert not found.acceptance.accepted
    assert found.limits is not None
    assert (found.limits.mode, found.limits.max_replicas) == ("Automatic", 10)


def test_a_record_that_this_release_cannot_read_takes_nothing_away() -> None:
    """A newer operator may have accepted what this one, put back in its place, does not know."""
    world = World()
    world.settle()
    for record in world.of("ControllerRevision"):
        record["data"]["spec"] = {"engine": {"other": {}}}
    world.deployment["spec"] = copy.deepcopy(world.of("ControllerRevision")[0]["data"]["spec"])
    found = plan(world.snapshot(), None, world.now)
    assert found.writes == ()
    assert found.status is not None
    told = {one["type"]: (one["status"], one["reason"]) for one in found.status["conditions"]}
    assert told["Ready"] == ("False", "SpecNotAccepted")
