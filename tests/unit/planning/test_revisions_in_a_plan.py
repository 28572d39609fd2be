"""A new revision beside the old one, updates of a rendering, and variants that leave."""

from __future__ import annotations

import copy
from typing import Any

from builders.world import SPEC, World

L40S = {"name": "l40s", "acceleratorClassName": "nvidia-l40s"}


def engine(**settings: Any) -> dict[str, Any]:
    return {"vllm": {**SPEC["engine"]["vllm"], **settings}}


def test_a_new_revision_is_brought_up_beside_the_old_which_goes_when_it_serves() -> None:
    world = World()
    world.decide(3)
    world.settle()
    (old,) = world.counts()
    world.edit(engine=engine(maxModelLen=4096))
    most = ready = 0
    for _ in range(30):
        world.reconcile()
        world._live()
        most = max(most, len(world.of("Pod")))
        ready = sum(bool(pod["status"].get("conditions")) for pod in world.of("Pod"))
        assert ready >= 3
    assert old not in world.counts()
    assert list(world.counts().values()) == [3]
    assert most <= 4
    assert world.holds("RolledOut") == ("True", "RolledOut")


def test_a_rollout_paused_half_way_keeps_both_revisions_until_it_goes_on() -> None:
    world = World()
    world.decide(4)
    world.settle()
    (old,) = world.counts()
    world.edit(engine=engine(maxModelLen=4096))
    while world.counts()[old] > 2:
        world.reconcile()
        world._live()
    world.edit(rollout={"minReadySeconds": 0, "paused": True})
    world.settle()
    (new,) = world.counts().keys() - {old}
    assert world.counts()[old] + world.counts()[new] == 4
    assert min(world.counts().values()) >= 1
    assert world.holds("RolledOut") == ("False", "RolloutPaused")
    paused = world.counts()
    world.decide(6)
    world.settle()
    assert sum(world.counts().values()) == 6
    assert sum(world.counts()[name] == paused[name] for name in paused) == 1
    world.edit(rollout={"minReadySeconds": 0})
    world.settle()
    assert world.counts() == {new: 6}


def test_a_new_revision_that_finds_no_devices_leaves_the_old_one_serving() -> None:
    world = World()
    world.decide(2)
    world.settle()
    (old,) = world.counts()
    world.schedulable = lambda pod: pod["metadata"]["labels"]["inferencefleet.io/revision"] == old
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    assert world.counts()[old] == 2
    assert world.holds("Available") == ("True", "Serving")
    assert world.holds("Ready") == ("False", "WaitingForDevices")
    assert world.holds("CapacityAvailable") == ("False", "WaitingForDevices")
    assert world.holds("Reconciling") is not None
    assert world.condition("Stalled") is None


def test_a_spec_edited_back_returns_to_its_former_pods() -> None:
    world = World()
    world.decide(2)
    world.settle()
    before = world.counts()
    pods = {pod["metadata"]["name"] for pod in world.of("Pod")}
    world.becomes_ready = lambda pod: pod["metadata"]["name"] in pods
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    world.edit(engine=SPEC["engine"])
    world.settle()
    assert world.counts() == before
    assert {pod["metadata"]["name"] for pod in world.of("Pod")} == pods


def test_an_edited_class_restarts_nothing_and_offers_an_update() -> None:
    world = World()
    world.decide(2)
    world.settle()
    pods = {pod["metadata"]["name"] for pod in world.of("Pod")}
    world.classes["nvidia-l4"]["spec"]["nodeSelector"] = {"pool": "new"}
    world.settle()
    assert {pod["metadata"]["name"] for pod in world.of("Pod")} == pods
    assert world.holds("UpdateAvailable") == ("True", "RenderingChanged")
    update = world.status["updateAvailable"]["id"]
    assert update in world.status["updateAvailable"]["message"]

    world.deployment["metadata"]["annotations"] = {"inferencefleet.io/apply-update": update}
    world.settle()
    assert not pods & {pod["metadata"]["name"] for pod in world.of("Pod")}
    assert all(pod["spec"]["nodeSelector"] == {"pool": "new"} for pod in world.of("Pod"))
    assert world.condition("UpdateAvailable") is None
    assert "updateAvailable" not in world.status


def test_an_applied_update_survives_a_change_of_bounds() -> None:
    world = World()
    world.settle()
    world.classes["nvidia-l4"]["spec"]["nodeSelector"] = {"pool": "new"}
    world.settle()
    update = world.status["updateAvailable"]["id"]
    world.deployment["metadata"]["annotations"] = {"inferencefleet.io/apply-update": update}
    world.settle()
    before = world.counts()
    world.edit(scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 5})
    world.settle()
    assert world.counts() == before


def test_a_variant_that_leaves_the_spec_goes_when_the_other_serves() -> None:
    world = World()
    world.classes["nvidia-l40s"] = {**world.classes["nvidia-l4"], "metadata": {"name": "nvidia-l40s"}}
    world.decide(2)
    world.settle()
    world.decision = None
    world.becomes_ready = lambda pod: pod["metadata"]["labels"]["inferencefleet.io/variant"] == "l4"
    world.edit(variants=[L40S])
    world.settle()
    assert 2 in world.counts().values()
    world.becomes_ready = lambda pod: True
    world.settle()
    left = [obj for obj in world.of("ReplicaSet") if obj["spec"]["replicas"]]
    assert [obj["metadata"]["labels"]["inferencefleet.io/variant"] for obj in left] == ["l40s"]


def test_the_old_revision_gives_way_to_pods_that_have_been_ready_long_enough() -> None:
    world = World(rollout={"minReadySeconds": 30})
    world.decide(2)
    world.settle()
    (old,) = world.counts()
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    assert world.counts()[old] == 2
    look_again = world.reconcile().requeue_after_seconds
    assert look_again is not None
    assert 30 <= look_again <= 31
    world.wait(look_again)
    world.reconcile()
    world.reconcile()
    assert world.counts()[old] == 1


def test_while_the_pods_of_a_new_revision_crash_the_old_one_follows_the_load() -> None:
    world = World()
    world.decide(2)
    world.settle()
    (old,) = world.counts()
    world.becomes_ready = lambda pod: pod["metadata"]["labels"]["inferencefleet.io/revision"] == old
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    (new,) = world.counts().keys() - {old}
    for pod in world.of("Pod"):
        if pod["metadata"]["labels"]["inferencefleet.io/revision"] == new:
            waiting = {"reason": "CrashLoopBackOff"}
            pod["status"]["containerStatuses"] = [{"name": "engine", "state": {"waiting": waiting}}]
    world.decide(5)
    world.settle()
    assert world.counts() == {old: 5, new: 1}


def test_a_class_that_vanishes_in_a_rollout_leaves_both_revisions_alone() -> None:
    world = World()
    world.decide(3)
    world.settle()
    (old,) = world.counts()
    world.wait(1)
    world.edit(engine=engine(maxModelLen=4096))
    world.reconcile()
    world._live()
    world.reconcile()
    (new,) = world.counts().keys() - {old}
    del world.classes["nvidia-l4"]
    world.settle()
    assert new in world.counts()  # the newest is what the variant should run


def test_a_return_is_not_complete_while_the_other_revision_still_has_replicas() -> None:
    world = World()
    world.decide(2)
    world.settle()
    former = world.status["rollout"]["completedRevision"]
    world.edit(engine=engine(maxModelLen=4096))
    world.reconcile()
    world._live()
    world.edit(engine=SPEC["engine"])
    world.reconcile()
    assert world.status["acceptedRevision"] == former
    assert world.holds("RolledOut") == ("False", "RollingOut")
    world.settle()
    assert world.holds("RolledOut") == ("True", "RolledOut")


def test_the_pool_of_a_revision_that_is_wanted_stays_with_no_replicas() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=1)
    world.settle()
    (pool,) = world.of("ReplicaSet")
    for length in (1000, 2000):
        world.wait(1)
        world.edit(engine=engine(maxModelLen=length))
        world.settle()
        world.edit(engine=SPEC["engine"])
        world.settle()
    world.edit(replicas=0)
    world.settle()
    # Made anew it might be rendered otherwise.
    assert pool["metadata"]["uid"] in [obj["metadata"]["uid"] for obj in world.of("ReplicaSet")]


def test_an_empty_pool_stays_until_its_last_pod_has_ended() -> None:
    world = World()
    for length in (1000, 2000, 3000):
        world.edit(engine=engine(maxModelLen=length))
        world.settle()
    oldest = min(world.of("ReplicaSet"), key=lambda obj: obj["spec"]["replicas"])
    other = copy.deepcopy(oldest)
    other["metadata"] |= {"name": "llama-l4-older", "uid": "uid-older", "creationTimestamp": "2020-01-01T00:00:00Z"}
    other["metadata"]["labels"]["inferencefleet.io/revision"] = "older"
    world.objects["ReplicaSet", "llama-l4-older"] = other
    world.objects["Pod", "last"] = {
        "metadata": {
            "name": "last",
            "uid": "uid-last",
            "resourceVersion": "1",
            "deletionTimestamp": "2020-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "uid": "uid-older", "controller": True}],
        },
        "status": {},
    }
    assert world.reconcile().writes == ()
    del world.objects["Pod", "last"]
    assert [write.reference.name for write in world.reconcile().writes] == ["llama-l4-older"]


def test_old_records_go_and_the_one_in_force_stays() -> None:
    world = World()
    for length in range(1, 15):
        world.edit(engine=engine(maxModelLen=length * 100))
        world.settle()
    records = world.of("ControllerRevision")
    assert len(records) <= 11
    assert world.status["acceptedRevision"] in [record["metadata"]["name"] for record in records]
    assert len(world.of("ReplicaSet")) <= 4
