"""What an overload teaches, and what it must not."""

from __future__ import annotations

from inference_fleet.scaling.demand import Need
from inference_fleet.scaling.overload import TICKS_AFTER, Overload


def need(*, compute: float, space: float) -> Need:
    return Need(compute=compute, space=space, queue_seconds=0.0, unit=1e-4, request_seconds=1.0, full=10.0, fixed=0.5)


def test_late_requests_of_an_overload_are_booked_at_its_peak() -> None:
    overload = Overload().learned(1.8, ready=1.0, backlog=True)
    for _ in range(TICKS_AFTER):
        overload = overload.learned(0.3, ready=1.0, backlog=False)
        assert overload.booked == 1.8  # at 0.3 it would look as if nothing were safe
    for _ in range(2):
        overload = overload.learned(0.3, ready=1.0, backlog=False)
    assert overload.booked == 0.3


def test_what_is_held_while_a_queue_is_worked_off_is_no_load() -> None:
    overload = Overload().learned(1.5, ready=40.0, backlog=True)
    # 110 replicas serve by now and all of them are full: of the queue, since tokens come for 60.
    (counted,) = overload.learned(1.1, ready=110.0, backlog=True).arriving((need(compute=60.0, space=110.0),))
    assert counted.space == 60.0
    # Where few tokens come, what served when the queue began may have been full of long answers.
    (counted,) = overload.arriving((need(compute=10.0, space=110.0),))
    assert counted.space == 40.0
    same = need(compute=60.0, space=30.0)
    assert overload.arriving((same,)) == (same,)


def test_of_several_variants_what_is_held_shrinks_alike() -> None:
    overload = Overload().learned(1.5, ready=40.0, backlog=True)
    first, second = overload.arriving((need(compute=50.0, space=100.0), need(compute=20.0, space=30.0)))
    assert (first.space, second.space) == (50.0, 15.0)


def test_without_a_queue_what_is_held_is_load() -> None:
    full = need(compute=60.0, space=110.0)
    overload = Overload().learned(1.5, ready=40.0, backlog=True)
    for _ in range(TICKS_AFTER):
        overload = overload.learned(1.1, ready=110.0, backlog=False)
    assert overload.arriving((full,)) == (full,)
    assert Overload().arriving((full,)) == (full,)
    # From a checkpoint of a release that did not remember what served.
    assert overload._replace(left=3, served=0.0).arriving((full,)) == (full,)
