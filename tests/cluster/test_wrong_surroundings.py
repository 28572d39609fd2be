"""An operator that finds its surroundings wrong says so in conditions and metrics; it works on and does not end."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builders.api_server import ApiServer
from builders.rule_examples import accelerator_class, deployment
from inference_fleet.sandbox.certificates import Authority, make_authority

NAME = "surrounded"
TOKEN = "expired-0123456789"
PATIENCE_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """One that does not know our kinds yet."""
    with ApiServer() as running:
        yield running


class Operator:
    """A running `inference-fleet run`."""

    def __init__(self, process: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages; 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for it; the operator may not end meanwhile."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert self.lives, self._log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, self._log.read_text(encoding="utf-8")
            time.sleep(0.2)


@contextlib.contextmanager
def operator(server: ApiServer, folder: Path, **options: str) -> Iterator[Operator]:
    """The operator as a process, which ends well when it is told to."""
    port = free_port()
    given = {"kubeconfig": server.kubeconfig, "host": "127.0.0.1", "port": port, "tick-seconds": 1, **options}
    words = [f"--{name}={value}" for name, value in given.items()]
    log = folder / "operator.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "inference_fleet", "run", "--no-lease", *words]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder, env={**os.environ, "HOME": str(folder)})
        try:
            yield Operator(process, port=port, log=log)
            process.terminate()
            assert process.wait(30) == 0, log.read_text(encoding="utf-8")
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as held:
        return int(held.server_address[1])


def condition(server: ApiServer, kind: str) -> dict[str, Any]:
    found = json.loads(server.must("get", "infd", NAME, "-n", "default", "-o", "json"))
    conditions = found.get("status", {}).get("conditions", [])
    return next((dict(each) for each in conditions if each["type"] == kind), {})


def test_definitions_that_come_after_the_operator_are_served_from_then_on(server: ApiServer, tmp_path: Path) -> None:
    with operator(server, tmp_path, **{"resync-seconds": "3600"}) as running:
        running.until(lambda: running.page("/readyz") == (503, "the cluster has not been read yet\n"))
        assert running.page("/healthz")[0] == 200
        server.define()
        running.until(lambda: running.page("/readyz")[0] == 200)
        server.must("create", "-f", "-", stdin=json.dumps(deployment(NAME)))
        # By its watch: the next list comes in an hour.
        running.until(lambda: condition(server, "Accepted").get("reason") == "AcceleratorClassNotFound")


@contextlib.contextmanager
def refusing_prometheus(authority: Authority) -> Iterator[str]:
    """A Prometheus behind TLS that takes nobody's token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    pair = authority.server("prometheus", addresses=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        thread = threading.Thread(target=lambda: listening.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def test_a_prometheus_that_cannot_be_asked_is_a_condition_and_a_metric(server: ApiServer, tmp_path: Path) -> None:
    server.define()
    server.must("create", "-f", "-", stdin=json.dumps(accelerator_class()))
    server.must("create", "-f", "-", stdin=json.dumps(deployment(NAME)))
    own, other = (make_authority(tmp_path / name) for name in ("own", "other"))
    token = tmp_path / "token"
    token.write_text(TOKEN, encoding="utf-8")
    with refusing_prometheus(own) as url:
        surroundings = {
            "Connection refused": {"prometheus-url": f"http://127.0.0.1:{free_port()}"},
            "CERTIFICATE_VERIFY_FAILED": {"prometheus-url": url, "prometheus-ca-file": str(other.file)},
            "401": {
                "prometheus-url": url,
                "prometheus-ca-file": str(own.file),
                "prometheus-token-file": str(token),
            },
        }
        for words, options in surroundings.items():
            with operator(server, tmp_path, **options) as running:
                running.until(lambda words=words: words in condition(server, "ScalingActive").get("message", ""))
                found = condition(server, "ScalingActive")
                assert (found["status"], found["reason"]) == ("False", "SignalsUnknown")
                assert TOKEN not in found["message"]
                assert running.page("/readyz")[0] == running.page("/healthz")[0] == 200
                page = running.page("/metrics")[1]
                assert 'inference_fleet_ticks_total{result="problem"}' in page
                assert 'inference_fleet_ticks_total{result="ok"}' not in page
                assert running.lives
