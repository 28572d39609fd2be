"""Who leads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from builders.clock import VirtualClock
from builders.in_memory_cluster import InMemoryCluster
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import LEASES
from inference_fleet.controller.lease import DURATION_SECONDS, RENEW_DEADLINE_SECONDS, Lease, LeaseLost


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def cluster(clock: VirtualClock) -> InMemoryCluster:
    return InMemoryCluster(clock)


def lease(cluster: InMemoryCluster, identity: str) -> Lease:
    return Lease(cluster, cluster.clock, namespace="system", identity=identity, jitter=lambda: 0.5)


def holder(cluster: InMemoryCluster) -> str:
    found = cluster.find(LEASES, "inference-fleet", "system")
    assert found is not None
    return str(found["spec"]["holderIdentity"])


async def test_the_first_takes_it_and_the_second_waits(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    one, two = lease(cluster, "one"), lease(cluster, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    waiting = asyncio.create_task(two.acquire())
    await clock.advance(300)
    assert one.holds()
    assert not two.holds()
    assert holder(cluster) == "one"
    for task in (keeping, waiting):
        task.cancel()
    await asyncio.gather(keeping, waiting, return_exceptions=True)


async def test_a_lease_that_nobody_renews_is_taken_after_its_duration(
    cluster: InMemoryCluster, clock: VirtualClock
) -> None:
    one, two = lease(cluster, "one"), lease(cluster, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    took = await clock.advance_until(waiting.done, within=60)
    assert DURATION_SECONDS <= took <= DURATION_SECONDS + 5
    # The former holder stopped believing in itself before another began.
    assert RENEW_DEADLINE_SECONDS < DURATION_SECONDS
    assert not one.holds()
    found = cluster.find(LEASES, "inference-fleet", "system")
    assert found is not None
    assert found["spec"]["leaseTransitions"] == 1


async def test_a_released_lease_is_taken_at_once(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    one, two = lease(cluster, "one"), lease(cluster, "two")
    await one.acquire()
    await one.release()
    assert not one.holds()
    await two.acquire()
    assert clock.monotonic() == 0
    assert holder(cluster) == "two"


async def test_one_who_cannot_renew_loses_it(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    one = lease(cluster, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    await clock.advance(20)
    cluster.reads_fail_with = ports.Unavailable("away")
    await clock.advance(RENEW_DEADLINE_SECONDS - 3)
    assert one.holds()  # one failure is no loss
    await clock.advance(6)
    assert not one.holds()
    with pytest.raises(LeaseLost):
        await keeping


async def test_a_short_failure_is_survived(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    one = lease(cluster, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    cluster.reads_fail_with = ports.Unavailable("away")
    await clock.advance(5)
    cluster.reads_fail_with = None
    await clock.advance(60)
    assert one.holds()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_one_whose_lease_another_took_ends_at_once(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    one = lease(cluster, "one")
    await one.acquire()
    keeping = asyncio.create_task(one.keep())
    cluster.edit(LEASES, "inference-fleet", "system", lambda obj: obj["spec"].update(holderIdentity="two"))
    await clock.advance(3)
    assert not one.holds()
    with pytest.raises(LeaseLost):
        await keeping
    await one.release()
    assert holder(cluster) == "two"  # nothing is given back that is not ours


async def test_a_lease_without_holder_or_spec_is_free(cluster: InMemoryCluster) -> None:
    cluster.add(LEASES, {"metadata": {"name": "inference-fleet"}}, namespace="system")
    one = lease(cluster, "one")
    await one.acquire()
    assert one.holds()


async def test_a_renewal_counts_from_before_its_call(cluster: InMemoryCluster, clock: VirtualClock) -> None:
    """The server may have written it as soon as it was asked, and another counts from there."""
    one = lease(cluster, "one")
    answer = cluster.get

    async def slow(*words: Any, **named: Any) -> ports.Object:
        await clock.sleep(RENEW_DEADLINE_SECONDS - 2)
        return await answer(*words, **named)

    cluster.get = slow  # type: ignore[method-assign]
    acquiring = asyncio.create_task(one.acquire())
    await clock.advance_until(acquiring.done, within=30)
    assert one.holds()
    await clock.advance(2.5)
    assert not one.holds()


@pytest.mark.parametrize("error", [ports.Conflict("another was faster"), ports.Unavailable("away")])
async def test_one_whose_write_fails_does_not_lead_and_tries_again(
    cluster: InMemoryCluster, clock: VirtualClock, error: ports.ClusterError
) -> None:
    failing = True

    def fail(verb: str, resource: ports.Resource, name: str) -> None:
        if failing:
            raise error

    cluster.before = fail
    one = lease(cluster, "one")
    waiting = asyncio.create_task(one.acquire())
    await clock.advance(30)
    assert not one.holds()
    failing = False
    await clock.advance_until(waiting.done, within=5)
    assert one.holds()


async def test_one_who_cannot_give_it_back_leads_no_more_all_the_same(cluster: InMemoryCluster) -> None:
    one = lease(cluster, "one")
    await one.acquire()

    def fail(verb: str, resource: ports.Resource, name: str) -> None:
        raise ports.Unavailable("away")

    cluster.before = fail
    await one.release()
    assert not one.holds()
    assert holder(cluster) == "one"  # whoever comes next waits for its end
