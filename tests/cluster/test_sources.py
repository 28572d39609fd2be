"""Where weights come from besides the hub: an image volume and object storage, as the real kubelet treats them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from builders.operator_sandbox import OperatorSandbox

DIGEST = "sha256:" + "0" * 64
NAME, SECRET = "sourced", "store"
# As long as no other text is.
SECRET_KEY = "s3ntinel-0f-a-secret-key"
STORED = "s3://models/llama"
# Prints the value that processes serving a model have for a variable.
READ_ENVIRONMENT = """
import pathlib, sys
model, name = (word.encode() for word in sys.argv[1:])
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words = (process / "cmdline").read_bytes().split(b"\\0")
        pairs = (process / "environ").read_bytes().split(b"\\0")
    except OSError:
        continue
    if any(word.endswith(b"=" + model) for word in words):
        print(*(pair.decode() for pair in pairs if pair.startswith(name + b"=")))
"""


@pytest.fixture
def world(operator_world: OperatorSandbox) -> Iterator[OperatorSandbox]:
    yield operator_world
    operator_world.remove(NAME)


def test_a_model_in_an_image_is_mounted_and_serves(world: OperatorSandbox) -> None:
    source = {"image": {"reference": f"registry.example/inference-fleet/tiny-model@{DIGEST}"}}
    world.deploy(NAME, model=source)
    # The engine ends at its start if its folder holds no model.
    world.wait_condition(NAME, "Ready")
    status, text = world.request(NAME, "/v1/completions", {"model": NAME, "prompt": [1, 2], "max_tokens": 3})
    assert (status, json.loads(text)["usage"]["completion_tokens"]) == (200, 3)


def test_a_model_in_an_image_that_cannot_be_pulled_is_named(world: OperatorSandbox) -> None:
    reference = f"registry.example/models/missing@{DIGEST}"
    world.deploy(NAME, model={"image": {"reference": reference}})
    world.wait(NAME, '.status.conditions[?(@.type=="Ready")].reason', "ImageNotAvailable")


def test_credentials_of_object_storage_reach_the_engine_and_nothing_else(world: OperatorSandbox) -> None:
    world.deploy(NAME, model={"s3": {"uri": STORED, "credentialsSecretRef": {"name": SECRET}}})
    world.wait(NAME, '.status.conditions[?(@.type=="Ready")].reason', "ConfigurationMissing")
    assert f"secret {SECRET} is not there" in world.condition(NAME, "Ready")["message"].lower()
    content = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": "default"}}
    world.apply({**secret, "stringData": content})
    world.wait_condition(NAME, "Ready")

    (pod,) = world.items("pods", of=NAME)
    assert {f"--model={STORED}", "--load-format=runai_streamer"} <= set(pod["spec"]["containers"][0]["args"])
    assert environment(world, "AWS_SECRET_ACCESS_KEY") == f"AWS_SECRET_ACCESS_KEY={SECRET_KEY}"
    # Of the two optional ones the Secret has none.
    assert environment(world, "AWS_ENDPOINT_URL") == ""
    kinds = "infd,replicasets,pods,services,configmaps,controllerrevisions,events"
    told = {
        "objects": world.kubectl("get", kinds, "-n", "default", "-o", "json"),
        "the engine's log": world.kubectl("logs", pod["metadata"]["name"]),
        "the operator's log": world.kubectl(
            "logs", "-n", "inference-fleet-system", "-l", "app.kubernetes.io/component=operator", "--tail=-1"
        ),
    }
    assert all(NAME in text for text in told.values())
    assert [place for place, text in told.items() if SECRET_KEY in text] == []
    world.kubectl("delete", "secret", SECRET)


def environment(world: OperatorSandbox, name: str) -> str:
    """A variable as the engine's own process has it."""
    node = world.sandbox.status()["nodes"][0]
    pid = (world.sandbox.folder.node(node) / "node.pid").read_text(encoding="utf-8").strip()
    inside = ("nsenter", f"--target={pid}", "--mount", "--pid", "--", sys.executable, "-c", READ_ENVIRONMENT)
    command = world.sandbox.exec_command((*inside, STORED, name))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
