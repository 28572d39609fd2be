"""List, watch, and begin again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from builders.clock import VirtualClock
from builders.in_memory_cluster import InMemoryCluster
from inference_fleet.adapters import ports
from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.reflector import Reflector, list_all
from inference_fleet.adapters.resources import PODS


class Heard:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def replaced(self, resource: Resource, objects: Sequence[Object], *, list_version: str) -> None:
        self.said.append("list " + ",".join(obj["metadata"]["name"] for obj in objects))

    def changed(self, resource: Resource, obj: Object) -> None:
        self.said.append("changed " + obj["metadata"]["name"])

    def deleted(self, resource: Resource, obj: Object) -> None:
        self.said.append("deleted " + obj["metadata"]["name"])


@pytest.fixture
def cluster() -> InMemoryCluster:
    return InMemoryCluster(VirtualClock())


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest_asyncio.fixture
async def reflector(cluster: InMemoryCluster, heard: Heard) -> AsyncIterator[Reflector]:
    cluster.add(PODS, {"metadata": {"name": "a"}}, namespace="n")
    reflector = Reflector(cluster, PODS, heard, cluster.clock, jitter=lambda: 0.5)
    task = asyncio.create_task(reflector.run())
    await cluster.clock.settle()
    yield reflector
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_it_lists_then_watches(cluster: InMemoryCluster, heard: Heard, reflector: Reflector) -> None:
    assert reflector.synced.is_set()
    pod = cluster.add(PODS, {"metadata": {"name": "b"}}, namespace="n")
    cluster.edit(PODS, "a", "n", lambda obj: obj.update(status={}))
    cluster.remove(PODS, pod)
    await cluster.clock.settle()
    assert heard.said == ["list a", "changed b", "changed a", "deleted b"]


async def test_a_broken_watch_goes_on_where_it_was(
    cluster: InMemoryCluster, heard: Heard, reflector: Reflector
) -> None:
    cluster.break_watches()
    await cluster.clock.settle()
    cluster.add(PODS, {"metadata": {"name": "b"}}, namespace="n")
    await cluster.clock.advance(5)
    assert heard.said == ["list a", "changed b"]
    assert reflector.lists == 1
    assert reflector.watches == 2


async def test_a_broken_watch_does_not_tell_again_what_it_told(
    cluster: InMemoryCluster, heard: Heard, reflector: Reflector
) -> None:
    cluster.add(PODS, {"metadata": {"name": "b"}}, namespace="n")
    await cluster.clock.settle()
    cluster.break_watches()
    await cluster.clock.advance(5)
    assert heard.said == ["list a", "changed b"]  # taken up again at the list it would be told twice


async def test_a_watch_that_is_too_old_lists_anew(cluster: InMemoryCluster, heard: Heard, reflector: Reflector) -> None:
    cluster.remove(PODS, cluster.all(PODS)[0])
    await cluster.clock.settle()
    cluster.break_watches()
    # While it is away the past is forgotten.
    cluster.add(PODS, {"metadata": {"name": "c"}}, namespace="n")
    cluster.break_watches(compact=True)
    await cluster.clock.advance(5)
    assert heard.said[-1] == "list c"
    assert reflector.lists == 2


async def test_failures_wait_longer_each_time_and_it_comes_back(
    cluster: InMemoryCluster, heard: Heard, reflector: Reflector
) -> None:
    cluster.reads_fail_with = ports.Unavailable("away")
    cluster.break_watches()
    await cluster.clock.advance(600)
    assert reflector.watches < 40  # every half second it would have been 1200
    cluster.reads_fail_with = None
    await cluster.clock.advance(35 + 60)
    assert reflector.silent_seconds <= 60  # the first bookmark came


async def test_it_obeys_the_server_that_asks_for_time(
    cluster: InMemoryCluster, heard: Heard, reflector: Reflector
) -> None:
    cluster.reads_fail_with = ports.Throttled("slow down", retry_after_seconds=100)
    cluster.break_watches()
    await cluster.clock.advance(99)
    before = reflector.watches
    await cluster.clock.advance(150)
    assert before == 2
    assert reflector.watches == 4


async def test_bookmarks_keep_it_fresh(cluster: InMemoryCluster, heard: Heard, reflector: Reflector) -> None:
    await cluster.clock.advance(3600)
    assert reflector.silent_seconds <= 60
    assert heard.said == ["list a"]


async def test_a_list_is_read_page_by_page(cluster: InMemoryCluster) -> None:
    for number in range(1203):
        cluster.add(PODS, {"metadata": {"name": f"p{number}"}}, namespace="n")
    objects, version = await list_all(cluster, PODS)
    assert len(objects) == 1203
    assert len({obj["metadata"]["name"] for obj in objects}) == 1203
    assert version == "1303"
