"""Real vLLM as a pod of the sandbox: the whole path from the object to tokens, metrics, signals and a drain."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import requests

from builders.operator_sandbox import OperatorSandbox, operator_sandbox
from builders.start_failures import change_config
from inference_fleet.api.names import LABEL_DEPLOYMENT
from inference_fleet.load.trace import Trace, TraceRequest, write_trace
from inference_fleet.sandbox.node import CONTROL_PLANE_ADDRESS
from inference_fleet.sandbox.real_engine import find_real_engine, record
from inference_fleet.sandbox.tools.cache import cache_folder

STORAGE = Path(__file__).resolve().parents[1] / "builders" / "object_storage.py"
STORAGE_PORT = 9300
# Seen: 60 s on two quiet cores, more than three minutes on busy ones.
START_SECONDS = 400
NAME = "tiny"
DRAINED_TOKENS = 400
LONGEST_TOKENS = 3_000_000


@pytest.fixture(scope="module")
def longer_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The set-up engine with a model that takes far more tokens than a cache of 1 GiB holds."""
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    cache = tmp_path_factory.mktemp("cache") / "inference-fleet"
    (cache / "engine").mkdir(parents=True)
    for entry in cache_folder().iterdir():
        if entry.name != "engine":
            (cache / entry.name).symlink_to(entry)
    model = cache / "engine" / "model"
    shutil.copytree(engine.model, model)
    change_config(max_position_embeddings=LONGEST_TOKENS)(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache.parent))
        record(replace(engine, model=model))
        yield


@pytest.fixture(scope="module")
def world(longer_model: None) -> Iterator[OperatorSandbox]:
    with operator_sandbox("engine-tests", engine="vllm") as found:
        yield found


def deploy(world: OperatorSandbox, name: str, *, longest: int, sequences: int, **spec: Any) -> None:
    batching = {"maxNumSeqs": sequences, "maxNumBatchedTokens": 512}
    vllm = {"version": "0.32.0", "maxModelLen": longest, "enforceEager": True, "batching": batching}
    logging = [{"name": "VLLM_LOGGING_LEVEL", "value": "INFO"}]
    world.deploy(name, engine={"vllm": vllm}, pod={"env": logging}, **spec)


def test_a_real_engine_goes_from_the_object_to_tokens_and_ends_without_cutting_a_stream(
    world: OperatorSandbox, tmp_path: Path
) -> None:
    # Its own model, mounted as a volume: the other tests take one of the hub and one of object storage.
    image = f"registry.example/inference-fleet/tiny-model@sha256:{'0' * 64}"
    deploy(world, NAME, longest=512, sequences=4, model={"image": {"reference": image}})
    world.wait_condition(NAME, "Ready", seconds=START_SECONDS)
    answer_is_streamed(world, tmp_path)
    prometheus_and_the_scaler_see_it(world)
    removal_drains_a_running_stream(world, tmp_path)


@pytest.mark.timeout(480)
def test_what_ends_the_engines_own_process_is_told_by_the_object(world: OperatorSandbox) -> None:
    deploy(world, "long", longest=LONGEST_TOKENS, sequences=1)
    reason = '.status.conditions[?(@.type=="Ready")].reason'
    world.wait("long", reason, "Loading")
    # Twice: the kubelet starts it again at once, and only then waits.
    ends = "{.status.containerStatuses[0].restartCount}=1"
    world.kubectl("wait", "pod", "-l", f"{LABEL_DEPLOYMENT}=long", f"--for=jsonpath={ends}", "--timeout=190s")
    world.wait("long", reason, "OutOfDeviceMemory", seconds=START_SECONDS)
    (pod,) = world.items("pods", of="long")
    message = world.condition("long", "Ready")["message"]

    assert "GiB of KV cache, 1.0 GiB are left; the engine proposes maxModelLen" in message
    assert pod["metadata"]["name"] in message
    # The front end's own last words name no cause: they are not what the kubelet has kept.
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert "EngineCore failed to start" in ended["message"]
    assert "Engine core initialization failed" not in ended["message"]
    world.remove("long")


@pytest.fixture
def storage(world: OperatorSandbox, tmp_path: Path) -> Iterator[Path]:
    """Object storage that has the engine's model as s3://models/tiny; the file with its requests."""
    engine = find_real_engine()
    assert engine is not None
    shutil.copytree(engine.model, tmp_path / "buckets" / "models" / "tiny")
    requests_file = tmp_path / "requests.jsonl"
    words = (sys.executable, str(STORAGE), str(tmp_path / "buckets"), CONTROL_PLANE_ADDRESS, str(STORAGE_PORT))
    with requests_file.open("wb") as output:
        server = subprocess.Popen(world.sandbox.exec_command(words), stdout=output)
        yield requests_file
        server.terminate()
        server.wait(10)


def test_a_real_engine_streams_its_weights_from_object_storage(
    world: OperatorSandbox, storage: Path, tmp_path: Path
) -> None:
    content = {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_ENDPOINT_URL": f"http://{CONTROL_PLANE_ADDRESS}:{STORAGE_PORT}",
    }
    metadata = {"name": "store", "namespace": "default"}
    world.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": content})
    source = {"s3": {"uri": "s3://models/tiny", "credentialsSecretRef": {"name": "store"}}}
    deploy(world, "stored", longest=512, sequences=4, model=source)
    world.wait_condition("stored", "Ready", seconds=START_SECONDS)
    answer_is_streamed(world, tmp_path, name="stored")
    world.remove("stored")
    asked = [json.loads(line) for line in storage.read_text(encoding="utf-8").splitlines()]
    assert {each["key"] for each in asked} == {"somebody"}
    weights = [each for each in asked if each["path"] == "/models/tiny/model.safetensors"]
    assert len(weights) > 1
    assert all(each["range"] for each in weights), "in parts, not as a file on the node's disk"


def answer_is_streamed(world: OperatorSandbox, folder: Path, *, name: str = NAME) -> None:
    load = start(world, folder, name=name, tokens=20)
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


def start(world: OperatorSandbox, folder: Path, *, name: str = NAME, tokens: int) -> subprocess.Popen[str]:
    path = folder / f"{tokens}.csv"
    write_trace(Trace("one", (TraceRequest(0.0, 5, tokens),)), path)
    command = world.on_node(
        *(sys.executable, "-m", "inference_fleet.load", "--url", world.service_url(name)),
        *("--model", name, "--trace", str(path), "--timeout", "120"),
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
