from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from inference_fleet.cli import sandbox as command
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from inference_fleet.sandbox import cluster, namespaces
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.namespaces import NamespacesForbidden
from inference_fleet.sandbox.state import Outside, ProcessState, SandboxState, Settings, state_folder

# Above what Linux gives out at most.
NO_PROCESS = 2**22 + 1


@pytest.fixture(autouse=True)
def _state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("inference_fleet.sandbox.state.MAX_STATE_PATH", 4096)


@pytest.fixture
def running() -> Sandbox:
    """A sandbox as far as its state tells; its outermost process is this test's."""
    folder = state_folder("one")
    folder.logs.mkdir(parents=True)
    outside = Outside(os.getpid(), namespaces.start_ticks(os.getpid()) or 0, api_port=1, prometheus_port=2)
    folder.write_settings(Settings(name="one", nodes=1))
    folder.write_outside(outside)
    folder.write_state(SandboxState("Ready", "ready", 1.0, (ProcessState("etcd", NO_PROCESS, True),), ("node-1",)))
    return Sandbox(folder, Settings(name="one", nodes=1), outside)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("status",), "sandbox one is not running (inference-fleet sandbox up --name one)"),
        (("exec", "--", "true"), "sandbox one is not running"),
    ],
)
def test_what_needs_a_running_sandbox_says_how_to_get_one(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    verb, *rest = words
    assert run(("sandbox", verb, "--name", "one", *rest)) == EXIT_FAILED
    assert told in capsys.readouterr().err


def test_down_of_nothing_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("sandbox", "down", "--name", "one")) == EXIT_OK
    assert "is not running" in capsys.readouterr().err


def test_a_state_whose_process_has_gone_is_not_running(running: Sandbox) -> None:
    gone = Outside(running.outside.pid, running.outside.start_ticks + 1, 1, 2)  # the id was given out again
    running.folder.write_outside(gone)
    assert cluster.find("one") is None


def test_down_removes_what_a_crashed_one_left(running: Sandbox) -> None:
    running.folder.write_outside(Outside(running.outside.pid, running.outside.start_ticks + 1, 1, 2))
    assert run(("sandbox", "down", "--name", "one")) == EXIT_OK
    assert [entry.name for entry in running.folder.path.iterdir()] == ["logs"]


def test_status_as_json_has_the_documented_fields(running: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("sandbox", "status", "--name", "one", "-o", "json")) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert found["schemaVersion"] == "inference-fleet/sandbox/v1"
    assert found["kubeconfig"] == str(running.kubeconfig)
    assert (found["apiServer"], found["prometheusUrl"]) == ("https://127.0.0.1:1", "http://127.0.0.1:2")
    assert found["nodes"] == ["node-1"]
    # The process that the state speaks of is not there: it is not called ready.
    assert found["processes"] == [{"name": "etcd", "pid": None, "ready": False}]


def test_status_as_table_names_the_processes(running: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("sandbox", "status", "--name", "one")) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    assert "sandbox     one: Ready" in lines
    assert lines[-1].split() == ["etcd", "-", "no"]


@pytest.mark.parametrize("name", ["Not A Name", "../x", "x" * 30])
def test_a_name_that_is_no_name_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("sandbox", "status", "--name", name)) == EXIT_FAILED
    assert "no name for a sandbox" in capsys.readouterr().err


def test_forbidden_namespaces_are_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def forbidden() -> None:
        raise NamespacesForbidden("not permitted", advice="As root: sysctl -w user.max_user_namespaces=15000")

    monkeypatch.setattr(namespaces, "check_namespaces", forbidden)
    assert run(("sandbox", "up", "--name", "one")) == EXIT_FAILED
    assert "sysctl -w user.max_user_namespaces=15000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("up", "--nodes", "255"), ("up", "--kubernetes", "1.2"), ("up", "--engine", "other"), ("tool", "gcc")]
)
def test_wrong_usage_is_refused(words: tuple[str, ...]) -> None:
    assert run(("sandbox", *words)) == EXIT_USAGE


def test_a_short_version_means_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(command, "_up", asked.append)
    assert run(("sandbox", "up", "--kubernetes", "1.36", "--apiserver-arg=--v=2")) == EXIT_OK
    assert [(settings.kubernetes_version, settings.apiserver_args) for settings in asked] == [("1.36.4", ("--v=2",))]
