"""Only what carries our owner's UID is counted, written or deleted."""

from __future__ import annotations

import copy

from builders.world import World
from inference_fleet.planning.pools import owner_uid

CLIENTS = {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}}


def test_the_owner_is_the_one_that_controls() -> None:
    references = [{"uid": "a"}, {"uid": "b", "controller": True}]
    assert owner_uid({"metadata": {"ownerReferences": references}}) == "b"
    assert owner_uid({"metadata": {"ownerReferences": references[:1]}}) is None


def test_replicas_of_another_owner_are_not_counted() -> None:
    world = World()
    world.settle()
    foreign = copy.deepcopy(world.of("ReplicaSet")[0])
    foreign["metadata"] |= {"name": "llama-l4-foreign", "uid": "uid-foreign"}
    foreign["metadata"]["labels"]["inferencefleet.io/revision"] = "foreign"
    foreign["metadata"]["ownerReferences"][0]["uid"] = "uid-former"
    foreign["spec"]["replicas"] = 5
    world.objects["ReplicaSet", "llama-l4-foreign"] = foreign
    wanted = world.reconcile()
    assert (wanted.writes, wanted.status) == ((), None)


def test_a_network_policy_of_another_owner_stays_and_ours_goes_when_it_is_not_wanted_any_more() -> None:
    world = World(routing=CLIENTS)
    world.settle()
    foreign = copy.deepcopy(world.objects["NetworkPolicy", "llama"])
    foreign["metadata"] |= {"name": "foreign", "uid": "uid-foreign"}
    foreign["metadata"]["ownerReferences"] = []
    world.objects["NetworkPolicy", "foreign"] = foreign
    world.edit(routing={})
    world.settle()
    assert [obj["metadata"]["name"] for obj in world.of("NetworkPolicy")] == ["foreign"]


def test_a_child_that_is_being_deleted_is_not_put_right() -> None:
    world = World()
    world.settle()
    budget = world.objects["PodDisruptionBudget", "llama"]
    budget["spec"]["maxUnavailable"] = 0
    budget["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert world.reconcile().writes == ()
