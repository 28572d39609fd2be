"""Planning, rule by rule, on a world that carries plans out."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from builders.world import SPEC, World
from inference_fleet.planning.plan import plan
from inference_fleet.planning.writes import Create, Patch
from inference_fleet.scaling.types import Rule, SignalState

L40S = {"name": "l40s", "acceleratorClassName": "nvidia-l40s"}
BAD_ENGINE = {"vllm": {"version": "0.10.0", "maxModelLen": 8192}}


def engine(**settings: Any) -> dict[str, Any]:
    return {"vllm": {**SPEC["engine"]["vllm"], **settings}}


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


def test_a_promise_that_no_replica_can_keep_is_a_condition_and_goes_with_it() -> None:
    def limited() -> str:
        found = [c for c in world.status["conditions"] if c["type"] == "ScalingLimited"]
        return f"{found[0]['reason']}: {found[0]['message']}" if found else "absent"

    world = World()
    world.decide(2, unreachable="pace: an idle replica needs 100 ms, 75 ms are promised")
    world.settle()
    words = "pace: an idle replica needs 100 ms, 75 ms are promised; more replicas do not help"
    assert limited() == f"ObjectiveUnreachable: {words}"
    world.decide(2)
    world.settle()
    assert limited() == "absent"


def test_pods_that_go_are_marked_before_the_count_falls() -> None:
    world = World()
    world.decide(3)
    world.settle()
    world.decide(2, rule=Rule.DOWN_RATE)
    first = world.reconcile()
    assert [write.reference.kind for write in first.writes] == ["Pod"]
    second = world.reconcile()
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


def test_a_failing_new_revision_is_named_and_stalls_after_its_deadline() -> None:
    world = World(rollout={"minReadySeconds": 0, "progressDeadlineSeconds": 600})
    world.decide(2)
    world.settle()
    (old,) = world.counts()
    world.becomes_ready = lambda pod: pod["metadata"]["labels"]["inferencefleet.io/revision"] == old
    world.edit(engine=engine(maxModelLen=4096))
    world.reconcile()
    world._live()
    for pod in world.of("Pod"):
        if pod["metadata"]["labels"]["inferencefleet.io/revision"] != old:
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            pod["status"]["containerStatuses"] = [{"name": "engine", "restartCount": 4, "state": waiting}]
    world.settle()
    assert world.holds("Ready") == ("False", "EngineCrashed")
    assert world.holds("Reconciling") == ("True", "EngineCrashed")
    world.wait(601)
    world.settle()
    assert world.holds("Ready") == ("False", "RolloutFailed")
    assert world.holds("Stalled") == ("True", "RolloutFailed")
    assert world.holds("Available") == ("True", "Serving")
    assert world.counts()[old] == 2


def test_why_the_engine_ended_is_told_with_the_place_and_nothing_else_of_its_log() -> None:
    world = World()
    world.decide(1)
    world.becomes_ready = lambda _pod: False
    world.reconcile()
    world._live()
    (pod,) = world.of("Pod")
    message = "token hf_secret\nerror: unrecognized arguments: --no-such-flag=hf_secret\n"
    pod["spec"] = {"nodeName": "gpu-7"}
    pod["status"]["containerStatuses"] = [
        {
            "name": "engine",
            "restartCount": 1,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 2, "message": message}},
        }
    ]
    world.settle()
    assert world.holds("Ready") == ("False", "UnsupportedFlag")
    told = str(world.deployment["status"])
    assert f"the engine does not know the flag --no-such-flag (pod {pod['metadata']['name']} on node gpu-7)" in told
    assert "hf_secret" not in told


def test_a_replica_that_loads_its_model_is_told_from_one_that_is_not_there_yet() -> None:
    world = World()
    world.decide(1)
    world.becomes_ready = lambda _pod: False
    world.reconcile()
    world._live()
    world.of("Pod")[0]["status"]["containerStatuses"] = [{"name": "engine", "state": {"running": {}}}]
    world.settle()
    assert world.holds("Ready") == ("False", "Loading")
    assert "1 run and load their model" in str(world.deployment["status"]["conditions"])


def test_scaling_up_without_devices_stays_ready_and_says_so() -> None:
    world = World()
    world.decide(2)
    world.settle()
    serving = {pod["metadata"]["name"] for pod in world.of("Pod")}
    world.schedulable = lambda pod: pod["metadata"]["name"] in serving
    world.decide(4)
    world.settle()
    assert world.holds("Ready") == ("True", "WaitingForDevices")
    assert world.holds("CapacityAvailable") == ("False", "WaitingForDevices")
    assert world.holds("RolledOut") == ("True", "RolledOut")
    assert world.condition("Reconciling") is None


def test_starting_says_so() -> None:
    world = World()
    world.becomes_ready = lambda pod: False
    world.settle()
    assert world.holds("Accepted") == ("True", "Accepted")
    assert world.holds("Available") == ("False", "Starting")
    assert world.holds("Ready") == ("False", "Starting")
    assert world.holds("Reconciling") == ("True", "Starting")
    assert world.holds("RolledOut") == ("False", "RollingOut")


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


def test_spec_replicas_is_ignored_in_automatic_and_reported() -> None:
    world = World(replicas=7)
    world.settle()
    assert list(world.counts().values()) == [1]
    assert [(w["path"], w["reason"]) for w in world.status["warnings"]] == [("spec.replicas", "Ignored")]


def test_suspend_writes_nothing_but_its_condition() -> None:
    world = World()
    world.decide(2)
    world.settle()
    world.edit(suspend=True, engine=engine(maxModelLen=4096))
    world.decide(5)
    wanted = world.reconcile()
    assert wanted.writes == ()
    assert world.holds("Suspended") == ("True", "Suspended")
    assert list(world.counts().values()) == [2]
    assert world.reconcile().status is None
    world.edit(suspend=False, engine=SPEC["engine"])
    world.settle()
    assert list(world.counts().values()) == [5]
    assert world.condition("Suspended") is None


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


def test_unknown_signals_show_in_scaling_active_and_lower_nothing() -> None:
    world = World()
    world.decide(4)
    world.settle()
    world.decide(4, rule=Rule.SIGNALS_UNKNOWN, signals=SignalState.UNKNOWN, message="prometheus does not answer")
    world.settle()
    assert world.holds("ScalingActive") == ("False", "SignalsUnknown")
    assert list(world.counts().values()) == [4]


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


def test_conditions_that_are_always_there_are_always_there() -> None:
    world = World(engine=BAD_ENGINE)
    world.settle()
    kinds = [condition["type"] for condition in world.status["conditions"]]
    assert kinds[:6] == ["Accepted", "Available", "Ready", "ScalingActive", "RolledOut", "CapacityAvailable"]


def test_old_records_go_and_the_one_in_force_stays() -> None:
    world = World()
    for length in range(1, 15):
        world.edit(engine=engine(maxModelLen=length * 100))
        world.settle()
    records = world.of("ControllerRevision")
    assert len(records) <= 11
    assert world.status["acceptedRevision"] in [record["metadata"]["name"] for record in records]
    assert len(world.of("ReplicaSet")) <= 4


def test_creates_come_with_a_reason() -> None:
    world = World()
    wanted = world.reconcile()
    assert all(write.reason for write in wanted.writes if isinstance(write, Create))


def test_a_schedule_that_cannot_be_read_is_refused_by_its_path() -> None:
    schedule = {"name": "day", "start": "0 8 * * *", "timeZone": "Mars/Base", "durationSeconds": 600, "minReplicas": 1}
    world = World(scaling={"mode": "Automatic", "schedules": [schedule]})
    world.settle()
    assert world.holds("Accepted") == ("False", "InvalidSpec")
    assert "spec.scaling.schedules[0].timeZone" in world.condition("Accepted")["message"]  # type: ignore[index]


def test_a_raise_in_several_decisions_takes_nothing_from_readiness() -> None:
    world = World()
    world.decide(2)
    world.settle()
    serving = {pod["metadata"]["name"] for pod in world.of("Pod")}
    world.becomes_ready = lambda pod: pod["metadata"]["name"] in serving
    for count in (3, 5, 6):
        world.decide(count)
        world.settle()
        assert world.holds("Ready") == ("True", "Serving")


def test_losing_a_replica_that_served_is_not_available_until_it_is_back() -> None:
    world = World()
    world.decide(3)
    world.settle()
    lost = world.of("Pod")[0]["metadata"]["name"]
    world.becomes_ready = lambda pod: pod["metadata"]["name"] != lost
    world.settle()
    assert world.holds("Available") == ("False", "NotEnoughReplicas")
    assert world.holds("Ready") == ("False", "NotEnoughReplicas")
    world.becomes_ready = lambda pod: True
    world.settle()
    assert world.holds("Available") == ("True", "Serving")


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


def test_whatever_makes_pods_is_written_first_and_the_rest_at_the_next_look() -> None:
    world = World()
    first = world.reconcile()
    assert [write.reference.kind for write in first.writes] == ["ControllerRevision", "ServiceAccount", "ReplicaSet"]
    assert first.requeue_after_seconds == 0.0
    then = world.reconcile()
    assert [write.reference.kind for write in then.writes] == ["Service", "Service", "PodDisruptionBudget"]


def test_a_length_left_to_the_engine_is_shown_once_it_is_reported_and_kept() -> None:
    world = World(engine={"vllm": {"version": "0.33.0"}}, model={"huggingFace": {"repository": "nobody/knows"}})
    world.settle()
    assert world.status["variants"][0]["resolved"]["maxModelLen"] == "auto"
    assert "LengthUnknown" in [warning["reason"] for warning in world.status["warnings"]]
    told = plan(dataclasses.replace(world.snapshot(), reported_lengths={"l4": 16384}), world.decision, world.now)
    assert told.status is not None
    assert told.status["variants"][0]["resolved"]["maxModelLen"] == "16384"
    world.deployment["status"] = dict(told.status)
    assert world.reconcile().status is None
