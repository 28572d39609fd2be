"""Pods that ended for good: why they fell, how long it matters, which are removed."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import World
from inference_fleet.api.conditions import timestamp
from inference_fleet.planning.fallen_pods import fallen_pods
from inference_fleet.planning.pools import Pool, read_pools
from inference_fleet.planning.writes import Delete


def pod(name: str, *, at: float = 0.0, created: float = 0.0, **status: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp(at)}
    return {
        "metadata": {"name": name, "creationTimestamp": timestamp(created)},
        "spec": {"nodeName": "gpu-7"},
        "status": {"phase": "Failed", "conditions": [condition], **status},
    }


@pytest.mark.parametrize(
    ("reason", "message", "meant", "words"),
    [
        (
            "UnexpectedAdmissionError",
            "Allocate failed due to requested number of devices unavailable for nvidia.com/gpu. Requested: 1",
            "RefusedByNode",
            "fewer healthy devices than it promised (nvidia.com/gpu)",
        ),
        ("OutOfnvidia.com/gpu", "Node didn't have enough resource", "RefusedByNode", "less nvidia.com/gpu left"),
        ("OutOfcpu", "", "RefusedByNode", "less cpu left"),
        ("TopologyAffinityError", "Resources cannot be allocated", "RefusedByNode", "align"),
        ("NodeAffinity", "Predicate NodeAffinity failed", "RefusedByNode", "changed"),
        ("Evicted", "The node was low on resource: ephemeral-storage.", "NoSpace", "its disks"),
        ("Evicted", 'Usage of EmptyDir volume "cache" exceeds the limit "1Gi".', "NoSpace", "its disks"),
        ("Evicted", "The node was low on resource: memory. Threshold quantity: 100Mi", "OutOfHostMemory", "memory"),
        ("Evicted", "token=secret", "PodLost", "the node evicted the pod"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "PodLost", "shut down"),
        ("NodeLost", "", "PodLost", "gone"),
        ("Preempting", "Preempted in order to admit critical pod", "PodLost", "higher priority"),
        ("", "", "PodLost", "says nothing"),
        ("token=secret", "token=secret", "PodLost", "says nothing"),
    ],
)
def test_a_kubelets_word_becomes_a_reason_and_words_of_ours(reason: str, message: str, meant: str, words: str) -> None:
    (found,) = fallen_pods([pod("a", reason=reason, message=message)])

    assert found.reason == meant
    assert words in found.words
    assert "secret" not in found.words
    assert found.node == "gpu-7"


@pytest.mark.parametrize(
    ("message", "meant", "words"),
    [
        ("Pod was preempted by Kubelet to accommodate a critical pod.", "PodLost", "higher priority"),
        ("Pod was terminated in response to imminent node shutdown.", "PodLost", "shut down"),
        ("The node was low on resource: memory. Threshold quantity: 100Mi", "OutOfHostMemory", "memory"),
        ("token=secret", "PodLost", "the node evicted the pod"),
    ],
)
def test_an_engine_that_its_node_ended_and_that_drained_has_fallen_too(message: str, meant: str, words: str) -> None:
    # As kubelet 1.37.1 leaves it (the first message is recorded): the engine's exit status 0 decides the phase, and the
    # pod's own reason is lost.
    disruption = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
    ready = {"type": "Ready", "status": "False", "reason": "PodCompleted", "lastTransitionTime": timestamp(0)}
    (found,) = fallen_pods([pod("a", phase="Succeeded", conditions=[disruption, ready])])

    assert found.reason == meant
    assert words in found.words
    assert "secret" not in found.words


def test_a_pod_that_is_on_its_way_out_or_lives_has_not_fallen() -> None:
    leaving = pod("a")
    leaving["metadata"]["deletionTimestamp"] = timestamp(0)

    assert fallen_pods([leaving, pod("b", phase="Running"), pod("c", phase="Pending")]) == ()


def fall(world: World, *, number: int, reason: str = "UnexpectedAdmissionError", at: float | None = None) -> None:
    """One more pod of the only pool that fell, `at` or now."""
    (replica_set,) = world.of("ReplicaSet")
    time = world.now if at is None else at
    body = pod(f"fallen-{number}", at=time, created=time, reason=reason)
    body["metadata"] |= {
        "uid": f"uid-fallen-{number}",
        "resourceVersion": "1",
        "ownerReferences": [{"uid": replica_set["metadata"]["uid"], "controller": True}],
    }
    world.objects["Pod", f"fallen-{number}"] = body


def serving() -> World:
    world = World()
    world.settle()
    return world


def lacking() -> World:
    """A settled world whose only pod is gone and has a successor that waits for its container."""
    world = serving()
    (living,) = world.of("Pod")
    living["status"] = {"phase": "Pending", "conditions": []}
    living["metadata"]["creationTimestamp"] = timestamp(world.now)
    return world


def pool_of(world: World) -> Pool:
    (pool,) = read_pools(world.snapshot())
    return pool


def test_a_fall_is_told_while_its_replacement_starts() -> None:
    world = lacking()
    fall(world, number=1)
    world.reconcile()

    assert (pool_of(world).starting, pool_of(world).failing) == (1, 0)
    assert world.holds("Ready") == ("False", "RefusedByNode")
    assert "(on node gpu-7)" in (world.condition("Ready") or {})["message"]


@pytest.mark.parametrize(("nodes", "told"), [(3, "gpu-1, gpu-2, gpu-3)"), (4, "gpu-1, gpu-2, gpu-3, ...)")])
def test_of_the_nodes_three_are_named(nodes: int, told: str) -> None:
    world = lacking()
    for number in range(1, nodes + 1):
        fall(world, number=number)
        world.objects["Pod", f"fallen-{number}"]["spec"]["nodeName"] = f"gpu-{number}"
    world.reconcile()
    assert f"(on node {told}" in (world.condition("Ready") or {})["message"]


def test_a_fall_long_before_the_newest_pod_says_nothing_of_it() -> None:
    world = lacking()
    fall(world, number=1, at=world.now - 601)

    assert pool_of(world).recent_falls == ()


def test_a_fall_is_no_matter_once_every_replica_serves() -> None:
    world = serving()
    fall(world, number=1)
    world.reconcile()

    assert pool_of(world).recent_falls == ()
    assert world.holds("Ready") == ("True", "Serving")


def test_a_pod_after_three_refusals_is_not_on_its_way_any_more() -> None:
    world = lacking()
    for number in range(3):
        fall(world, number=number)

    assert (pool_of(world).starting, pool_of(world).failing) == (0, 1)
    # Until its engine runs: then a node has taken it.
    world.of("Pod")[-1]["status"]["containerStatuses"] = [{"name": "engine", "state": {"running": {}}}]
    assert (pool_of(world).starting, pool_of(world).failing) == (1, 0)


def test_pods_that_a_node_took_along_are_no_refusals() -> None:
    world = lacking()
    for number in range(8):
        fall(world, number=number, reason="Terminated")

    assert (pool_of(world).starting, pool_of(world).failing) == (1, 0)


def test_all_but_the_newest_three_are_removed_and_each_removal_is_fenced() -> None:
    world = serving()
    for number in range(5):
        fall(world, number=number, at=world.now + number)
    deletes = [write for write in world.reconcile().writes if isinstance(write, Delete)]

    assert [(write.reference.name, write.uid, write.resource_version) for write in deletes] == [
        ("fallen-0", "uid-fallen-0", "1"),
        ("fallen-1", "uid-fallen-1", "1"),
    ]
    assert not world.reconcile().writes
