"""What the object says of itself: conditions with their reasons, and values it keeps."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from builders.world import SPEC, World
from inference_fleet.planning.plan import plan
from inference_fleet.scaling.types import Rule, SignalState

BAD_ENGINE = {"vllm": {"version": "0.10.0", "maxModelLen": 8192}}


def engine(**settings: Any) -> dict[str, Any]:
    return {"vllm": {**SPEC["engine"]["vllm"], **settings}}


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


def test_a_bound_that_binds_is_told_once_however_much_the_load_takes() -> None:
    world = World()
    for wanted in (12, 13):
        words = f"{wanted} wanted, scaling.maxReplicas allows 10"
        world.decide(10, rule=Rule.MAXIMUM, limited_by=("scaling.maxReplicas",), message=words)
        world.settle()
        (limited,) = [c for c in world.status["conditions"] if c["type"] == "ScalingLimited"]
        assert limited["message"] == "scaling.maxReplicas allows 10; the load takes more"
    assert world.status["scaling"]["lastDecision"]["message"].startswith("12 wanted")
    world.decide(4, rule=Rule.SCHEDULE, limited_by=("schedule night",))
    world.settle()
    (limited,) = [c for c in world.status["conditions"] if c["type"] == "ScalingLimited"]
    assert (limited["reason"], limited["message"]) == ("Schedule", "schedule night decides: 4 replicas")


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
    where = f"(pod {pod['metadata']['name']} on node gpu-7)"
    fact = "1 pod of the newest revision does not start: the engine does not know the flag --no-such-flag"
    assert f"{fact} {where}" in told
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
    told = world.condition("CapacityAvailable")
    assert told is not None
    assert told["message"] == "2 replicas wait (l4): 0/2 nodes"
    world.decide(3)
    world.settle()
    told = world.condition("CapacityAvailable")
    assert told is not None
    assert told["message"] == "1 replica waits (l4): 0/2 nodes"


@pytest.mark.parametrize(
    ("mode", "signals", "reason"),
    [
        ("Automatic", SignalState.FRESH, ("True", "SignalsFresh")),
        ("Automatic", SignalState.IDLE, ("True", "SignalsIdle")),
        ("Automatic", SignalState.UNKNOWN, ("False", "SignalsUnknown")),
        # Whoever says the count himself scales, whatever is measured.
        ("Manual", SignalState.UNKNOWN, ("True", "Manual")),
        ("External", SignalState.UNKNOWN, ("True", "External")),
    ],
)
def test_scaling_active_follows_the_mode_and_the_signals(
    mode: str, signals: SignalState, reason: tuple[str, str]
) -> None:
    world = World(scaling={"mode": mode, "minReplicas": 1, "maxReplicas": 10}, replicas=2)
    world.decide(2, signals=signals)
    world.settle()
    assert world.holds("ScalingActive") == reason


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ({"problem": "1 of 2 pods is silent"}, "none goes while some pods do not answer: 1 of 2 pods is silent"),
        ({"unjudged": "Prometheus has no x_bucket of a"}, "Prometheus has no x_bucket of a"),
    ],
    ids=["silent pods", "missing histograms"],
)
def test_what_is_not_heard_of_is_told_where_the_load_is_known(lacking: dict[str, str], words: str) -> None:
    world = World(scaling={"minReplicas": 1, "maxReplicas": 10})
    world.decide(2, **lacking)
    world.settle()
    told = world.condition("ScalingActive")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "SignalsFresh")
    assert told["message"] == f"replicas follow the measured load, but {words}"


def test_no_replicas_on_purpose_is_available_and_ready() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=0)
    world.settle()
    assert world.holds("Available") == ("True", "ScaledToZero")
    assert world.holds("Ready") == ("True", "ScaledToZero")


def test_a_write_that_is_refused_is_told_as_long_as_it_is() -> None:
    world = World()
    world.settle()
    refused = dataclasses.replace(world.snapshot(), refused_write="403: quota of pods")
    status = plan(refused, world.decision, world.now).status
    assert status is not None
    told = {one["type"]: one for one in status["conditions"]}
    for kind in ("Ready", "RolledOut"):
        assert (told[kind]["status"], told[kind]["reason"]) == ("False", "WriteRefused")
        assert "403: quota of pods" in told[kind]["message"]
    assert told["Available"]["status"] == "True"


def test_conditions_that_nobody_can_read_are_written_anew() -> None:
    world = World()
    world.settle()
    status = copy.deepcopy(world.deployment["status"])
    world.deployment["status"]["conditions"] = [{"type": "Ready", "status": "Perhaps"}]
    world.deployment["status"]["variants"][0]["conditions"] = ["Accepted"]
    world.settle()
    assert world.deployment["status"] == status


def test_starting_says_so() -> None:
    world = World()
    world.becomes_ready = lambda pod: False
    world.settle()
    assert world.holds("Accepted") == ("True", "Accepted")
    assert world.holds("Available") == ("False", "Starting")
    assert world.holds("Ready") == ("False", "Starting")
    assert world.holds("Reconciling") == ("True", "Starting")
    assert world.holds("RolledOut") == ("False", "RollingOut")


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


def test_unknown_signals_show_in_scaling_active_and_lower_nothing() -> None:
    world = World()
    world.decide(4)
    world.settle()
    world.decide(4, rule=Rule.SIGNALS_UNKNOWN, signals=SignalState.UNKNOWN, message="prometheus does not answer")
    world.settle()
    assert world.holds("ScalingActive") == ("False", "SignalsUnknown")
    assert list(world.counts().values()) == [4]


def test_conditions_that_are_always_there_are_always_there() -> None:
    world = World(engine=BAD_ENGINE)
    world.settle()
    kinds = [condition["type"] for condition in world.status["conditions"]]
    assert kinds[:6] == ["Accepted", "Available", "Ready", "ScalingActive", "RolledOut", "CapacityAvailable"]


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
