"""`run` says in one line why it cannot begin."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.answering_server import answering_server
from inference_fleet.cli.main import EXIT_FAILED, EXIT_USAGE, run


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def test_a_busy_port_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering_server(tmp_path) as server, socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        words = ["run", "--kubeconfig", str(server.kubeconfig), "--host", "127.0.0.1", "--port", str(port)]
        assert run(words) == EXIT_FAILED
    printed = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1 port {port} (--host, --port): Address already in use" in printed
    assert "Traceback" not in printed


def test_a_missing_kubeconfig_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["run", "--kubeconfig", str(tmp_path / "none")]) == EXIT_FAILED
    words = f"Error: no cluster to work for (--kubeconfig): there is no file {tmp_path / 'none'}"
    assert capfd.readouterr().err.splitlines() == [words]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "99999"], "--port (INFERENCE_FLEET_PORT): "),
        (["--prometheus-url", "prometheus:9090"], "--prometheus-url (INFERENCE_FLEET_PROMETHEUS_URL): "),
        (["--prometheus-user", "x"], "--prometheus-user and --prometheus-password-file belong together"),
        (
            ["--prometheus-tenant-header", "a b"],
            "--prometheus-tenant-header (INFERENCE_FLEET_PROMETHEUS_TENANT_HEADER): ",
        ),
        (["--tick-seconds", "0"], "--tick-seconds (INFERENCE_FLEET_TICK_SECONDS): "),
        (["--workers", "many"], "'--workers'"),
        (["--log-level", "loud"], "'--log-level'"),
    ],
)
def test_a_setting_out_of_its_range_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert run(["run", *words]) == EXIT_USAGE
    printed = capsys.readouterr().err
    assert told in printed
    assert "Traceback" not in printed


def test_a_variable_out_of_its_range_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFERENCE_FLEET_WORKERS", "0")
    assert run(["run"]) == EXIT_USAGE
    assert "--workers (INFERENCE_FLEET_WORKERS): " in capsys.readouterr().err
