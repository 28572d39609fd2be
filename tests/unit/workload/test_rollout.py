"""The rollout's step: capacity is never given up before it is replaced, and the surge is kept."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.workload.rollout import PoolState, Standing, paused_pools, step, surge_of

C, S, L = Standing.CURRENT, Standing.SUPERSEDED, Standing.LEFT


def pool(revision: str, standing: Standing, replicas: int, **seen: int) -> PoolState:
    ready = seen.get("ready", replicas)
    return PoolState(
        variant="left" if standing is L else "a",
        revision=revision,
        standing=standing,
        replicas=replicas,
        ready=ready,
        available=seen.get("available", ready),
        broken=seen.get("broken", 0),
    )


def after(*pools: PoolState, desired: int, surge: int = 1, most: int = 1000, paused: bool = False) -> dict[str, int]:
    found = paused_pools(pools) if paused else pools
    targets = step(found, desired={"a": desired}, surge=surge, most=most)
    return {target.revision: target.replicas for target in targets}


def test_a_first_revision_comes_up_at_once() -> None:
    assert after(pool("new", C, 0), desired=4) == {"new": 4}


def test_a_new_revision_is_surged_beside_the_old() -> None:
    assert after(pool("old", S, 4), pool("new", C, 0), desired=4) == {"old": 4, "new": 1}


def test_the_old_revision_gives_way_only_to_replicas_that_have_proved_themselves() -> None:
    assert after(pool("old", S, 4), pool("new", C, 1, available=0), desired=4) == {"old": 4, "new": 1}
    assert after(pool("old", S, 4), pool("new", C, 1), desired=4) == {"old": 3, "new": 1}


def test_a_rollout_ends_with_the_new_revision_alone() -> None:
    old, new, steps = 4, 0, 0
    while (old, new) != (0, 4):
        counts = after(pool("old", S, old), pool("new", C, new), desired=4)
        assert counts["old"] + counts["new"] <= 5
        assert counts["old"] + new >= 4
        old, new, steps = counts["old"], counts["new"], steps + 1
        assert steps < 20


def test_a_new_revision_that_cannot_start_leaves_the_old_alone_and_gets_no_more_pods() -> None:
    counts = after(pool("old", S, 4), pool("new", C, 1, ready=0, broken=1), desired=4, surge=3)
    assert counts == {"old": 4, "new": 1}


def test_while_the_new_revision_cannot_start_the_old_one_follows_the_load() -> None:
    stuck = pool("new", C, 1, ready=0, broken=1)
    assert after(pool("old", S, 4), stuck, desired=8) == {"old": 8, "new": 1}
    assert after(pool("old", S, 8, ready=5, broken=3), stuck, desired=8) == {"old": 8, "new": 1}
    assert after(pool("old", S, 8), stuck, desired=3) == {"old": 3, "new": 1}


def test_a_fleet_that_turns_out_not_to_start_shrinks_to_the_surge_before_the_old_revision_grows() -> None:
    stuck = pool("new", C, 5, ready=0, broken=5)
    assert after(pool("old", S, 4), stuck, desired=8) == {"old": 4, "new": 1}


def test_only_the_newest_revision_that_serves_gains_replicas() -> None:
    stuck = pool("new", C, 1, ready=0, broken=1)
    counts = after(pool("older", S, 2), pool("old", S, 2), pool("dead", S, 1, ready=0), stuck, desired=6)
    assert counts == {"older": 2, "old": 3, "dead": 1, "new": 1}


def test_a_revision_with_a_broken_pod_and_none_that_serves_gets_no_more_of_them() -> None:
    counts = after(pool("old", S, 4), pool("new", C, 2, ready=0, broken=1), desired=4, surge=3)
    assert counts == {"old": 4, "new": 2}  # by the surge alone it would be 3


def test_one_bad_pod_does_not_hold_a_revision_that_serves() -> None:
    assert after(pool("old", S, 1), pool("new", C, 3, ready=2, broken=1), desired=5)["new"] == 5


def test_old_pods_that_are_out_for_a_moment_stay_until_the_new_revision_has_proved_itself() -> None:
    assert after(pool("old", S, 4, ready=0), pool("new", C, 0), desired=4) == {"old": 4, "new": 1}
    assert after(pool("old", S, 4, ready=0), pool("new", C, 1), desired=4)["old"] == 0
    assert after(pool("old", S, 4, ready=0), pool("new", C, 1, ready=1, available=0), desired=4)["old"] == 4


def test_old_pods_that_are_broken_give_way_at_once() -> None:
    assert after(pool("old", S, 4, ready=0, broken=4), pool("new", C, 0), desired=4)["old"] == 0


def test_scaling_down_takes_replicas_that_are_not_ready_first() -> None:
    assert after(pool("new", C, 5, ready=3), desired=3) == {"new": 3}


def test_a_variant_that_left_the_spec_goes_when_the_others_carry_the_load() -> None:
    assert after(pool("gone", L, 2), pool("new", C, 2, ready=0), desired=2) == {"gone": 2, "new": 2}
    assert after(pool("gone", L, 2), pool("new", C, 2), desired=2) == {"gone": 0, "new": 2}


def test_a_variant_takes_over_from_another_within_what_all_together_may_have() -> None:
    assert after(pool("gone", L, 4), pool("new", C, 0), desired=4, most=6) == {"gone": 4, "new": 2}
    assert after(pool("gone", L, 4), pool("new", C, 2), desired=4, most=6) == {"gone": 2, "new": 2}
    assert after(pool("gone", L, 2), pool("new", C, 2), desired=4, most=6) == {"gone": 2, "new": 4}


def test_what_left_the_spec_gives_way_before_an_older_revision() -> None:
    counts = after(pool("gone", L, 2), pool("old", S, 2), pool("new", C, 4), desired=6)
    assert counts == {"gone": 0, "old": 2, "new": 5}  # only two more serve than are wanted


def test_paused_scales_what_serves_and_starts_no_revision() -> None:
    assert after(pool("old", S, 4), pool("new", C, 0), desired=6, paused=True) == {"old": 6, "new": 0}
    assert after(pool("new", C, 0), desired=2, paused=True) == {"new": 2}


def test_paused_half_way_keeps_both_revisions_while_the_larger_one_follows_the_load() -> None:
    old, new = pool("old", S, 3), pool("new", C, 1)
    assert after(old, new, desired=4, paused=True) == {"old": 3, "new": 1}
    assert after(old, new, desired=6, paused=True) == {"old": 5, "new": 1}
    assert after(old, new, desired=2, paused=True) == {"old": 1, "new": 1}
    assert after(pool("old", S, 1), pool("new", C, 3), desired=6, paused=True) == {"old": 1, "new": 5}


def test_paused_with_a_revision_that_cannot_start_the_other_one_carries_all() -> None:
    failing = pool("new", C, 3, ready=0, broken=3)
    assert after(pool("old", S, 2), failing, desired=6, paused=True) == {"old": 6, "new": 3}
    # The pods that wait take no capacity away from those that serve.
    waiting = pool("new", C, 1, ready=0)
    assert after(pool("old", S, 4), waiting, desired=4, paused=True) == {"old": 4, "new": 1}


def test_paused_every_variant_has_a_pool_of_its_own_that_scales() -> None:
    pools = [pool("a-old", S, 3), pool("a-new", C, 1), replace(pool("b", C, 1), variant="b")]
    targets = step(paused_pools(pools), desired={"a": 5, "b": 2}, surge=1, most=1000)
    assert [target.replicas for target in targets] == [4, 1, 2]


def test_paused_removes_what_the_spec_no_longer_has() -> None:
    pools = [pool("gone", L, 2), pool("old", S, 3), pool("new", C, 1)]
    assert after(*pools, desired=4, paused=True) == {"gone": 0, "old": 3, "new": 1}


@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    desired=st.lists(st.integers(0, 9), min_size=1, max_size=4),
)
def test_paused_the_replicas_are_as_many_as_are_wanted_and_no_second_pool_grows(
    counts: list[int], desired: list[int]
) -> None:
    for wanted in desired:
        for _ in range(2 * len(counts)):
            pools = [
                pool(f"r{number}", C if number == len(counts) - 1 else S, count) for number, count in enumerate(counts)
            ]
            targets = list(after(*pools, desired=wanted, paused=True).values())
            assert sum(target > count for target, count in zip(targets, counts, strict=True)) <= 1
            counts = targets
        assert sum(counts) == wanted


def test_a_percentage_of_surge_is_rounded_up_and_at_least_one() -> None:
    assert [surge_of("25%", desired=n) for n in (1, 4, 5)] == [1, 1, 2]
    assert surge_of(3, desired=1) == 3


states = st.builds(
    lambda standing, replicas, ready, available, broken: pool(
        "r",
        standing,
        replicas,
        ready=min(replicas, ready),
        available=min(replicas, ready, available),
        broken=min(broken, replicas - min(replicas, ready)),
    ),
    st.sampled_from([C, S, L]),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(0, 8),
    st.integers(0, 3),
)


@given(states, states, states, st.integers(0, 8), st.integers(1, 3), st.integers(0, 30))
def test_no_step_lowers_ready_capacity_below_what_is_needed(
    first: PoolState, second: PoolState, third: PoolState, desired: int, surge: int, most: int
) -> None:
    pools = []
    for index, (state, standing) in enumerate(zip((first, second, third), (C, S, L), strict=True)):
        seen = {"ready": state.ready, "available": state.available, "broken": state.broken}
        pools.append(pool(f"r{index}", standing, state.replicas, **seen))
    targets = step(pools, desired={"a": desired}, surge=surge, most=most)
    before = sum(state.ready for state in pools)
    ready = sum(min(state.ready, target.replicas) for state, target in zip(pools, targets, strict=True))
    assert ready >= min(before, desired)
    had, have = sum(state.replicas for state in pools), sum(target.replicas for target in targets)
    assert have <= max(had, most)
    stuck = pools[0].replicas and pools[0].broken == pools[0].replicas
    for state, target in zip(pools[1:], targets[1:], strict=True):
        if target.replicas > state.replicas:
            assert state.standing is S
            assert stuck
            assert target.replicas + pools[0].replicas <= desired + surge
    grown = targets[0].replicas > pools[0].replicas
    if grown and pools[1].replicas:
        assert targets[0].replicas + pools[1].replicas <= desired + surge


@given(
    old=st.integers(1, 8),
    new=st.integers(0, 8),
    desired=st.integers(0, 8),
    surge=st.integers(1, 3),
    devices=st.integers(1, 9),
)
def test_a_revision_that_never_starts_comes_to_rest_beside_the_old_one(
    old: int, new: int, desired: int, surge: int, devices: int
) -> None:
    """Old pods start while there are devices, new ones never do: no replicas come and go for ever."""
    seen = []
    for _ in range(12):
        ready = min(old, devices)
        counts = after(
            pool("old", S, old, ready=ready, broken=old - ready),
            pool("new", C, new, ready=0, broken=new),
            desired=desired,
            surge=surge,
        )
        old, new = counts["old"], counts["new"]
        seen.append((old, new))
        assert min(old, devices) >= min(ready, desired)
    assert seen[-1] == seen[-2] == seen[-3]
    assert new <= surge
    assert old + new <= desired + surge
