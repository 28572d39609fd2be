"""The admission policies on a real API server: what they keep the operator from, and what they keep tenants from."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from builders.api_server import ApiServer
from builders.intents import make_accelerator, make_intent, make_plan
from inference_fleet.api.intent import overlay
from inference_fleet.workload.disruption_budget import disruption_budget
from inference_fleet.workload.network_policy import network_policy
from inference_fleet.workload.owner import Owner
from inference_fleet.workload.replica_set import replica_set
from inference_fleet.workload.service import service
from inference_fleet.workload.service_account import service_account

ROOT: Final = Path(__file__).resolve().parents[2]
OPERATOR: Final = "system:serviceaccount:inference-fleet-system:inference-fleet"
Object = dict[str, Any]
SPEC: Final[Mapping[str, Any]] = {
    "model": {"huggingFace": {"repository": "example/model"}},
    "engine": {"vllm": {"version": "0.33.0"}},
    "variants": [{"name": "a", "acceleratorClassName": "gpu"}],
}
_PATIENCE_SECONDS: Final = 20.0
pytestmark = pytest.mark.timeout(120)


class Cluster:
    """An API server with the policies, and somebody who tries things."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.must = server.must

    def refusal(self, verb: str, obj: Object, *, by: str = OPERATOR, dry: bool = True) -> str:
        """What an account is told that creates or applies an object; empty if it may."""
        words = (verb, "-f", "-", f"--as={by}", *(("--dry-run=server",) if dry else ()))
        return self.told(*words, stdin=json.dumps(obj))

    def told(self, *words: str, stdin: str | None = None) -> str:
        done = self.server.kubectl(*words, stdin=stdin)
        return "" if done.returncode == 0 else done.stderr

    def until_refused(self, obj: Object, *, by: str = OPERATOR) -> None:
        """Policies are in force some moments after they were made."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "denied" not in self.refusal("create", obj, by=by):
            assert time.monotonic() < deadline, "the policy is not in force"
            time.sleep(0.2)


def config_map(name: str, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "chat", **metadata}}


def infd(name: str = "m", *, namespace: str = "chat", **spec: Any) -> Object:
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": overlay(SPEC, spec),
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ApiServer() as server:
        found = Cluster(server)
        server.define()
        for path in ("base/admission-policies.yaml", "components/tenant-policies/tenant-policies.yaml"):
            found.must("apply", "--server-side", "-f", str(ROOT / "manifests" / path))
        for namespace in ("chat", "free", "limited"):
            found.must("create", "namespace", namespace)
        limits = (
            "inferencefleet.io/allowed-registries=docker.io/vllm, ghcr.io/acme/",
            "inferencefleet.io/device-budget=8",
        )
        found.must("annotate", "namespace", "limited", *limits)
        found.must("create", "-f", "-", stdin=json.dumps(infd()))
        found.until_refused(config_map("foreign"))
        found.until_refused(infd("probe", namespace="limited", engine={"vllm": {"image": "evil.io/x"}}), by="tenant")
        yield found


@pytest.fixture(scope="module")
def owner(cluster: Cluster) -> Owner:
    found = json.loads(cluster.must("get", "infd", "m", "-n", "chat", "-o", "json"))
    return Owner(name="m", namespace="chat", uid=found["metadata"]["uid"])


def pool(owner: Owner) -> Object:
    return replica_set(
        owner,
        intent=make_intent(),
        engine=make_plan(),
        accelerator=make_accelerator(),
        revision="abcdef0123",
        replicas=1,
    )


def test_the_operator_may_make_what_it_makes(cluster: Cluster, owner: Owner) -> None:
    children = [
        pool(owner),
        service(owner, port=80),
        service_account(owner),
        disruption_budget(owner),
        network_policy(owner, clients=()),
    ]
    assert [cluster.refusal("create", child) for child in children] == [""] * len(children)


@pytest.mark.parametrize("part", ["labels", "ownerReferences"])
def test_the_operator_may_not_make_what_belongs_to_no_deployment(cluster: Cluster, owner: Owner, part: str) -> None:
    body = pool(owner)
    del body["metadata"][part]
    assert "the operator writes only objects" in cluster.refusal("create", body)
    # Another deployment's label does not fit the owner.
    body = pool(owner)
    body["metadata"]["labels"]["inferencefleet.io/deployment"] = "other"
    assert "the operator writes only objects whose controller" in cluster.refusal("create", body)


def test_the_operator_may_not_touch_what_others_have(cluster: Cluster, owner: Owner) -> None:
    cluster.must("create", "-f", "-", stdin=json.dumps(config_map("settings")))
    as_operator = ("-n", "chat", f"--as={OPERATOR}", "--dry-run=server")
    assert "denied" in cluster.told("delete", "configmap", "settings", *as_operator)
    assert "denied" in cluster.told("patch", "configmap", "settings", "-p", '{"data":{"a":"b"}}', *as_operator)
    # Nor make it its own first.
    taken = {"metadata": {key: pool(owner)["metadata"][key] for key in ("labels", "ownerReferences")}}
    assert "denied" in cluster.told("patch", "configmap", "settings", "-p", json.dumps(taken), *as_operator)
    # Everybody else may.
    assert cluster.told("delete", "configmap", "settings", "-n", "chat", "--as=tenant", "--dry-run=server") == ""


def test_pods_of_its_replica_sets_are_the_operators_and_no_others(cluster: Cluster, owner: Owner) -> None:
    template = pool(owner)["spec"]["template"]
    metadata = {**template["metadata"], "name": "m-a-abcdef0123-x", "namespace": "chat"}
    spec = {**template["spec"], "serviceAccountName": "default"}
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "1", "controller": True}
    own = {**metadata, "ownerReferences": [{**reference, "name": "m-a-abcdef0123"}]}
    foreign = {**metadata, "name": "other-1", "ownerReferences": [{**reference, "name": "other-5d4f"}]}
    cluster.must("create", "serviceaccount", "default", "-n", "chat")
    for each in (own, foreign):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": each, "spec": spec}
        cluster.must("create", "-f", "-", stdin=json.dumps(pod))
    as_operator = ("-n", "chat", f"--as={OPERATOR}")
    assert (
        cluster.told("label", "pod", own["name"], "inferencefleet.io/serving=false", "--overwrite", *as_operator) == ""
    )
    assert "denied" in cluster.told("label", "pod", foreign["name"], "x=y", *as_operator)
    assert "denied" in cluster.told("delete", "pod", foreign["name"], *as_operator)
    assert cluster.told("delete", "pod", own["name"], "--force", *as_operator) == ""


def test_in_a_deployment_the_operator_sets_replicas_and_nothing_else(cluster: Cluster) -> None:
    def patch(body: Mapping[str, Any]) -> str:
        words = ("patch", "infd", "m", "-n", "chat", "--type=merge", f"--as={OPERATOR}", "--dry-run=server")
        return cluster.told(*words, "-p", json.dumps(body))

    assert patch({"spec": {"replicas": 3}}) == ""
    for body in (
        {"spec": {"suspend": True}},
        {"spec": {"engine": {"vllm": {"image": "evil.io/x"}}}},
        {"spec": {"objectives": None, "servedModelNames": ["x"]}},
        {"metadata": {"annotations": {"inferencefleet.io/apply-update": "x"}}},
        {"metadata": {"labels": {"a": "b"}}},
        {"metadata": {"finalizers": ["inferencefleet.io/for-ever"]}},
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]}},
    ):
        assert "the operator writes nothing into an InferenceDeployment but spec.replicas" in patch(body), body


IMAGE = {"image": {"reference": "registry.example/llama@sha256:" + "0" * 64}}
ACME = "ghcr.io/acme/vllm:1"


@pytest.mark.parametrize(
    ("spec", "strange"),
    [
        ({}, None),
        ({"engine": {"vllm": {"image": "vllm/vllm-openai:v0.33.0"}}}, None),
        ({"engine": {"vllm": {"image": ACME}}}, None),
        ({"engine": {"vllm": {"image": "ghcr.io/acme.evil/vllm:1"}}}, "ghcr.io/acme.evil/vllm:1"),
        ({"engine": {"vllm": {"image": "vllm-evil/x"}}}, "docker.io/vllm-evil/x"),
        ({"model": IMAGE}, "registry.example/llama"),
        ({"engine": {"vllm": {"speculative": {"method": "eagle3", "model": IMAGE}}}}, "registry.example/llama"),
        ({"variants": [{**SPEC["variants"][0], "engine": {"vllm": {"image": "evil.io/x"}}}]}, "evil.io/x"),
        ({"variants": [{**SPEC["variants"][0], "model": IMAGE}]}, "registry.example/llama"),
    ],
)
def test_images_come_from_the_registries_of_the_namespace(cluster: Cluster, spec: Object, strange: str | None) -> None:
    body = infd(namespace="limited", **spec)
    if "model" in spec:
        body["spec"]["model"] = spec["model"]
    told = cluster.refusal("create", body, by="tenant")
    if strange is None:
        assert told == ""
    else:
        assert f"images of this namespace come from docker.io/vllm, ghcr.io/acme/, not {strange}" in told
    free = copy.deepcopy(body)
    free["metadata"]["namespace"] = "free"
    assert cluster.refusal("create", free, by="tenant") == ""


def four_way(**variant: Any) -> Object:
    return {**SPEC["variants"][0], "engine": {"vllm": {"parallelism": {"tensorParallelSize": 4}}}, **variant}


NIGHT = {"name": "night", "start": "0 1 * * *", "durationSeconds": 3600}


@pytest.mark.parametrize(
    ("spec", "devices"),
    [
        ({"scaling": {"maxReplicas": 8}}, None),
        ({"scaling": {"maxReplicas": 9}}, 9),
        ({"scaling": {"maxReplicas": 3}, "variants": [four_way()]}, 12),
        ({"scaling": {"maxReplicas": 3, "schedules": [{**NIGHT, "maxReplicas": 20}]}}, 20),
        ({"scaling": {"mode": "Manual"}, "replicas": 9}, 9),
        ({"scaling": {"mode": "Manual"}, "replicas": 2, "variants": [four_way()]}, None),
        ({"engine": {"vllm": {"parallelism": {"tensorParallelSize": 8, "pipelineParallelSize": 2}}}}, 16),
    ],
)
def test_a_deployment_keeps_within_the_budget_of_its_namespace(
    cluster: Cluster, spec: Object, devices: int | None
) -> None:
    told = cluster.refusal("create", infd(namespace="limited", **spec), by="tenant")
    if devices is None:
        assert told == ""
    else:
        assert f"one InferenceDeployment of this namespace may hold 8 devices; this one could come to {devices}" in told
    assert cluster.refusal("create", infd(namespace="free", **spec), by="tenant") == ""


def test_scale_is_no_way_around_the_budget_and_an_old_object_can_still_be_deleted(cluster: Cluster) -> None:
    cluster.must("create", "namespace", "grown")
    body = infd(namespace="grown", scaling={"mode": "Manual"}, replicas=6)
    cluster.must("create", "-f", "-", stdin=json.dumps(body))
    cluster.must("annotate", "namespace", "grown", "inferencefleet.io/device-budget=4")
    cluster.until_refused(infd("other", namespace="grown", scaling={"maxReplicas": 5}), by="tenant")
    place = ("-n", "grown", "--as=tenant")
    assert "may hold 4 devices" in cluster.told("scale", "infd/m", "--replicas=7", *place)
    assert cluster.told("scale", "infd/m", "--replicas=4", *place) == ""
    # Labels change nothing that costs devices; so they may, and so may the deletion.
    cluster.must("annotate", "namespace", "grown", "inferencefleet.io/device-budget=2", "--overwrite")
    cluster.until_refused(infd("other", namespace="grown", scaling={"maxReplicas": 4}), by="tenant")
    assert cluster.told("label", "infd/m", "a=b", *place) == ""
    assert cluster.told("delete", "infd/m", *place) == ""
