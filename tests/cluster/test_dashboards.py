"""What is seen of a deployment under load: every dashboard's query is answered, and the command line knows as much."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builders.operator_sandbox import OperatorSandbox
from inference_fleet.cli.kubectl_completion import kubectl_answer
from inference_fleet.cli.main import EXIT_OK, run
from inference_fleet.cli.suggestions import PATIENCE_VARIABLE
from inference_fleet.sandbox.monitoring import RULES_FOLDER

MONITORING = Path(__file__).resolve().parents[2] / "manifests" / "monitoring"
SERVED, REFUSED = "watched", "refused"
# A forecast is proved right or wrong a cold start and some ticks after the load began.
BOUND_SECONDS = 180.0
OBJECTIVES = [
    {"name": "first-token", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"},
    {"name": "cadence", "metric": "InterTokenLatency", "thresholdMilliseconds": 75, "targetPercent": "99"},
]
SPECULATIVE = {"method": "ngram", "numSpeculativeTokens": 3}
# With what stands before the first of them: a sandbox, and a deployment that becomes ready.
pytestmark = pytest.mark.timeout(300)
CLIENT = """
import json, sys, urllib.request as u
body = json.dumps({"model": sys.argv[2], "prompt": [11, 12, 13], "max_tokens": 16}).encode()
while True:
    u.urlopen(u.Request(sys.argv[1], body, {"Content-Type": "application/json"}), timeout=60).read()
"""


def ask(world: OperatorSandbox, query: str) -> list[float]:
    """The numbers that Prometheus answers a query with now."""
    url = f"{world.sandbox.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        result = json.load(answer)["data"]["result"]
    return [number for number in (float(series["value"][1]) for series in result) if math.isfinite(number)]


def queries() -> Iterator[tuple[str, str]]:
    """Dashboard and panel, and the query with its variables filled in."""
    values = {"$__rate_interval": "30s", "$namespace": "default", "$deployment": SERVED}
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in values.items():
                    query = query.replace(name, value)
                # What is empty as long as all is well is looked at with the deployment that is not.
                if panel["description"].startswith("Empty is good"):
                    query = query.replace(SERVED, REFUSED)
                yield f"{path.stem}: {panel['title']} ({target['refId']})", query


def load_rules(world: OperatorSandbox) -> None:
    """Let the sandbox's Prometheus evaluate the rules, more often than every half minute."""
    rules = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "2s"
    folder = world.sandbox.folder.path / RULES_FOLDER
    folder.mkdir(exist_ok=True)
    (folder / "inference-fleet.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (pid,) = (each["pid"] for each in world.sandbox.status()["processes"] if each["name"] == "prometheus")
    os.kill(pid, signal.SIGHUP)


@pytest.fixture(scope="module")
def watched(operator_world: OperatorSandbox) -> Iterator[OperatorSandbox]:
    """A deployment under load that scaled, and one that is refused."""
    world = operator_world
    load_rules(world)
    world.deploy(SERVED, engine={"vllm": {"speculative": SPECULATIVE}}, objectives=OBJECTIVES)
    world.deploy(REFUSED, engine={"vllm": {"extraArgs": ["--no-such-flag=1"]}})
    world.wait_condition(SERVED, "Ready")
    command = world.on_node(sys.executable, "-c", CLIENT, f"{world.service_url(SERVED)}/v1/completions", SERVED)
    client = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        world.deploy(
            SERVED,
            engine={"vllm": {"speculative": SPECULATIVE}},
            objectives=OBJECTIVES,
            # Three starts teach it how long one takes: so far ahead it forecasts, and then learns how far it was off.
            scaling={"mode": "Automatic", "minReplicas": 3, "maxReplicas": 4},
        )
        yield world
    finally:
        client.kill()
        client.wait()
        world.remove(SERVED)
        world.remove(REFUSED)


def test_every_dashboard_query_returns_data(watched: OperatorSandbox) -> None:
    missing = dict(queries())
    assert len(missing) > 50
    end = time.monotonic() + BOUND_SECONDS
    while missing and time.monotonic() < end:
        missing = {panel: query for panel, query in missing.items() if not ask(watched, query)}
        time.sleep(1)
    assert missing == {}


def test_explain_and_completion_know_the_deployment(
    watched: OperatorSandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "30")
    login = ["--kubeconfig", str(watched.sandbox.kubeconfig)]
    end = time.monotonic() + BOUND_SECONDS
    kept: list[int | None] = [None]
    while None in kept and time.monotonic() < end:
        assert run(["explain", f"default/{SERVED}", *login, "-o", "json"]) == EXIT_OK
        objectives = json.loads(capsys.readouterr().out)["objectives"]
        assert [each["name"] for each in objectives] == ["first-token", "cadence"]
        kept = [each["requests"] for each in objectives]
        time.sleep(1)
    assert all(each["requests"] > 0 and 0 <= each["attainedPercent"] <= 100 for each in objectives)
    assert kubectl_answer(["explain", *login, "default/wat"]) == f"default/{SERVED}\n:4"
