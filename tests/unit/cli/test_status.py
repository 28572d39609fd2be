"""`status` answers first whether all is well, then shows the table, then what is not well."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.answering_server import DEPLOYMENTS, AnsweringServer, answering_server, refused
from builders.world import World
from inference_fleet.cli.deployment_view import duration, view
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from inference_fleet.cli.status_report import status_report, status_text
from inference_fleet.cli.text_table import Column, table

NOW = 1_750_000_000.0 + 3 * 86400


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_server(tmp_path) as served:
        yield served


def serving() -> Mapping[str, Any]:
    world = World()
    world.settle()
    return world.deployment


def lacking_devices() -> Mapping[str, Any]:
    world = World()
    world.schedulable = lambda pod: False
    world.settle()
    world.deployment["metadata"]["name"] = "qwen"
    return world.deployment


def refused_spec() -> Mapping[str, Any]:
    world = World()
    world.settle()
    world.edit(engine={"vllm": {"version": "0.1.0"}})
    world.settle()
    world.deployment["metadata"]["name"] = "phi"
    return world.deployment


def unseen() -> Mapping[str, Any]:
    return {"metadata": {"name": "new", "namespace": "chat", "generation": 1}, "spec": {}}


def test_the_first_line_says_that_all_is_well() -> None:
    text = status_text([view(serving())], now=NOW, width=100)
    assert text.splitlines()[0] == "1 deployment: all ready, 1 of 1 replica serves, 1 device, 0.80 USD/h"
    assert "llama  True" in text
    assert text.splitlines()[3].endswith("3d")


def test_a_deployment_without_devices_is_told_with_its_cause() -> None:
    text = status_text([view(serving()), view(lacking_devices())], now=NOW, width=200)
    assert text.splitlines()[0].startswith("2 deployments: 1 ready, 1 not, 1 of 2 replicas serve")
    assert "chat/qwen: Ready=False (WaitingForDevices): 1 replica waits (l4): 0/2 nodes" in text


def test_the_same_words_are_told_once() -> None:
    text = status_text([view(lacking_devices())], now=NOW, width=200)
    assert text.count("0/2 nodes") == 1


def test_a_refused_spec_is_told_while_the_former_serves() -> None:
    text = status_text([view(refused_spec())], now=NOW, width=200)
    assert "SpecNotAccepted" in text
    assert "1/1" in text
    assert "spec.engine.vllm.version" in text


def test_a_refused_spec_is_told_once() -> None:
    text = status_text([view(refused_spec())], now=NOW, width=400)
    assert text.count("spec.engine.vllm.version") == 1


def test_an_object_no_operator_has_seen_is_told() -> None:
    text = status_text([view(unseen())], now=NOW, width=100)
    assert "chat/new: the operator has not seen it yet (created - ago): is the operator running?" in text


def test_a_spec_newer_than_the_status_is_told() -> None:
    obj = json.loads(json.dumps(serving()))
    obj["metadata"]["generation"] = 2
    assert "has not seen the newest spec yet" in status_text([view(obj)], now=NOW, width=100)


def test_no_line_is_wider_than_the_terminal() -> None:
    obj = json.loads(json.dumps(lacking_devices()))
    obj["metadata"]["name"] = "a-very-long-name-" * 10
    obj["status"]["summary"]["model"] = "An-Even-Longer-Model-Name" * 5
    text = status_text([view(obj), view(serving())], now=NOW, width=100)
    plain = [line.replace("\x1b[31m", "").replace("\x1b[33m", "").replace("\x1b[0m", "") for line in text.splitlines()]
    assert max(len(line) for line in plain) == 100


def test_the_report_has_everything_by_name() -> None:
    report = status_report([view(serving())])
    assert report["schemaVersion"] == "inference-fleet/status/v1"
    (entry,) = report["deployments"]
    assert entry["replicas"] == {"desired": 1, "ready": 1, "starting": 0, "unschedulable": 0, "terminating": 0}
    assert entry["costPerHour"] == 0.8
    assert {each["type"] for each in entry["conditions"]} >= {"Accepted", "Ready"}


def test_it_reads_all_namespaces_and_prints_no_colour_into_a_pipe(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.holds(serving(), lacking_devices())
    assert run(["status", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    printed = capsys.readouterr().out
    assert "qwen" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_it_speaks_to_programs(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str], form: str, load: Any
) -> None:
    server.holds(serving())
    assert run(["status", "--kubeconfig", str(server.kubeconfig), "-n", "chat", "-o", form]) == EXIT_OK
    assert load(capsys.readouterr().out)["deployments"][0]["name"] == "llama"


def test_an_empty_cluster_is_no_error(server: AnsweringServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.holds()
    assert run(["status", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert capsys.readouterr().out == "no InferenceDeployments\n"


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failing command says."""
    assert run(arguments) == EXIT_FAILED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_missing_definitions_are_told_in_one_line(server: AnsweringServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = told(["status", "--kubeconfig", str(server.kubeconfig)], capsys)
    assert "custom resource definitions are not installed" in words


def test_missing_rights_are_told_in_one_line(server: AnsweringServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers[DEPLOYMENTS] = refused(403, "Forbidden", 'User "jo" cannot list resource "inferencedeployments"')
    words = told(["status", "--kubeconfig", str(server.kubeconfig)], capsys)
    assert 'not allowed: 403: User "jo" cannot list' in words
    assert "you need get and list" in words


def test_an_old_login_is_told_in_one_line(server: AnsweringServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answers[DEPLOYMENTS] = refused(401, "Unauthorized", "Unauthorized")
    assert "log in again" in told(["status", "--kubeconfig", str(server.kubeconfig)], capsys)


def test_a_server_that_is_away_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering_server(tmp_path) as gone:
        pass
    assert "the API server does not answer" in told(["status", "--kubeconfig", str(gone.kubeconfig)], capsys)


@pytest.mark.parametrize("content", ["", "[]", "{", "clusters: 3", "{apiVersion: v1, contexts: [{name: x}]}"])
def test_a_kubeconfig_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    assert "no cluster to ask" in told(["status", "--kubeconfig", str(path)], capsys)


def test_an_empty_kubeconfig_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").write_text("", encoding="utf-8")
    words = told(["status", "--kubeconfig", str(tmp_path / "empty")], capsys).rstrip()
    assert words == "Error: no cluster to ask: the kubeconfig is not of the form of one"


def test_a_kubeconfig_that_is_not_there_is_wrong_usage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--kubeconfig", str(tmp_path / "none")]) == EXIT_USAGE
    assert capfd.readouterr().err.splitlines()[-1].endswith(f"File '{tmp_path / 'none'}' does not exist.")


@pytest.mark.parametrize("command", ["status", "top"])
def test_the_habit_of_kubectl_to_ask_for_all_namespaces_works(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    server.holds(serving())
    assert run([command, "-A", "-n", "another", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert "llama" in capsys.readouterr().out


def test_who_may_not_list_the_cluster_is_pointed_to_one_namespace(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    message = 'inferencedeployments is forbidden: User "eve" cannot list them at the cluster scope'
    server.answers[DEPLOYMENTS] = refused(403, "Forbidden", message)
    words = told(["status", "--kubeconfig", str(server.kubeconfig)], capsys).rstrip()
    assert words.endswith(
        "(you need get and list on inferencedeployments.inferencefleet.io; for one namespace alone: -n NAME)"
    )


def test_a_user_without_a_kubeconfig_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert "no cluster to ask: there is no kubeconfig" in told(["status"], capsys)


def test_an_unknown_context_is_told_in_one_line(server: AnsweringServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = told(["status", "--kubeconfig", str(server.kubeconfig), "--context", "mars"], capsys)
    assert "mars" in words


def test_a_status_of_a_later_release_is_told_in_one_line(
    server: AnsweringServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.holds({**serving(), "status": {"conditions": "many"}})
    words = told(["status", "--kubeconfig", str(server.kubeconfig)], capsys)
    assert "chat/llama: status.conditions is of no form this release knows" in words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (61, "1m1s"), (600, "10m"), (7200, "2h"), (9000, "2h30m"), (864000, "10d"), (None, "-")],
)
def test_durations_read_as_in_kubectl(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


def test_a_table_gives_way_in_its_widest_columns_first() -> None:
    columns = (Column(title="A", yields=True), Column(title="B", yields=True), Column(title="C"))
    lines = table(columns, [("a" * 60, "b" * 10, "c" * 10)], width=50)
    assert [len(line) for line in lines[1:]] == [50]
    assert "b" * 10 in lines[1]
