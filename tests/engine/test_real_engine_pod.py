"""Real vLLM as a pod of the sandbox: the whole path from the object to tokens, metrics, signals and a drain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import requests

from builders.operator_sandbox import OperatorSandbox, operator_sandbox
from inference_fleet.load.trace import Trace, TraceRequest, write_trace

NAME = "tiny"
DRAINED_TOKENS = 400


@pytest.fixture(scope="module")
def world() -> Iterator[OperatorSandbox]:
    with operator_sandbox("engine-tests", engine="vllm") as found:
        found.deploy(
            NAME,
            engine={
                "vllm": {
                    "version": "0.32.0",
                    "maxModelLen": 512,
                    "enforceEager": True,
                    "batching": {"maxNumSeqs": 4, "maxNumBatchedTokens": 512},
                }
            },
            pod={"env": [{"name": "VLLM_LOGGING_LEVEL", "value": "INFO"}]},
        )
        found.wait_condition(NAME, "Ready", seconds=240)
        yield found


def test_a_real_engine_goes_from_the_object_to_tokens_and_ends_without_cutting_a_stream(
    world: OperatorSandbox, tmp_path: Path
) -> None:
    answer_is_streamed(world, tmp_path)
    prometheus_and_the_scaler_see_it(world)
    removal_drains_a_running_stream(world, tmp_path)


def answer_is_streamed(world: OperatorSandbox, folder: Path) -> None:
    load = start(world, folder, tokens=20)
    outcome = last_outcome(load)
    assert outcome["fate"] == "completed", outcome
    assert outcome["output_tokens"] == 20
    assert outcome["time_to_first_token_seconds"] > 0


def prometheus_and_the_scaler_see_it(world: OperatorSandbox) -> None:
    query = f'sum(vllm:generation_tokens_total{{inference_deployment="{NAME}"}})'
    url = f"{world.sandbox.prometheus_url}/api/v1/query"

    def tokens() -> float:
        rows = requests.get(url, params={"query": query}, timeout=10).json()["data"]["result"]
        return float(rows[0]["value"][1]) if rows else 0.0

    while tokens() < 20:
        # The next scrape is at most two seconds away; the test's own time-out ends a wait in vain.
        world.kubectl("get", "--raw", "/readyz")
    world.wait_condition(NAME, "ScalingActive")
    scaling = world.get("infd", NAME)["status"]["scaling"]
    assert scaling["signals"]["state"] in ("Fresh", "Idle")
    assert scaling["desiredReplicas"] == 1


def removal_drains_a_running_stream(world: OperatorSandbox, folder: Path) -> None:
    load = start(world, folder, tokens=DRAINED_TOKENS)
    assert load.stdout is not None
    running = wait_until_running(load.stdout)
    assert running
    world.remove(NAME)
    outcome = last_outcome(load)
    assert outcome["fate"] == "completed", outcome
    assert outcome["output_tokens"] == DRAINED_TOKENS
    assert world.items("pods", of=NAME) == []


def start(world: OperatorSandbox, folder: Path, *, tokens: int) -> subprocess.Popen[str]:
    path = folder / f"{tokens}.csv"
    write_trace(Trace("one", (TraceRequest(0.0, 5, tokens),)), path)
    command = world.on_node(
        *(sys.executable, "-m", "inference_fleet.load", "--url", world.service_url(NAME)),
        *("--model", NAME, "--trace", str(path), "--timeout", "120"),
    )
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_running(lines: IO[str]) -> bool:
    """Whether the generator has said that its request is under way."""
    for line in lines:
        said = json.loads(line)
        if said["kind"] == "progress" and said["inFlight"] == 1:
            return True
    return False


def last_outcome(load: subprocess.Popen[str]) -> dict[str, object]:
    out, errors = load.communicate(timeout=180)
    assert load.returncode == 0, errors
    outcomes = [json.loads(line) for line in out.splitlines() if '"outcome"' in line]
    found: dict[str, object] = outcomes[-1]
    return found
