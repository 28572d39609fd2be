"""Events: each once, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from builders.clock import VirtualClock
from builders.in_memory_cluster import InMemoryCluster
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import EVENTS
from inference_fleet.controller.event_recorder import GIVE_WAY_SECONDS, LONGEST_NOTE, SAME_AGAIN_SECONDS, EventRecorder
from inference_fleet.planning.writes import EventNote

OBJECT = {"metadata": {"name": "llama", "namespace": "chat", "uid": "u", "resourceVersion": "1"}}


class Case:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.cluster = InMemoryCluster(self.clock)
        self.busy = False
        self.events = EventRecorder(self.cluster, self.clock, instance="pod", busy=lambda: self.busy)

    def note(self, words: str) -> None:
        self.events.note(OBJECT, EventNote("Normal", "Scaled", words))

    def posted(self) -> list[str]:
        return [event["note"] for event in self.cluster.all(EVENTS)]


@pytest_asyncio.fixture
async def case() -> AsyncIterator[Case]:
    case = Case()
    task = asyncio.create_task(case.events.run())
    yield case
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_names_its_object_and_its_reporter(case: Case) -> None:
    case.note("1 -> 2")
    await case.clock.settle()
    (event,) = case.cluster.all(EVENTS)
    assert event["regarding"]["uid"] == "u"
    assert event["reportingController"] == "inference-fleet-operator"
    assert event["reportingInstance"] == "pod"
    assert event["metadata"]["namespace"] == "chat"


async def test_the_same_words_are_not_said_twice_within_minutes(case: Case) -> None:
    for _ in range(3):
        case.note("1 -> 2")
    case.note("2 -> 3")
    await case.clock.settle()
    assert sorted(case.posted()) == ["1 -> 2", "2 -> 3"]
    await case.clock.advance(SAME_AGAIN_SECONDS + 1)
    case.note("1 -> 2")
    await case.clock.settle()
    assert len(case.posted()) == 3


async def test_events_give_way_to_work(case: Case) -> None:
    case.busy = True
    for number in range(10):
        case.note(str(number))
    await case.clock.settle()
    assert len(case.posted()) == 1
    await case.clock.advance(4 * GIVE_WAY_SECONDS)
    assert len(case.posted()) == 5
    case.busy = False
    await case.clock.advance(GIVE_WAY_SECONDS)
    assert len(case.posted()) == 10


@pytest.mark.parametrize("error", [ports.Forbidden("no", status=403), ports.Unavailable("away")])
async def test_an_event_that_cannot_be_posted_is_given_up(case: Case, error: ports.ClusterError) -> None:
    def refuse(verb: str, resource: ports.Resource, name: str) -> None:
        raise error

    case.cluster.before = refuse
    case.note("lost")
    await case.clock.settle()
    case.cluster.before = lambda verb, resource, name: None
    case.note("next")
    await case.clock.settle()
    assert case.posted() == ["next"]


async def test_a_note_is_cut_where_the_api_server_counts_its_bytes(case: Case) -> None:
    case.note("ä" * LONGEST_NOTE)
    await case.clock.settle()
    (note,) = case.posted()
    assert note == "ä" * (LONGEST_NOTE // 2)  # cut by characters it would be twice too long, and refused
