"""Planning, rule by rule, on a world that carries plans out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from builders.world import World
from inference_fleet.api.conditions import timestamp
from inference_fleet.planning.plan import plan
from inference_fleet.planning.writes import Create, Patch, Write
from inference_fleet.scaling.types import Rule


def test_a_new_object_gets_its_children_and_its_minimum_without_waiting_for_a_measurement() -> None:
    world = World()
    world.settle()
    kinds = {kind for kind, _ in world.objects}
    assert kinds == {"ReplicaSet", "Pod", "ControllerRevision", "Service", "ServiceAccount", "PodDisruptionBudget"}
    assert list(world.counts().values()) == [1]
    assert world.holds("Ready") == ("True", "Serving")
    assert world.status["summary"] == {
        "model": "Llama-3.1-8B-Instruct",
        "replicas": "1/1",
        "devices": 1,
        "version": "0.33.0",
        "quantization": "none",
    }
    assert world.status["cost"] == {"perHour": "0.80", "currency": "USD"}


def test_a_settled_object_costs_no_writes_and_no_status() -> None:
    world = World()
    world.decide(3)
    world.settle()
    again = world.reconcile()
    assert (again.writes, again.status, again.events) == ((), None, ())
    world.wait(3600)
    later = world.reconcile()
    assert (later.writes, later.status, later.events) == ((), None, ())


def test_every_child_is_owned_by_the_object() -> None:
    world = World(routing={"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}})
    world.reconcile()
    world.reconcile()
    assert len(world.objects) == 7
    for obj in world.objects.values():
        owner = obj["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"]) == ("uid-cr", True)
        assert obj["metadata"]["namespace"] == "chat"


def test_the_decision_of_the_tick_is_carried_out() -> None:
    world = World()
    world.settle()
    world.decide(5)
    world.settle()
    assert list(world.counts().values()) == [5]
    last = world.status["scaling"]["lastDecision"]
    assert (last["from"], last["to"], last["rule"]) == (1, 5, "Saturation")
    assert [entry["to"] for entry in world.status["scaling"]["history"]] == [5, 1]


def test_replicas_of_one_variant_that_replace_those_of_another_are_a_change_with_its_event() -> None:
    world = World()
    world.decide(3, message="6 wanted, scaling.maxReplicas allows 3", rule=Rule.MAXIMUM)
    world.settle()
    words = "1 of large replaces 1 of small"
    message = f"6 wanted, scaling.maxReplicas allows 3; {words}"
    world.decide(3, message=message, rule=Rule.MAXIMUM, exchange=words)
    told = world.reconcile()
    assert world.status["scaling"]["lastDecision"]["message"] == message
    newest = world.status["scaling"]["history"][0]
    assert (newest["from"], newest["to"], newest["message"]) == (3, 3, message)
    assert [event.message for event in told.events] == [f"3 -> 3 replicas (Maximum): {message}"]
    # Told once: the next look sees them under way.
    world.decide(3, message="6 wanted, scaling.maxReplicas allows 3", rule=Rule.MAXIMUM)
    again = world.reconcile()
    assert (again.status, again.events) == ((None), ())
    assert world.status["scaling"]["lastDecision"]["message"] == message


def is_lowering(writes: Sequence[Write]) -> bool:
    """Whether the executor looks twice before each of them."""
    patches = [write for write in writes if isinstance(write, Patch)]
    assert patches
    assert len({write.lowers for write in patches}) == 1
    return patches[0].lowers


def test_a_raise_needs_no_second_look() -> None:
    world = World()
    world.settle()
    world.decide(3)
    assert not is_lowering(world.reconcile().writes)


def test_pods_that_go_are_marked_before_the_count_falls() -> None:
    world = World()
    world.decide(3)
    world.settle()
    world.decide(2, rule=Rule.DOWN_RATE)
    first = world.reconcile()
    assert [write.reference.kind for write in first.writes] == ["Pod"]
    assert is_lowering(first.writes)
    second = world.reconcile()
    assert is_lowering(second.writes)
    assert [write.body for write in second.writes if isinstance(write, Patch)] == [{"spec": {"replicas": 2}}]
    marked = [
        p["metadata"]["name"]
        for p in world.of("Pod")
        if p["metadata"]["labels"]["inferencefleet.io/serving"] == "false"
    ]
    assert len(marked) == 1
    world.settle()
    assert marked[0] not in [pod["metadata"]["name"] for pod in world.of("Pod")]


def test_a_mark_is_taken_back_when_the_pod_stays_after_all() -> None:
    world = World()
    world.decide(3)
    world.settle()
    world.decide(2, rule=Rule.DOWN_RATE)
    world.reconcile()
    world.decide(3)
    assert not is_lowering(world.reconcile().writes)
    world.settle()
    assert {p["metadata"]["labels"]["inferencefleet.io/serving"] for p in world.of("Pod")} == {"true"}
    assert list(world.counts().values()) == [3]


def test_the_least_loaded_pod_goes_first() -> None:
    world = World()
    world.decide(3)
    world.settle()
    names = [pod["metadata"]["name"] for pod in world.of("Pod")]
    world.decide(2, rule=Rule.DOWN_RATE)
    loads = {names[0]: 7.0, names[1]: 1.0, names[2]: 9.0}
    wanted = plan(dataclasses.replace(world.snapshot(), pod_loads=loads), world.decision, world.now)
    assert [write.reference.name for write in wanted.writes] == [names[1]]


def test_bounds_bind_at_once_and_do_not_wait_for_the_tick() -> None:
    world = World()
    world.decide(6)
    world.settle()
    world.edit(scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 3})
    world.settle()
    assert list(world.counts().values()) == [3]
    world.edit(scaling={"mode": "Automatic", "minReplicas": 7, "maxReplicas": 8})
    world.settle()
    assert list(world.counts().values()) == [7]


def test_a_schedule_may_ask_for_more_than_the_bounds_beside_it() -> None:
    always = {"name": "day", "start": "* * * * *", "durationSeconds": 600, "minReplicas": 15, "maxReplicas": 20}
    world = World(scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 10, "schedules": [always]})
    world.settle()
    assert list(world.counts().values()) == [15]
    world.edit(scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 10})
    world.settle()
    assert list(world.counts().values()) == [10]


def test_a_variants_own_maximum_binds_at_once_where_the_others_could_carry_the_total() -> None:
    both = [{"name": name, "acceleratorClassName": "nvidia-l4"} for name in ("a", "b")]
    world = World(variants=both)
    world.decide(5)
    world.settle()
    world.edit(variants=[{**both[0], "maxReplicas": 2}, both[1]])
    world.settle()
    assert {v["name"]: v["desiredReplicas"] for v in world.status["variants"]} == {"a": 2, "b": 3}


def test_a_decision_made_in_another_mode_is_not_followed() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=3)
    world.settle()
    world.decide(3, rule=Rule.MANUAL, recommended=1)
    world.edit(scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 10}, replicas=9)
    world.decide(9, rule=Rule.MANUAL, recommended=1)
    world.settle()
    assert list(world.counts().values()) == [3]  # held until it is measured


def test_a_count_that_nobody_can_follow_is_not_overwritten() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=3)
    world.settle()
    world.edit(replicas=5000)
    world.settle()
    assert world.deployment["spec"]["replicas"] == 5000


def test_a_count_set_by_hand_keeps_what_the_tick_recommends_and_measured() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=2)
    world.decide(2, rule=Rule.MANUAL, recommended=5, message="by hand")
    world.settle()
    assert world.status["scaling"]["lastDecision"]["message"] == "by hand"
    world.edit(replicas=3)
    world.settle()
    scaling = world.status["scaling"]
    assert (scaling["desiredReplicas"], scaling["recommendedReplicas"]) == (3, 5)
    assert scaling["signals"]["state"] == "Fresh"


def test_how_long_replicas_are_held_is_told_and_forgotten_with_the_hold() -> None:
    world = World()
    world.decide(3, rule=Rule.HOLD, scale_down_allowed_after=world.now + 90)
    world.settle()
    assert world.status["scaling"]["scaleDownAllowedAfter"] == timestamp(world.now + 90)
    world.decide(3)
    world.settle()
    assert "scaleDownAllowedAfter" not in world.status["scaling"]


def test_the_last_ten_changes_are_kept() -> None:
    world = World()
    for count in (2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3):
        world.decide(count)
        world.settle()
    history = world.status["scaling"]["history"]
    assert [entry["to"] for entry in history] == [3, 4, 5, 6, 7, 8, 7, 6, 5, 4]


def test_manual_follows_spec_replicas_at_once() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=3)
    world.settle()
    assert list(world.counts().values()) == [3]
    world.edit(replicas=5)
    world.settle()
    assert list(world.counts().values()) == [5]
    assert world.holds("ScalingActive") == ("True", "Manual")
    assert len(world.of("ControllerRevision")) == 1


def test_manual_without_replicas_is_seeded_once_from_the_live_count() -> None:
    world = World()
    world.decide(4)
    world.settle()
    world.edit(scaling={"mode": "Manual"})
    world.settle()
    assert world.deployment["spec"]["replicas"] == 4
    assert list(world.counts().values()) == [4]
    seeds = [write for write in world.writes if write.reference.kind == "InferenceDeployment"]
    assert len(seeds) == 1
    assert not is_lowering(seeds)  # nothing goes by it, so that it need not wait for a view that is kept up


def test_a_deleted_child_is_made_again_and_an_edited_one_put_right() -> None:
    world = World()
    world.settle()
    del world.objects["Service", "llama"]
    world.objects["PodDisruptionBudget", "llama"]["spec"]["maxUnavailable"] = 0
    world.settle()
    assert ("Service", "llama") in world.objects
    assert world.objects["PodDisruptionBudget", "llama"]["spec"]["maxUnavailable"] == 1


def test_what_is_not_ours_is_left_alone() -> None:
    world = World()
    foreign = {
        "metadata": {"name": "llama", "uid": "x", "resourceVersion": "1"},
        "spec": {"selector": {"app": "other"}},
    }
    world.objects["Service", "llama"] = foreign
    pool = {
        "metadata": {
            "name": "llama-l4-other",
            "uid": "y",
            "resourceVersion": "1",
            "labels": {"inferencefleet.io/variant": "l4", "inferencefleet.io/revision": "other"},
        },
        "spec": {"replicas": 9},
    }
    world.objects["ReplicaSet", "llama-l4-other"] = pool
    wanted = world.reconcile()
    assert all(write.reference.name != "llama-l4-other" for write in wanted.writes)
    assert world.objects["Service", "llama"] == foreign
    assert "NameTaken" in [event.reason for event in wanted.events]


def test_a_deleted_object_is_not_planned() -> None:
    world = World()
    world.settle()
    world.deployment["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.decide(5)
    assert world.reconcile().writes == ()


def test_a_fresh_process_never_plans_fewer() -> None:
    world = World()
    world.decide(6)
    world.settle()
    world.decision = None
    world.settle()
    assert list(world.counts().values()) == [6]


def test_a_lost_status_loses_no_capacity() -> None:
    world = World()
    world.decide(6)
    world.settle()
    world.decision = None
    del world.deployment["status"]
    world.settle()
    assert list(world.counts().values()) == [6]
    assert world.holds("Ready") == ("True", "Serving")


def test_creates_come_with_a_reason() -> None:
    world = World()
    wanted = world.reconcile()
    assert all(write.reason for write in wanted.writes if isinstance(write, Create))


def test_whatever_makes_pods_is_written_first_and_the_rest_at_the_next_look() -> None:
    world = World()
    first = world.reconcile()
    assert [write.reference.kind for write in first.writes] == ["ControllerRevision", "ServiceAccount", "ReplicaSet"]
    assert first.requeue_after_seconds == 0.0
    then = world.reconcile()
    assert [write.reference.kind for write in then.writes] == ["Service", "Service", "PodDisruptionBudget"]
