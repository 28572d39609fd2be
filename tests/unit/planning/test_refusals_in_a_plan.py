"""What is refused, whole or in one variant, and what goes on running and scaling meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import SPEC, World

L40S = {"name": "l40s", "acceleratorClassName": "nvidia-l40s"}
BAD_ENGINE = {"vllm": {"version": "0.10.0", "maxModelLen": 8192}}


def test_a_refused_spec_leaves_the_accepted_one_running_and_scaling() -> None:
    world = World()
    world.decide(2)
    world.settle()
    before = world.counts()
    world.edit(engine=BAD_ENGINE)
    world.settle()
    assert world.counts() == before
    assert world.holds("Accepted") == ("False", "UnknownVersion")
    assert "spec.engine.vllm.version" in world.condition("Accepted")["message"]  # type: ignore[index]
    assert world.holds("Available") == ("True", "Serving")
    assert world.holds("Ready") == ("False", "SpecNotAccepted")
    assert world.holds("Stalled") == ("True", "SpecNotAccepted")
    assert world.holds("RolledOut") == ("True", "RolledOut")
    world.decide(4)
    world.settle()
    assert list(world.counts().values()) == [4]


def test_good_bad_good_returns_to_the_first_state_without_help() -> None:
    world = World()
    world.decide(2)
    world.settle()
    before, names = world.counts(), sorted(name for _, name in world.objects)
    world.edit(engine=BAD_ENGINE)
    world.settle()
    world.edit(engine=SPEC["engine"])
    world.settle()
    assert (world.counts(), sorted(name for _, name in world.objects)) == (before, names)
    assert world.holds("Ready") == ("True", "Serving")
    assert world.condition("Stalled") is None


def test_a_first_spec_that_is_refused_creates_nothing() -> None:
    world = World(engine=BAD_ENGINE)
    world.settle()
    assert world.objects == {}
    assert world.holds("Ready") == ("False", "SpecNotAccepted")


@pytest.mark.parametrize("spec", [None, {}, {"variants": "x"}, {"model": 3, "engine": [], "variants": [{}]}])
def test_an_object_stored_before_a_rule_existed_is_refused_and_does_not_crash(spec: Any) -> None:
    world = World()
    world.deployment["spec"] = spec
    world.settle()
    assert world.holds("Accepted") == ("False", "InvalidSpec")


def test_a_bad_variant_does_not_stop_its_siblings() -> None:
    world = World(variants=[SPEC["variants"][0], L40S])
    world.settle()
    assert world.holds("Accepted") == ("True", "SomeVariantsRefused")
    assert "spec.variants[1].acceleratorClassName" in world.condition("Accepted")["message"]  # type: ignore[index]
    assert world.holds("Ready") == ("True", "Serving")
    refused = world.status["variants"][1]["refusals"][0]
    assert (refused["reason"], refused["variant"]) == ("AcceleratorClassNotFound", "l40s")


def test_a_class_that_is_not_open_to_the_namespace_is_refused() -> None:
    world = World()
    world.classes["nvidia-l4"]["spec"]["namespaceSelector"] = {"matchLabels": {"team": "search"}}
    world.settle()
    assert world.holds("Accepted") == ("False", "AcceleratorClassNotAllowed")
    world.namespace_labels = {"team": "search"}
    world.settle()
    assert world.holds("Accepted") == ("True", "Accepted")


def test_a_class_that_vanishes_does_not_touch_what_serves() -> None:
    world = World()
    world.decide(2)
    world.settle()
    del world.classes["nvidia-l4"]
    world.settle()
    assert list(world.counts().values()) == [2]
    world.decide(3)
    world.settle()
    assert list(world.counts().values()) == [3]


def test_a_schedule_that_cannot_be_read_is_refused_by_its_path() -> None:
    schedule = {"name": "day", "start": "0 8 * * *", "timeZone": "Mars/Base", "durationSeconds": 600, "minReplicas": 1}
    world = World(scaling={"mode": "Automatic", "schedules": [schedule]})
    world.settle()
    assert world.holds("Accepted") == ("False", "InvalidSpec")
    assert "spec.scaling.schedules[0].timeZone" in world.condition("Accepted")["message"]  # type: ignore[index]


def test_no_replicas_at_all_are_refused_in_automatic_where_nothing_would_wake_them() -> None:
    world = World(scaling={"mode": "Automatic", "minReplicas": 0, "maxReplicas": 3})
    world.settle()
    assert world.holds("Accepted") == ("False", "NotSupportedYet")
    world.edit(scaling={"mode": "Manual"}, replicas=0)
    world.settle()
    assert world.holds("Ready") == ("True", "ScaledToZero")


def test_settings_that_contradict_each_other_only_after_merging_are_refused() -> None:
    variants = [{**SPEC["variants"][0], "pod": {"resources": {"requests": {"memory": "8Gi"}}}}]
    world = World(pod={"resources": {"limits": {"memory": "4Gi"}}}, variants=variants)
    world.settle()
    assert world.holds("Accepted") == ("False", "InvalidSpec")
    assert "spec.variants[0].pod.resources" in world.condition("Accepted")["message"]  # type: ignore[index]
    assert world.of("ReplicaSet") == []


def test_a_class_that_is_not_there_is_refused_with_the_nearest_that_is() -> None:
    # The only variant names no class of the cluster: the nearest is one that the spec does not name at all.
    world = World(variants=[{"name": "l4", "acceleratorClassName": "nvidia-l40"}])
    world.classes["amd-mi300x"] = world.classes["nvidia-l4"]
    world.reconcile()

    assert world.holds("Accepted") == ("False", "AcceleratorClassNotFound")
    assert "Did you mean 'nvidia-l4'?" in (world.condition("Accepted") or {})["message"]


def test_a_class_that_makes_no_sense_is_refused_with_its_own_field() -> None:
    world = World()
    world.classes["nvidia-l4"]["spec"]["deviceMemory"] = "much"
    world.settle()
    assert world.holds("Accepted") == ("False", "AcceleratorClassInvalid")
    told = world.condition("Accepted")
    assert told is not None
    assert "spec.variants[0].acceleratorClassName" in told["message"]
    assert "deviceMemory" in told["message"]


def test_another_device_is_not_taken_for_a_misspelt_one() -> None:
    world = World(variants=[{"name": "a", "acceleratorClassName": "nvidia-v100"}])
    world.classes["nvidia-a10"] = world.classes["nvidia-l4"]
    world.reconcile()

    message = (world.condition("Accepted") or {})["message"]
    assert "Create it, or use one that exists: `kubectl get acceleratorclasses` lists them." in message
    assert "Did you mean" not in message


def test_a_class_whose_name_goes_on_is_nearer_than_one_with_another_number() -> None:
    world = World(variants=[{"name": "a", "acceleratorClassName": "nvidia-h100"}])
    world.classes["nvidia-h200"] = world.classes["nvidia-h100-80gb"] = world.classes["nvidia-l4"]
    world.reconcile()

    # By letters alone it would be nvidia-h200.
    assert "Did you mean 'nvidia-h100-80gb'?" in (world.condition("Accepted") or {})["message"]
