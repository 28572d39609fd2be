"""What the store keeps, and whom a change touches."""

from __future__ import annotations

from typing import Any

import pytest

from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import (
    ACCELERATOR_CLASSES,
    CONTROLLER_REVISIONS,
    INFERENCE_DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
)
from inference_fleet.controller.store import Store
from inference_fleet.controller.trim import trim

KEY = ("chat", "llama")


def deployment(version: int = 1, accelerator: str = "h100", **metadata: Any) -> Object:
    return {
        "metadata": {"name": "llama", "namespace": "chat", "resourceVersion": str(version), **metadata},
        "spec": {"variants": [{"name": "a", "acceleratorClassName": accelerator}]},
    }


def pod(name: str = "p", version: int = 1, *, labels: dict[str, str] | None = None, **status: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "chat",
            "resourceVersion": str(version),
            "labels": {"inferencefleet.io/deployment": "llama"} if labels is None else labels,
            "managedFields": [{"manager": "kubelet"}],
            "annotations": {
                "controller.kubernetes.io/pod-deletion-cost": "5",
                "cni/ip": "x",
                "inferencefleet.io/engine-logging": "{}",
            },
        },
        "spec": {"containers": [{"name": "engine", "env": [{"name": "A"}]}], "nodeName": "n1"},
        "status": status,
    }


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put(INFERENCE_DEPLOYMENTS, deployment())
    return store


def test_a_snapshot_holds_the_object_its_children_and_all_classes(store: Store) -> None:
    store.put(PODS, pod("b"))
    store.put(PODS, pod("a"))
    store.put(PODS, pod("other", labels={"inferencefleet.io/deployment": "other"}))
    store.put(ACCELERATOR_CLASSES, {"metadata": {"name": "h100", "resourceVersion": "1"}, "spec": {}})
    store.put(NAMESPACES, {"metadata": {"name": "chat", "resourceVersion": "1", "labels": {"team": "a"}}})
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert [p["metadata"]["name"] for p in snapshot.pods] == ["a", "b"]
    assert list(snapshot.accelerator_classes) == ["h100"]
    assert snapshot.namespace_labels == {"team": "a"}
    assert store.snapshot(("chat", "gone")) is None


def test_a_snapshot_is_the_same_until_something_in_it_changes(store: Store) -> None:
    changes: list[tuple[Resource, Object]] = [
        (PODS, pod("p")),
        (PODS, pod("p", 2)),
        (INFERENCE_DEPLOYMENTS, deployment(2)),
        (ACCELERATOR_CLASSES, {"metadata": {"name": "h100", "resourceVersion": "1"}}),
        (NAMESPACES, {"metadata": {"name": "chat", "resourceVersion": "1", "labels": {"team": "x"}}}),
    ]
    for resource, obj in changes:
        former = store.snapshot(KEY)
        assert store.snapshot(KEY) is former
        store.put(resource, obj)
        assert store.snapshot(KEY) != former
    former = store.snapshot(KEY)
    store.remove(PODS, pod("p", 3))
    assert former is not None
    assert (now := store.snapshot(KEY)) is not None
    assert (len(former.pods), len(now.pods)) == (1, 0)
    store.remove(INFERENCE_DEPLOYMENTS, deployment(3))
    assert store.snapshot(KEY) is None


def test_a_change_elsewhere_leaves_a_snapshot_as_it_is(store: Store) -> None:
    former = store.snapshot(KEY)
    store.put(PODS, pod("other", labels={"inferencefleet.io/deployment": "mistral"}))
    assert store.snapshot(KEY) is former


def test_a_pod_is_trimmed_to_what_a_plan_reads() -> None:
    kept = trim(PODS, pod(phase="Running", conditions=[{"type": "Ready", "status": "True", "lastProbeTime": "x"}]))
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"controller.kubernetes.io/pod-deletion-cost": "5"}
    assert kept["spec"] == {"nodeName": "n1"}
    assert kept["status"]["conditions"] == [{"type": "Ready", "status": "True"}]


def test_the_copy_that_kubectl_keeps_is_dropped() -> None:
    noted = deployment(annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"})
    assert trim(INFERENCE_DEPLOYMENTS, noted)["metadata"]["annotations"] == {"mine": "1"}


def test_an_older_version_never_replaces_a_newer_one(store: Store) -> None:
    store.put(PODS, pod(version=5, phase="Running"))
    assert store.put(PODS, pod(version=4, phase="Pending")) == set()
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert snapshot.pods[0]["status"]["phase"] == "Running"


def test_a_change_that_no_plan_reads_touches_nobody(store: Store) -> None:
    assert store.put(PODS, pod(version=1, phase="Running")) == {KEY}
    assert store.put(PODS, pod(version=2, phase="Running")) == set()
    assert store.put(PODS, pod(version=3, phase="Failed")) == {KEY}


def test_a_child_that_changes_its_label_touches_both(store: Store) -> None:
    store.put(PODS, pod(version=1))
    touched = store.put(PODS, pod(version=2, labels={"inferencefleet.io/deployment": "other"}))
    assert touched == {KEY, ("chat", "other")}
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert snapshot.pods == ()


def test_a_list_drops_what_the_watch_failed_to_delete(store: Store) -> None:
    store.put(PODS, pod("kept", version=3))
    store.put(PODS, pod("missed", version=4))
    assert store.replace(PODS, [pod("kept", version=3)], list_version="9") == {KEY}
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert [p["metadata"]["name"] for p in snapshot.pods] == ["kept"]


def test_a_list_keeps_what_was_written_after_it(store: Store) -> None:
    store.put(REPLICA_SETS, pod("new", version=10))
    assert store.replace(REPLICA_SETS, [], list_version="9") == set()
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert len(snapshot.replica_sets) == 1


def test_a_late_answer_does_not_bring_back_what_was_deleted(store: Store) -> None:
    store.put(PODS, pod(version=3))
    store.remove(PODS, pod(version=7))
    assert store.put(PODS, pod(version=5)) == set()
    snapshot = store.snapshot(KEY)
    assert snapshot is not None
    assert snapshot.pods == ()
    assert store.put(PODS, pod(version=8)) == {KEY}  # a successor of the same name is another object


def test_a_late_deletion_does_not_take_the_successor(store: Store) -> None:
    store.put(PODS, pod(version=8))
    assert store.remove(PODS, pod(version=7)) == set()


def test_a_class_touches_those_that_name_it(store: Store) -> None:
    used = {"metadata": {"name": "h100", "resourceVersion": "1"}, "spec": {}}
    other = {"metadata": {"name": "l40s", "resourceVersion": "1"}, "spec": {}}
    assert store.put(ACCELERATOR_CLASSES, used) == {KEY}
    assert store.put(ACCELERATOR_CLASSES, other) == set()
    store.put(INFERENCE_DEPLOYMENTS, deployment(2, accelerator="l40s"))
    changed = {"metadata": {"name": "l40s", "resourceVersion": "5"}, "spec": {"platform": "CUDA"}}
    assert store.put(ACCELERATOR_CLASSES, changed) == {KEY}


def test_namespace_labels_touch_what_lives_there(store: Store) -> None:
    labelled = {"metadata": {"name": "chat", "resourceVersion": "2", "labels": {"a": "b"}}}
    assert store.put(NAMESPACES, labelled) == {KEY}
    assert store.put(NAMESPACES, {"metadata": {"name": "x", "resourceVersion": "2"}}) == set()


def test_an_object_of_former_times_without_a_spec_is_kept(store: Store) -> None:
    odd = {"metadata": {"name": "odd", "namespace": "chat", "resourceVersion": "3"}, "spec": {"variants": "none"}}
    assert store.put(INFERENCE_DEPLOYMENTS, odd) == {("chat", "odd")}
    assert set(store.deployments()) == {KEY, ("chat", "odd")}


def test_status_is_ours_and_no_news(store: Store) -> None:
    assert store.put(INFERENCE_DEPLOYMENTS, {**deployment(2), "status": {"replicas": 1}}) == set()
    assert store.put(INFERENCE_DEPLOYMENTS, {**deployment(3), "status": {"replicas": 2}}) == set()
    assert store.put(INFERENCE_DEPLOYMENTS, {**deployment(4, "l40s"), "status": {"replicas": 2}}) == {KEY}


def test_a_class_touches_whom_it_still_carries_by_a_former_spec(store: Store) -> None:
    record = {
        "metadata": {
            "name": "llama-1",
            "namespace": "chat",
            "resourceVersion": "2",
            "labels": {"inferencefleet.io/deployment": "llama"},
        },
        "data": {"spec": deployment(accelerator="t4")["spec"]},
    }
    store.put(CONTROLLER_REVISIONS, record)
    assert store.put(ACCELERATOR_CLASSES, {"metadata": {"name": "t4", "resourceVersion": "3"}, "spec": {}}) == {KEY}
