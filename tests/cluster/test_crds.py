"""Both definitions on a real API server: they apply plainly, and every rule accepts and rejects what it should."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.api_server import ApiServer
from builders.published_objects import published_objects
from builders.rule_examples import CLASS_RULES, DEPLOYMENT_RULES, RuleExample, accelerator_class, deployment
from inference_fleet.api.names import GROUP, VERSION
from inference_fleet.api.schema_rules import KEY

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = f"/apis/{GROUP}/{VERSION}/namespaces/default/inferencedeployments"
CLASSES = f"/apis/{GROUP}/{VERSION}/acceleratorclasses"
COLUMNS = ("NAME", "READY", "REASON", "MODEL", "REPLICAS", "DEVICES", "COST")
FIRST_TOKEN = {"name": "a", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"}
# What the schema says without a rule: bounds, uniqueness, vocabulary.
SCHEMA_EXAMPLES = (
    ("spec.variants[1]", deployment(variants=[{"name": "a", "acceleratorClassName": "x"}] * 2)),
    ("spec.variants", deployment(variants=[])),
    ("spec.variants[0].name", deployment(variants=[{"name": "thirteen-long", "acceleratorClassName": "x"}])),
    (
        "spec.objectives[0].thresholdMilliseconds",
        deployment(objectives=[FIRST_TOKEN | {"thresholdMilliseconds": 0}]),
    ),
    ("spec.objectives[0].windowHours", deployment(objectives=[FIRST_TOKEN | {"windowHours": 0}])),
    ("spec.objectives[0].windowHours", deployment(objectives=[FIRST_TOKEN | {"windowHours": 25}])),
    ("spec.engine.vllm.version", deployment(engine={"vllm": {"version": "latest"}})),
    ("spec.pod.env[0].name", deployment(pod={"env": [{"name": "LD_PRELOAD", "value": "x"}]})),
    (
        "spec.model.persistentVolumeClaim.path",
        deployment(model={"persistentVolumeClaim": {"claimName": "weights", "path": "../../etc"}}),
    ),
    ("spec.model.s3.uri", deployment(model={"s3": {"uri": "s3://bucket/a/../b"}})),
    ("spec.scaling.mode", deployment(scaling={"mode": "Sometimes"})),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """A server that knows both kinds."""
    with ApiServer() as running:
        applied = running.kubectl("apply", "-k", str(ROOT / "crds"))
        assert applied.returncode == 0, applied.stderr
        names = [f"crd/{plural}.{GROUP}" for plural in ("inferencedeployments", "acceleratorclasses")]
        waited = running.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        assert waited.returncode == 0, waited.stderr
        yield running


def created(server: ApiServer, obj: Mapping[str, Any]) -> tuple[int, str]:
    """Status and message of a dry creation."""
    path = CLASSES if obj["kind"] == "AcceleratorClass" else DEPLOYMENTS
    status, answer = server.request("POST", f"{path}?dryRun=All&fieldValidation=Strict", obj)
    return status, str(answer.get("message", ""))


def identity(example: RuleExample) -> str:
    return f"{example.path}: {example.message}"[:90]


@pytest.mark.parametrize("example", [*DEPLOYMENT_RULES, *CLASS_RULES], ids=identity)
def test_every_rule_accepts_what_keeps_it_and_rejects_what_breaks_it(server: ApiServer, example: RuleExample) -> None:
    status, message = created(server, example.good)
    assert status == 201, message
    status, message = created(server, example.bad)
    assert status == 422
    assert example.message in message.replace('\\"', '"')


@pytest.mark.parametrize(("path", "obj"), SCHEMA_EXAMPLES, ids=[path for path, _ in SCHEMA_EXAMPLES])
def test_the_schema_bounds_what_no_rule_speaks_of(server: ApiServer, path: str, obj: Mapping[str, Any]) -> None:
    status, message = created(server, obj)
    assert status == 422
    assert path in message


@pytest.mark.parametrize(
    "obj",
    [obj for _, obj in published_objects()],
    ids=[f"{where}:{obj['metadata']['name']}" for where, obj in published_objects()],
)
def test_what_we_show_people_is_accepted(server: ApiServer, obj: dict[str, Any]) -> None:
    obj["metadata"].pop("namespace", None)
    status, message = created(server, obj)
    assert status == 201, message


@pytest.mark.parametrize("folder", ["samples", "demo", "demo-vllm"])
def test_what_we_tell_people_to_apply_is_accepted(server: ApiServer, folder: str) -> None:
    rendered = server.kubectl("kustomize", str(ROOT / "manifests" / folder))
    assert rendered.returncode == 0, rendered.stderr
    ours = [obj for obj in yaml.safe_load_all(rendered.stdout) if obj["apiVersion"] == f"{GROUP}/{VERSION}"]
    assert ours
    for obj in ours:
        obj["metadata"].pop("namespace", None)
        status, message = created(server, obj)
        assert status == 201, message


def test_applying_both_files_again_changes_nothing(server: ApiServer) -> None:
    again = server.kubectl("apply", "-f", str(ROOT / "crds/inferencedeployments.yaml"))
    assert again.returncode == 0
    assert again.stdout.split()[-1] in ("unchanged", "configured")


def test_nothing_is_added_under_model_engine_and_pod(server: ApiServer) -> None:
    obj = deployment(pod={"env": [{"name": "TZ", "value": "UTC"}]})
    status, answer = server.request("POST", f"{DEPLOYMENTS}?dryRun=All", obj)
    assert status == 201
    for key in ("model", "engine", "pod"):
        assert answer["spec"][key] == obj["spec"][key]
    assert answer["spec"]["scaling"] == {"mode": "Automatic", "minReplicas": 1, "maxReplicas": 1}


def test_status_and_scale_carry_the_counts(server: ApiServer) -> None:
    obj = deployment(name="counted", replicas=3)
    status, stored = server.request("POST", DEPLOYMENTS, obj)
    assert status == 201, stored
    stored["status"] = FULL_STATUS
    status, answer = server.request("PUT", f"{DEPLOYMENTS}/counted/status?fieldValidation=Strict", stored)
    assert status == 200, answer
    assert answer["status"] == FULL_STATUS
    status, scale = server.request("GET", f"{DEPLOYMENTS}/counted/scale")
    assert status == 200
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 2, "selector": "inferencefleet.io/deployment=counted"}


def test_columns_tell_the_state(server: ApiServer) -> None:
    status, stored = server.request("POST", DEPLOYMENTS, deployment(name="shown"))
    assert status == 201
    server.request("PUT", f"{DEPLOYMENTS}/shown/status", {**stored, "status": FULL_STATUS})
    plain = server.kubectl("get", "infd", "shown", "--no-headers").stdout.split()
    assert plain[:7] == ["shown", "True", "Serving", "Llama-3.1-8B", "2/3", "2", "4.98"]
    wide = server.kubectl("get", "infd", "shown", "-o", "wide").stdout.splitlines()[0].split()
    assert wide == [*COLUMNS, "VERSION", "QUANTIZATION", "MESSAGE", "AGE"]


def test_fields_are_explained(server: ApiServer) -> None:
    explained = server.kubectl("explain", "infd.spec.variants.engine.vllm.kvCache.kvCacheDtype")
    assert explained.returncode == 0
    assert "fp8" in explained.stdout


def test_an_object_stored_before_a_rule_may_still_change_elsewhere(server: ApiServer) -> None:
    """Ratcheting: what did not change is not judged again, so that status and finalizers can still be written."""
    lenient = yaml.safe_load((ROOT / "crds/acceleratorclasses.yaml").read_text(encoding="utf-8"))
    spec = lenient["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    strict = json.dumps(lenient)
    spec.pop(KEY)
    assert server.kubectl("apply", "-f", "-", stdin=json.dumps(lenient)).returncode == 0
    old = accelerator_class(name="old", architecture="sm_90")
    for _ in range(100):
        status, _answer = server.request("POST", CLASSES, old)
        if status == 201:
            break
    assert status == 201
    assert server.kubectl("apply", "-f", "-", stdin=strict).returncode == 0
    labelled = server.kubectl("label", "accel", "old", "team=platform")
    assert labelled.returncode == 0, labelled.stderr


_CONDITION = {
    "type": "Ready",
    "status": "True",
    "reason": "Serving",
    "message": "all replicas serve",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-31T12:00:00Z",
}
_DECISION = {"time": "2026-01-31T12:00:00Z", "from": 1, "to": 3, "rule": "Backlog", "message": "12 wait"}
FULL_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [_CONDITION],
    "acceptedRevision": "counted-0123456789",
    "replicas": 2,
    "readyReplicas": 2,
    "selector": "inferencefleet.io/deployment=counted",
    "summary": {
        "model": "Llama-3.1-8B",
        "replicas": "2/3",
        "devices": 2,
        "version": "0.33.0",
        "quantization": "none",
    },
    "warnings": [{"path": "spec.replicas", "reason": "Ignored", "message": "is ignored", "suggestion": "Drop it."}],
    "updateAvailable": {"id": "abc", "message": "pods would be rendered differently"},
    "scaling": {
        "mode": "Automatic",
        "desiredReplicas": 3,
        "recommendedReplicas": 3,
        "lastScaleUpTime": "2026-01-31T12:00:00Z",
        "lastScaleDownTime": "2026-01-31T11:00:00Z",
        "scaleDownAllowedAfter": "2026-01-31T12:05:00Z",
        "signals": {"state": "Fresh", "since": "2026-01-31T10:00:00Z"},
        "lastDecision": {
            **_DECISION,
            "limitedBy": ["maxReplicas"],
            "terms": [
                {
                    "name": "load",
                    "value": "37.5",
                    "unit": "requests",
                    "replicas": 3,
                    "sampleTime": "2026-01-31T12:00:00Z",
                }
            ],
        },
        "history": [_DECISION],
    },
    "variants": [
        {
            "name": "h100",
            "conditions": [_CONDITION],
            "desiredReplicas": 3,
            "currentRevision": "abcdefghij",
            "updateRevision": "abcdefghij",
            "refusals": [{"path": "spec.variants[0]", "variant": "h100", "reason": "DoesNotFit", "message": "no"}],
            "pools": [
                {
                    "role": "both",
                    "revision": "abcdefghij",
                    "replicas": 3,
                    "ready": 2,
                    "terminating": 0,
                    "unschedulable": 1,
                }
            ],
            "resolved": {"image": "vllm/vllm-openai:v0.33.0", "devicesPerReplica": 1, "maxModelLen": "auto"},
            "memory": {"verdict": "Fits", "weightsBytes": 16_060_522_496},
            "startup": {"p50Seconds": 60, "p95Seconds": 90, "samples": 4},
        }
    ],
    "rollout": {"completedRevision": "counted-0123456789"},
    "endpoint": {"url": "http://counted.default.svc:8000"},
    "cost": {"perHour": "4.98", "currency": "USD"},
    "bookkeeping": {"backOff": {"h100/abcdefghij": {"until": "2026-01-31T12:00:00Z", "count": 3}}},
}


def test_an_object_that_nobody_has_looked_at_yet_does_not_seem_to_be_ready(server: ApiServer) -> None:
    # By kstatus an object without a status is current; one whose observed generation lags behind is in progress.
    status, answer = server.request("POST", DEPLOYMENTS, deployment(name="unseen"))
    assert (status, answer["status"]) == (201, {"observedGeneration": -1})
    # The status is the operator's: what it applies takes the default's place.
    told = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "InferenceDeployment", "metadata": {"name": "unseen"}}
    done = server.kubectl(
        *("apply", "--server-side", "--subresource=status", "--field-manager=inference-fleet", "-f", "-"),
        stdin=json.dumps({**told, "status": {"observedGeneration": 1, "conditions": []}}),
    )
    assert done.returncode == 0, done.stderr
    _, answer = server.request("GET", f"{DEPLOYMENTS}/unseen")
    assert answer["status"] == {"observedGeneration": 1, "conditions": []}
    server.request("DELETE", f"{DEPLOYMENTS}/unseen")
