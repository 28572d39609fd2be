"""What might be secret is where it has to be and nowhere else: in no log, event, status, annotation or argument."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from builders.operator_world import World, world
from inference_fleet.adapters.ports import Object
from inference_fleet.adapters.resources import CONTROLLER_REVISIONS, EVENTS, INFERENCE_DEPLOYMENTS, PODS, REPLICA_SETS

SENTINEL = "s3ntinel-0f-a-secret"
ENVIRONMENT = [
    {"name": "HTTPS_PROXY", "value": f"http://user:{SENTINEL}@proxy.example:3128"},
    {"name": "VLLM_API_KEY", "secretKeyRef": {"name": "keys", "key": "api"}},
]
# Flags that carry a secret, or a value that no parser takes: refused, and what is said of them is read by many.
REFUSED = [
    f"--api-key={SENTINEL}",
    f"--hf-token={SENTINEL}",
    f"--ssl-keyfile={SENTINEL}",
    f"--no-such-flag={SENTINEL}",
    f"--max-num-seqs={SENTINEL}",
    f"--seed={SENTINEL}",
    f"--uvicorn-log-level={SENTINEL}",
]


def without_values(obj: Any) -> Any:
    """An object without the values of environment variables: the kubelet has to read them somewhere."""
    if isinstance(obj, dict):
        return {key: without_values(value) for key, value in obj.items() if not _is_value(obj, key)}
    return [without_values(item) for item in obj] if isinstance(obj, list) else obj


def _is_value(obj: dict[str, Any], key: str) -> bool:
    return key == "value" and obj.get("name") == "HTTPS_PROXY"


def places(w: World) -> dict[str, str]:
    """Everything that the operator has written, as text."""
    texts: dict[str, str] = {}
    for obj in w.cluster.all(INFERENCE_DEPLOYMENTS):
        texts["status"] = json.dumps(obj.get("status"))
    for resource in (REPLICA_SETS, CONTROLLER_REVISIONS, EVENTS):
        texts[resource.plural] = json.dumps([without_values(obj) for obj in w.cluster.all(resource)])
    return texts


def leaks(w: World, caplog: pytest.LogCaptureFixture) -> list[str]:
    texts = {**places(w), "logs": caplog.text}
    assert all(text not in ("", "null") for name, text in texts.items() if name != "logs")
    return [name for name, text in texts.items() if SENTINEL in text]


def crashed(obj: Object) -> None:
    """The engine has printed more than it should, and the kubelet shows the end of its log."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": f"Namespace(api_key='{SENTINEL}')"}}
    container = {"name": "engine", "ready": False, "restartCount": 5, "lastState": ended}
    container["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {SENTINEL}"}}
    obj["status"]["containerStatuses"] = [container]
    obj["status"]["conditions"] = [c for c in obj["status"]["conditions"] if c["type"] != "Ready"]


async def test_a_secret_in_an_environment_variable_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world() as w, w.running():
        w.deploy(pod={"env": ENVIRONMENT})
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
        (template,) = (pool["spec"]["template"] for pool in w.cluster.all(REPLICA_SETS))
        assert SENTINEL in json.dumps(template), "the engine gets it"
        assert leaks(w, caplog) == []


async def test_a_secret_in_a_refused_flag_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world() as w, w.running():
        w.deploy()
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
        for flag in REFUSED:
            w.edit(engine={"vllm": {"version": "0.33.0", "maxModelLen": 4096, "extraArgs": [flag]}})
            await w.clock.advance_until(lambda: w.condition("Accepted").startswith("False"), within=60)
            assert leaks(w, caplog) == [], flag
            w.edit(engine={"vllm": {"version": "0.33.0", "maxModelLen": 4096}})
            await w.clock.advance_until(lambda: w.condition("Accepted").startswith("True"), within=60)


async def test_what_an_engine_printed_before_it_died_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world(start_seconds=10_000.0) as w, w.running():
        w.deploy()
        await w.clock.advance_until(lambda: bool(w.pods.living()), within=60)
        for pod in w.pods.living():
            w.cluster.edit(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"], crashed)
        await w.clock.advance_until(lambda: w.condition("Ready") == "False EngineCrashed", within=120)
        assert leaks(w, caplog) == []


async def test_labels_and_annotations_of_the_object_go_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with world() as w, w.running():
        obj = w.deploy()

        def mark(found: Object) -> None:
            found["metadata"]["annotations"] = {"example.org/note": SENTINEL}
            found["metadata"]["labels"] = {"example.org/note": SENTINEL}

        w.cluster.edit(INFERENCE_DEPLOYMENTS, obj["metadata"]["name"], obj["metadata"]["namespace"], mark)
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
        assert leaks(w, caplog) == []
