"""Pods are judged one by one, and a pool is the sum of them."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import World
from inference_fleet.api.conditions import Reason
from inference_fleet.planning.counts import observation_of
from inference_fleet.planning.pools import read_pools
from inference_fleet.planning.times import unix_seconds
from inference_fleet.scaling.types import PodSample


def pool_with(status: dict[str, Any]) -> Any:
    world = World()
    world.settle()
    world.of("Pod")[0]["status"] = status
    (pool,) = read_pools(world.snapshot())
    return pool


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [
        ("CrashLoopBackOff", Reason.ENGINE_CRASHED),
        ("ImagePullBackOff", Reason.IMAGE_NOT_AVAILABLE),
        ("ErrImagePull", Reason.IMAGE_NOT_AVAILABLE),
        ("CreateContainerConfigError", Reason.CONFIGURATION_MISSING),
    ],
)
def test_a_container_that_waits_for_good_is_failing(waiting: str, reason: Reason) -> None:
    pool = pool_with({"containerStatuses": [{"name": "engine", "state": {"waiting": {"reason": waiting}}}]})
    assert (pool.pods[0].failing, pool.failing, pool.starting) == (reason, 1, 0)


def test_a_container_that_restarted_often_is_failing_until_it_is_ready() -> None:
    containers = [{"name": "engine", "restartCount": 3, "state": {"running": {}}}]
    assert pool_with({"containerStatuses": containers}).failing == 1
    ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    assert pool_with({"containerStatuses": containers, "conditions": ready}).failing == 0


def test_a_first_restart_is_still_a_start() -> None:
    containers = [{"name": "engine", "restartCount": 1, "state": {"running": {}}}]
    assert pool_with({"containerStatuses": containers}).starting == 1


@pytest.mark.parametrize(
    ("container", "took"),
    [
        ({"restartCount": 0, "state": {"running": {"startedAt": "2026-01-05T08:00:30Z"}}}, 7500.0),
        # Ready again after a moment out of the endpoints: read as a start it would be two hours.
        ({"restartCount": 0, "state": {"running": {"startedAt": "2026-01-05T08:00:00Z"}}}, None),
        ({"restartCount": 1, "state": {"running": {"startedAt": "2026-01-05T10:04:00Z"}}}, None),
        ({"restartCount": 0, "state": {}}, 7500.0),
    ],
    ids=["first", "again", "restarted", "unknown"],
)
def test_a_cold_start_is_the_first_one(container: dict[str, Any], took: float | None) -> None:
    budget_seconds = 7470.0
    world = World()
    world.settle()
    pod = world.of("Pod")[0]
    pod["metadata"]["creationTimestamp"] = "2026-01-05T08:00:00Z"
    pod["status"] = {
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-05T10:05:00Z"}],
        "containerStatuses": [{"name": "engine", **container}],
    }
    probe = world.of("ReplicaSet")[0]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    probe |= {"failureThreshold": budget_seconds / 5, "periodSeconds": 5}
    (pool,) = read_pools(world.snapshot())
    assert pool.pods[0].cold_start_seconds == took
    (variant,) = observation_of([pool], most={"l4": 4}).variants
    assert variant.cold_start_seconds == (() if took is None else (took,))


def test_a_pod_that_is_not_ready_is_observed_apart() -> None:
    world = World()
    world.settle()
    pod = world.of("Pod")[0]
    pod["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}
    name = pod["metadata"]["name"]
    samples = {name: PodSample(pod=name, sample_time=1.0)}
    (variant,) = observation_of(read_pools(world.snapshot()), most={"l4": 4}, samples=samples).variants
    assert (variant.ready_pods, variant.pods) == ((), ())
    assert (variant.unready_pods, variant.unready_samples) == ((name,), (samples[name],))


def test_containers_that_are_not_the_engine_do_not_count() -> None:
    containers = [{"name": "proxy", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]
    assert pool_with({"containerStatuses": containers}).failing == 0


def test_an_unschedulable_pod_keeps_the_schedulers_words() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    pool = pool_with({"conditions": [scheduled]})
    assert (pool.pods[0].unschedulable, pool.unschedulable, pool.starting) == ("0/3 nodes", 1, 0)


def test_a_pod_with_a_scheduling_gate_starts_and_is_not_unschedulable() -> None:
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    assert pool_with({"conditions": [gated]}).starting == 1


def test_an_evicted_pod_is_no_replica_any_more() -> None:
    assert pool_with({"phase": "Failed"}).pods == ()


def test_a_replica_without_a_pod_yet_is_starting() -> None:
    world = World()
    world.settle()
    world.of("ReplicaSet")[0]["spec"]["replicas"] = 3
    (pool,) = read_pools(world.snapshot())
    assert (pool.ready, pool.starting) == (1, 2)


def test_pods_that_a_quota_forbids_are_unschedulable_and_named() -> None:
    world = World()
    world.settle()
    replica_set = world.of("ReplicaSet")[0]
    replica_set["spec"]["replicas"] = 3
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
    replica_set["status"] = {"conditions": [failure]}
    (pool,) = read_pools(world.snapshot())
    assert (pool.unschedulable, pool.starting, pool.quota) == (2, 0, "exceeded quota")
    world.reconcile()
    assert world.holds("CapacityAvailable") == ("False", "QuotaExceeded")


def test_terminating_pods_are_counted_apart() -> None:
    world = World()
    world.settle()
    world.of("Pod")[0]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (pool,) = read_pools(world.snapshot())
    assert (pool.ready, pool.terminating) == (0, 1)


def test_a_time_that_cannot_be_read_is_none() -> None:
    assert unix_seconds("yesterday") is None
    assert unix_seconds(None) is None
    assert unix_seconds("1970-01-01T00:01:00Z") == 60.0
