"""`explain` answers in its first line, then says why, what is in the way and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.answering_server import DEPLOYMENTS, AnsweringServer, answering_server, refused
from builders.world import World
from inference_fleet.api.conditions import Reason
from inference_fleet.cli.deployment_view import clock, view
from inference_fleet.cli.explain_report import explain_report, explain_text, hindrances
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from inference_fleet.scaling.types import Attainment, Rule, Term


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_server(tmp_path) as served:
        yield served


def settled(**spec: Any) -> World:
    world = World(**spec)
    world.settle()
    return world


def text(world: World, *, width: int = 120, later: float = 100) -> str:
    shown = explain_text(view(world.deployment), now=world.now + later, zone=UTC, width=width)
    return re.sub(r"\x1b\[\d+m", "", shown)


def test_a_serving_deployment_is_said_to_serve() -> None:
    world = settled()
    world.decide(3, message="demand is 2.4 replicas", limited_by=("maxReplicas",))
    world.settle()
    lines = text(world).splitlines()
    assert lines[0] == "llama serves with 3 replicas (3 ready) since 15:06:40."
    assert "why 3      Saturation: demand is 2.4 replicas" in lines
    assert "signals    fresh since 15:06:40" in lines
    assert "limits     limited by maxReplicas (1 .. 10)" in lines
    assert "  15:06:40  1 -> 3  Saturation: demand is 2.4 replicas" in lines
    assert not any(line.startswith("cause") for line in lines)


def test_a_silent_pod_is_named_also_where_the_decision_speaks_of_something_else() -> None:
    silent = "1 of 2 pods is silent: Prometheus has no sample of a-0"
    world = settled()
    world.decide(3, message="demand is 2.4 replicas", problem=silent)
    world.settle()
    assert f"signals    fresh since 15:06:40; {silent}" in text(world, width=200).splitlines()
    world.decide(3, rule=Rule.SIGNALS_UNKNOWN, message=f"{silent}; no scale-down until it answers", problem=silent)
    world.settle()
    assert text(world, width=200).count(silent) == 1


def test_histograms_that_are_missing_are_said_beside_the_signals() -> None:
    missing = "Prometheus has no vllm:x_bucket of l4: which requests are late is not known"
    world = settled()
    world.decide(3, unjudged=missing)
    world.settle()
    assert f"signals    fresh since 15:06:40; {missing}" in text(world, width=200).splitlines()


def test_missing_devices_are_the_cause_with_a_way_out() -> None:
    world = settled()
    world.schedulable = lambda pod: False
    world.decide(3)
    world.settle()
    lines = text(world).splitlines()
    assert lines[0] == "llama waits for devices: 0 of 3 replicas serve, 3 cannot be scheduled."
    assert "cause      3 replicas wait (l4): 0/2 nodes" in lines
    assert "you can    Add nodes, or free devices." in lines


def test_a_refused_spec_names_the_field_while_the_former_goes_on() -> None:
    world = settled()
    world.edit(engine={"vllm": {"version": "0.1.0"}})
    world.settle()
    lines = text(world).splitlines()
    assert (
        lines[0] == "llama's spec is refused since 15:06:40; the last accepted one still runs: 1 of 1 replica serves."
    )
    assert lines[1].startswith("cause      spec.engine.vllm.version: vLLM 0.1.0 is not known")
    assert sum(line.startswith("cause") for line in lines) == 1


def test_each_refused_field_stands_in_a_line_of_its_own() -> None:
    world = settled()
    world.edit(engine={"vllm": {"version": "0.33.0", "maxModelLen": 100_000_000, "kvCacheDtype": "no-such"}})
    world.settle()
    causes = [each.cause for each in hindrances(view(world.deployment)) if each.condition == "Accepted"]
    assert len(causes) > 1
    assert all(cause.startswith("spec.engine.vllm.") for cause in causes)
    assert "you can" not in "\n".join(text(world).splitlines()[: 1 + len(causes)])


def test_while_two_revisions_serve_no_more_than_wanted_is_claimed() -> None:
    world = settled()
    world.deployment["status"]["readyReplicas"] = 2
    next(c for c in world.deployment["status"]["conditions"] if c["type"] == "Ready")["status"] = "False"
    assert text(world).splitlines()[0].endswith(": 2 replicas serve, 1 wanted.")


def test_a_first_spec_that_is_refused_says_only_what_would_work() -> None:
    world = World(scaling={"mode": "Automatic", "minReplicas": 0, "maxReplicas": 4})
    world.settle()
    (hindrance,) = hindrances(view(world.deployment))
    assert hindrance.cause.startswith("spec.scaling.minReplicas: 0 replicas could never be left again")
    # Fact and way out are two sentences, and no advice of another kind follows.
    assert "while no engine runs. Set 1 or more" in hindrance.cause
    assert "you can" not in text(world)


def test_figures_of_a_decision_that_stands_for_long_are_said_to_be_old() -> None:
    world = settled()
    world.decide(3, terms=tuple(Term(name, 1.0, "requests") for name in ("running", "waiting", "demand")))
    world.settle()
    at_once, later = text(world, later=10).splitlines(), text(world, later=3600).splitlines()
    figures = "           1 request runs, 1 wait: work for 1 full replicas now"
    assert at_once[at_once.index(figures) - 1].startswith("why 3")
    assert later[later.index(figures) - 1] == "           since 15:06:40, when it was measured:"


def test_a_suspended_one_says_only_that() -> None:
    world = settled()
    world.edit(suspend=True)
    world.settle()
    assert [each.reason for each in hindrances(view(world.deployment))] == ["Suspended"]
    assert text(world).startswith("llama is suspended: the operator changes nothing;")


def test_an_object_no_operator_has_seen_asks_for_the_operator() -> None:
    world = World()
    assert text(world).splitlines()[:3] == [
        "llama: the operator has not seen it yet.",
        "cause      the operator has not seen it yet",
        "you can    See whether the operator runs, and whether it may work in this namespace.",
    ]


@pytest.mark.parametrize(
    ("age", "words"),
    [(5, "Wait: the first figures come within a minute."), (300, "See whether Prometheus is reachable")],
)
def test_a_new_deployment_without_figures_is_waited_for_an_old_one_is_looked_into(age: float, words: str) -> None:
    world = settled()
    (note,) = [line for line in text(world, later=age).splitlines() if line.startswith("you can")]
    assert words in note


def test_no_replicas_wanted_is_no_fault() -> None:
    world = settled(scaling={"mode": "Manual"}, replicas=0)
    lines = text(world).splitlines()
    assert lines[0].startswith("llama has no replicas, as requested")
    assert "limits     Manual: spec.replicas sets the replicas" in lines


FIRST = {"name": "first", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"}
PACE = {"name": "pace", "metric": "InterTokenLatency", "thresholdMilliseconds": 75, "targetPercent": "99.9"}


def judged(**misses: float) -> World:
    """Of 10,000 requests in the last 24 hours."""
    world = World(objectives=[FIRST, PACE])
    since = world.now - 23.5 * 3600
    targets = {"first": 0.99, "pace": 0.999}
    kept = tuple(Attainment(name, targets[name], 10_000, missed, since) for name, missed in misses.items())
    world.decide(1, attainments=kept)
    world.settle()
    return world


def test_a_name_alone_is_looked_for_where_kubectl_would(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.holds(settled().deployment)
    login = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
    login["contexts"][0]["context"]["namespace"] = "chat"
    login["contexts"].append({"name": "other", "context": {"cluster": "c", "user": "u"}})
    server.kubeconfig.write_text(json.dumps(login), encoding="utf-8")
    assert run(["explain", "llama", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert run(["explain", "llama", "--kubeconfig", str(server.kubeconfig), "--context", "other"]) == EXIT_FAILED
    assert "there is no InferenceDeployment default/llama; did you mean chat/llama?" in capsys.readouterr().err


def test_an_objective_is_shown_with_what_was_kept_of_it_and_what_may_still_be_missed() -> None:
    first, second = (line.strip() for line in text(judged(first=39, pace=25), width=400).splitlines() if " ms " in line)
    assert first == (
        "objectives first: 99.61 % of requests within 1000 ms to the first token (99 % promised);"
        " 61 % of the error budget left (24 h, 10,000 requests, counted 15:06:40)"
    )
    assert second.startswith("pace: 99.75 % of requests within 75 ms a token (99.9 % promised);")
    assert "the error budget is spent 2.5 times" in second


def test_an_objective_that_no_request_was_judged_by_is_a_promise_only() -> None:
    lines = text(judged(), width=400).splitlines()
    words = "objectives first: 99 % promised within 1000 ms to the first token; no request was judged in the last 24 h"
    assert words in lines


def test_an_hourly_promise_is_shown_as_one() -> None:
    world = World(objectives=[FIRST | {"windowHours": 1}])
    world.decide(1, attainments=(Attainment("first", 0.99, 500, 10, world.now - 3540, window_seconds=3600.0),))
    world.settle()
    (line,) = (line.strip() for line in text(world, width=400).splitlines() if " ms " in line)
    assert line == (
        "objectives first: 98 % of requests within 1000 ms to the first token (99 % promised in every hour);"
        " the error budget is spent 2.0 times (1 h, 500 requests, counted 15:06:40)"
    )
    assert explain_report(view(world.deployment))["objectives"][0]["windowHours"] == 1


def test_what_was_kept_is_there_for_programs_too() -> None:
    first, pace = explain_report(view(judged(first=39).deployment))["objectives"]
    assert (first["attainedPercent"], first["errorBudgetLeftPercent"], first["requests"]) == (99.61, 61, 10_000)
    assert (first["since"], first["countedAt"]) == ("2025-06-14T15:36:40Z", "2025-06-15T15:06:40Z")
    assert (pace["targetPercent"], pace["attainedPercent"], pace["countedAt"]) == ("99.9", None, None)


def test_a_reason_of_a_later_release_is_shown_without_a_way_out() -> None:
    world = settled()
    for condition in world.deployment["status"]["conditions"]:
        if condition["type"] == "Ready":
            condition.update(status="False", reason="SomethingNew", message="new words")
    assert hindrances(view(world.deployment))[0].next_step == "See the message."


def test_every_line_fits_the_width() -> None:
    world = settled()
    world.decide(3, message="many words " * 40)
    world.settle()
    assert max(len(line) for line in text(world, width=100).splitlines()) <= 100


def test_line_breaks_in_messages_never_start_a_line_of_ours() -> None:
    world = settled()
    world.decide(2, message="first\nwhy 9  forged\x1b[31m")
    world.settle()
    assert "why 2      Saturation: first why 9 forged [31m" in text(world)


def test_times_carry_their_date_only_when_it_is_another_day() -> None:
    assert clock(0.0, now=10.0, zone=UTC) == "00:00:00"
    assert clock(0.0, now=86400.0 * 2, zone=UTC) == "1970-01-01 00:00"


def test_the_report_has_causes_and_steps_by_name() -> None:
    world = settled()
    world.schedulable = lambda pod: False
    world.decide(3)
    world.settle()
    report = explain_report(view(world.deployment))
    assert report["schemaVersion"] == "inference-fleet/explain/v1"
    assert report["hindrances"][0]["reason"] == Reason.WAITING_FOR_DEVICES
    assert report["scaling"]["lastDecision"]["from"] == 1
    assert report["limits"] == {
        "mode": "Automatic",
        "minReplicas": 1,
        "maxReplicas": 10,
        "replicas": None,
        "limitedBy": [],
    }
    json.dumps(report)


@pytest.mark.parametrize(
    "words",
    [
        ["chat/llama"],
        ["deployment", "chat/llama"],
        ["infd", "chat/llama"],
        ["llama", "-n", "chat"],
        ["chat/llama", "-n", "chat"],
    ],
)
def test_a_deployment_is_named_as_people_do(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    server.holds(settled().deployment)
    assert run(["explain", *words, "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert capsys.readouterr().out.startswith("llama serves with 1 replica (1 ready)")


@pytest.mark.parametrize(
    "words", [[], ["llama"], ["a/b/c"], ["chat/"], ["/llama"], ["chat/llama", "-n", "other"], ["chat/a", "chat/b"]]
)
def test_an_unclear_name_is_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(["explain", *words]) == EXIT_USAGE
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [("chat/lama", "did you mean chat/llama?"), ("default/llama", "did you mean chat/llama?"), ("x/y", "x/y\n")],
)
def test_a_wrong_name_is_told_in_one_line(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str], words: str, hint: str
) -> None:
    server.holds(settled().deployment)
    assert run(["explain", words, "--kubeconfig", str(server.kubeconfig)]) == EXIT_FAILED
    printed = capsys.readouterr().err
    assert f"there is no InferenceDeployment {words}" in printed
    assert hint in printed
    assert printed.count("\n") == 1


def test_a_wrong_name_without_the_right_to_list_has_no_hint(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.holds(settled().deployment)
    server.answers[DEPLOYMENTS] = refused(403, "Forbidden", "no")
    assert run(["explain", "chat/lama", "--kubeconfig", str(server.kubeconfig)]) == EXIT_FAILED
    assert capsys.readouterr().err == "Error: there is no InferenceDeployment chat/lama\n"


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_it_speaks_to_programs(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str], form: str, load: Any
) -> None:
    server.holds(settled().deployment)
    assert run(["explain", "chat/llama", "-o", form, "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    loaded: Mapping[str, Any] = load(capsys.readouterr().out)
    assert loaded["name"] == "llama"


def event(pod: str, reason: str, note: str, *, at: str = "2026-01-01T00:00:00Z", kind: str = "Warning") -> Any:
    regarding = {"kind": "Pod", "name": pod}
    return {"type": kind, "reason": reason, "note": note, "regarding": regarding, "deprecatedLastTimestamp": at}


def explained(server: AnsweringServer, world: World, *events: Any, capsys: pytest.CaptureFixture[str]) -> str:
    server.holds(world.deployment)
    listed = {"metadata": {"resourceVersion": "1"}}
    server.answers["/api/v1/namespaces/chat/pods"] = (200, {**listed, "items": world.of("Pod")})
    server.answers["/apis/events.k8s.io/v1/namespaces/chat/events"] = (200, {**listed, "items": list(events)})
    assert run(["explain", "chat/llama", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    return capsys.readouterr().out


def test_what_only_events_tell_of_a_pod_that_does_not_serve_is_shown_with_a_step(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    world = settled()
    world.becomes_ready = lambda _pod: False
    world.decide(2)
    world.settle()
    waiting = next(pod["metadata"]["name"] for pod in world.of("Pod") if not is_ready(pod))
    mount = "MountVolume.SetUp failed for volume\x1b[31m weights"
    shown = explained(
        server,
        world,
        event(waiting, "FailedMount", mount),
        event(waiting, "FailedMount", mount, at="2026-01-02T00:00:00Z"),
        event(waiting, "Unhealthy", "Startup probe failed"),
        event(waiting, "Pulled", "pulled", kind="Normal"),
        event("another-pod", "FailedMount", "not ours"),
        capsys=capsys,
    )

    lines = [line for line in shown.splitlines() if line.startswith("event")]
    assert lines == [f"event      pod {waiting}: FailedMount: MountVolume.SetUp failed for volume [31m weights"]
    assert "you can    Create it." in shown


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_events_of_pods_that_serve_or_that_may_not_be_read_are_left_out(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    world = settled()
    name = world.of("Pod")[0]["metadata"]["name"]
    assert "event " not in explained(server, world, event(name, "FailedMount", "long ago"), capsys=capsys)
    server.answers["/api/v1/namespaces/chat/pods"] = refused(403, "Forbidden", "pods is forbidden")
    assert run(["explain", "chat/llama", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK


def test_the_cause_that_a_termination_message_has_no_room_for_is_read_from_the_log(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    world = settled()
    world.becomes_ready = lambda _pod: False
    world.decide(2)
    world.settle()
    pod = next(pod for pod in world.of("Pod") if not is_ready(pod))
    name = pod["metadata"]["name"]
    pod["status"]["containerStatuses"] = [{"name": "engine", "restartCount": 1, "state": {}}]
    log = (
        "INFO non-default args: trust_remote_code=True hf_secret\n"
        "(EngineCore pid=9) ERROR [core.py:1] ValueError: To serve at least one request with the model's max seq len"
        " (131072), (16.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.54 GiB). Based"
        " on the available memory, the estimated maximum model length is 28992. hf_secret\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    server.answers[f"/api/v1/namespaces/chat/pods/{name}/log"] = (200, log)
    shown = " ".join(explained(server, world, capsys=capsys).split())

    assert f"pod {name}: OutOfDeviceMemory: by its log, one sequence of 131072 tokens needs 16.0 GiB" in shown
    assert "you can Set maxModelLen to 28992 or less" in shown
    assert "hf_secret" not in shown
    server.answers[f"/api/v1/namespaces/chat/pods/{name}/log"] = refused(403, "Forbidden", "pods/log is forbidden")
    assert "OutOfDeviceMemory" not in explained(server, world, capsys=capsys)
