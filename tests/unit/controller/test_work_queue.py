"""The queue's rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from builders.clock import VirtualClock
from inference_fleet.controller.work_queue import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, WorkQueue

A, B = ("n", "a"), ("n", "b")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest_asyncio.fixture
async def queue(clock: VirtualClock) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(clock, jitter=lambda: 1.0)
    timer = asyncio.create_task(queue.run_timer())
    yield queue
    timer.cancel()
    await asyncio.gather(timer, return_exceptions=True)


async def test_a_key_added_twice_is_worked_on_once(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(A)
    queue.add(B)
    assert len(queue) == 2
    assert (await queue.get())[0] == A
    assert (await queue.get())[0] == B
    assert len(queue) == 0


async def test_a_key_under_way_is_not_handed_out_again_until_done(queue: WorkQueue) -> None:
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(A)
    assert len(queue) == 0  # a second worker would find nothing
    queue.done(A)
    assert len(queue) == 1  # and both additions are one
    await queue.get()
    queue.done(A)
    assert queue.idle


async def test_failures_wait_twice_as_long_each_time_and_success_forgets(queue: WorkQueue, clock: VirtualClock) -> None:
    waits = [queue.retry(A) for _ in range(3)]
    assert waits == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, 4 * FIRST_RETRY_SECONDS]
    queue.forget(A)
    assert queue.retry(A) == FIRST_RETRY_SECONDS
    for _ in range(40):
        longest = queue.retry(A)
    assert longest == LONGEST_RETRY_SECONDS


def test_jitter_takes_away_up_to_half_of_the_wait() -> None:
    queue = WorkQueue(VirtualClock(), jitter=lambda: 0.0)
    assert queue.retry(A) == FIRST_RETRY_SECONDS / 2


async def test_a_key_for_later_comes_at_its_time(queue: WorkQueue, clock: VirtualClock) -> None:
    queue.add_after(A, 10)
    await clock.advance(9.9)
    assert len(queue) == 0
    await clock.advance(0.1)
    assert len(queue) == 1


async def test_the_earliest_of_several_wishes_counts_and_the_later_ones_are_dropped(
    queue: WorkQueue, clock: VirtualClock
) -> None:
    queue.add_after(A, 30)
    queue.add_after(A, 10)
    queue.add_after(A, 20)
    await clock.advance(10)
    assert (await queue.get())[0] == A
    queue.done(A)
    await clock.advance(60)
    assert len(queue) == 0


async def test_a_waiting_worker_is_woken(queue: WorkQueue, clock: VirtualClock) -> None:
    taken = asyncio.create_task(queue.get())
    await clock.settle()
    queue.add_after(A, 5)
    await clock.advance(5)
    assert taken.done()
    assert taken.result() == (A, 0.0)


async def test_waiting_and_running_times_are_told(queue: WorkQueue, clock: VirtualClock) -> None:
    queue.add(A)
    await clock.advance(3)
    assert (await queue.get())[1] == 3
    await clock.advance(4)
    assert queue.longest_running_seconds == 4
    assert queue.unfinished_seconds == 4
    assert not queue.idle
