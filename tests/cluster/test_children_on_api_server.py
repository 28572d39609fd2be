"""A real API server accepts what we build: the manifests, every child, and pods in a namespace that is restricted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from builders.api_server import ApiServer
from builders.intents import OWNER, accepted_intent, make_accelerator, make_intent, make_plan
from builders.pod_strategies import platforms, specs
from inference_fleet.adapters.kubernetes import connect
from inference_fleet.api.inference_deployment import NetworkPolicyPeer
from inference_fleet.controller.executor import Executor, resource_of
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.planning.children import reference_to
from inference_fleet.planning.likeness import holds
from inference_fleet.planning.writes import Apply, Create
from inference_fleet.workload.controller_revision import controller_revision
from inference_fleet.workload.disruption_budget import disruption_budget
from inference_fleet.workload.drain import NEVER_READY_GRACE_SECONDS
from inference_fleet.workload.network_policy import network_policy
from inference_fleet.workload.replica_set import replica_set
from inference_fleet.workload.service import headless_service, service
from inference_fleet.workload.service_account import service_account

ROOT = Path(__file__).resolve().parents[2]
REVISION = "abcdef0123"
CHAT = "/api/v1/namespaces/chat"

INTENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no delay": {"drain": {"endpointDelaySeconds": 0, "timeoutSeconds": 1}},
    "longest drain": {"drain": {"endpointDelaySeconds": 300, "timeoutSeconds": 7200}},
    "all pod settings": {
        "pod": {
            "resources": {"requests": {"cpu": "8", "memory": "48Gi"}, "limits": {"memory": "64Gi"}},
            "env": [
                {"name": "TZ", "value": "$(HOME)"},
                {"name": "VLLM_API_KEY", "secretKeyRef": {"name": "keys", "key": "api"}},
            ],
            "labels": {"team": "search"},
            "annotations": {"example.org/note": "x"},
            "topologySpread": [{"topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}],
            "imagePullSecrets": [{"name": "registry"}],
            "sharedMemory": {"sizeLimit": "4Gi"},
        }
    },
    "shared cache and token": {
        "model": {
            "huggingFace": {"repository": "a/b", "tokenSecretRef": {"name": "hf", "key": "token"}},
            "cache": {"persistentVolumeClaim": {"claimName": "cache"}},
        }
    },
    "claim": {"model": {"persistentVolumeClaim": {"claimName": "weights", "path": "llama"}}},
    "image": {"model": {"image": {"reference": "registry.example/llama@sha256:" + "0" * 64}}},
    "object storage": {"model": {"s3": {"uri": "s3://b/m", "credentialsSecretRef": {"name": "store"}}}},
    "draft": {
        "engine": {
            "vllm": {
                "version": "0.33.0",
                "speculative": {"method": "eagle3", "model": {"persistentVolumeClaim": {"claimName": "drafts"}}},
            }
        }
    },
}
CLASSES: dict[str, dict[str, Any]] = {
    "CUDA": {"nodeSelector": {"pool": "h100"}, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]},
    "CPU": {"platform": "CPU", "architecture": "x86-64", "devices": None},
}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        created(started, "/api/v1/namespaces", {"metadata": {"name": "chat", "labels": labels}})
        created(started, f"{CHAT}/serviceaccounts", service_account(OWNER))
        yield started


def created(server: ApiServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
    status, answer = server.request("POST", path, body)
    assert status == 201, json.dumps(answer, indent=1)
    return answer


def pool(intent: str, accelerator: str) -> dict[str, Any]:
    cls = make_accelerator(**CLASSES[accelerator])
    return replica_set(
        OWNER,
        intent=make_intent(**INTENTS[intent]),
        engine=make_plan(devices_per_replica=2 if cls.devices else 0),
        accelerator=cls,
        revision=REVISION,
        replicas=2,
    )


@pytest.mark.parametrize("accelerator", CLASSES)
@pytest.mark.parametrize("intent", INTENTS)
def test_a_pool_is_valid_and_its_pods_are_restricted(server: ApiServer, intent: str, accelerator: str) -> None:
    body = pool(intent, accelerator)
    created(server, "/apis/apps/v1/namespaces/chat/replicasets?dryRun=All", body)
    template = body["spec"]["template"]
    pod = {"metadata": {**template["metadata"], "name": "one"}, "spec": template["spec"]}
    created(server, f"{CHAT}/pods?dryRun=All&fieldValidation=Strict", pod)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=specs, platform=platforms, devices=st.integers(0, 8))
def test_whatever_is_accepted_becomes_a_valid_pool(
    server: ApiServer, said: dict[str, Any], platform: dict[str, Any], devices: int
) -> None:
    intent = accepted_intent(**said)
    assume(intent is not None)
    assert intent is not None
    body = replica_set(
        OWNER,
        intent=intent,
        engine=make_plan(devices_per_replica=devices),
        accelerator=make_accelerator(**platform),
        revision=REVISION,
        replicas=1,
    )
    created(server, "/apis/apps/v1/namespaces/chat/replicasets?dryRun=All", body)


def test_every_other_child_is_valid(server: ApiServer) -> None:
    peer = NetworkPolicyPeer.model_validate({"podSelector": {"matchLabels": {"app": "gateway"}}})
    children = {
        f"{CHAT}/services": [service(OWNER, port=80), headless_service(OWNER)],
        "/apis/policy/v1/namespaces/chat/poddisruptionbudgets": [disruption_budget(OWNER)],
        "/apis/networking.k8s.io/v1/namespaces/chat/networkpolicies": [
            network_policy(OWNER, clients=[peer]),
            network_policy(OWNER, clients=()),
        ],
        "/apis/apps/v1/namespaces/chat/controllerrevisions": [
            controller_revision(OWNER, name="llama-8b-x", data={"spec": {}, "updates": {}}, number=1)
        ],
    }
    for path, bodies in children.items():
        for body in bodies:
            live = created(server, f"{path}?dryRun=All&fieldValidation=Strict", body)
            # What the API server adds is no difference: a settled object is not written again.
            parts = [part for part in ("spec", "data", "revision") if part in body]
            assert all(holds(live[part], body[part]) for part in parts)
            assert holds(live["metadata"]["labels"], body["metadata"]["labels"])


async def test_a_child_that_has_to_differ_becomes_what_is_wanted_and_keeps_nothing_else(server: ApiServer) -> None:
    peers = [NetworkPolicyPeer.model_validate({"podSelector": {"matchLabels": {"app": app}}}) for app in ("a", "b")]
    changes = [
        (service(OWNER, port=80), service(OWNER, port=8001)),
        (network_policy(OWNER, clients=peers), network_policy(OWNER, clients=peers[:1])),
        (network_policy(OWNER, clients=peers[:1]), network_policy(OWNER, clients=())),
    ]
    cluster = await connect(kubeconfig=str(server.kubeconfig))
    executor = Executor(cluster, Store(), Telemetry(), leads=lambda: True, sees=lambda: True)
    try:
        for former, wanted in changes:
            reference = reference_to(former, namespace="chat")
            resource = resource_of(reference)
            assert (await executor.execute([Create(reference, former, "test")])).refused == ()
            metadata = (await cluster.get(resource, name=reference.name, namespace="chat"))["metadata"]
            write = Apply(reference, wanted, metadata["uid"], metadata["resourceVersion"], "test")
            done = await executor.execute([write])
            assert (done.stale, done.refused) == (None, ())
            live = await cluster.get(resource, name=reference.name, namespace="chat")
            assert holds(live["spec"], wanted["spec"])
            if reference.kind == "Service":
                # A server-side apply would be refused here: two ports of one name.
                assert [port["port"] for port in live["spec"]["ports"]] == [8001]
            await cluster.delete(
                resource, name=reference.name, namespace="chat", uid=metadata["uid"], resource_version=None
            )
    finally:
        await cluster.close()


def test_what_people_install_applies_with_plain_kubectl(server: ApiServer) -> None:
    for folder in ("manifests/base", "manifests/samples"):
        answer = server.kubectl("apply", "-k", str(ROOT / folder))
        if "no matches for kind" in answer.stderr:
            # The definitions were made a moment ago: the API server still has to serve them.
            server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
            answer = server.kubectl("apply", "-k", str(ROOT / folder))
        assert answer.returncode == 0, answer.stderr
    again = server.kubectl("apply", "-k", str(ROOT / "manifests/base"))
    # kubectl patches a PodDisruptionBudget each time, with nothing in it: its selector is replaced whole.
    changed = [line for line in again.stdout.splitlines() if not line.endswith(" unchanged")]
    assert all(line.startswith("poddisruptionbudget.policy/") for line in changed), changed


def test_a_second_deletion_may_shorten_the_grace_of_the_first(server: ApiServer) -> None:
    template = pool("plain", "CPU")["spec"]["template"]
    pod = {"metadata": {**template["metadata"], "name": "ends"}, "spec": {**template["spec"], "nodeName": "somewhere"}}
    created(server, f"{CHAT}/pods", pod)
    status, ending = server.request("DELETE", f"{CHAT}/pods/ends")
    assert (status, ending["metadata"]["deletionGracePeriodSeconds"]) == (200, 640)
    seen = {key: ending["metadata"][key] for key in ("uid", "resourceVersion")}
    body = {"gracePeriodSeconds": NEVER_READY_GRACE_SECONDS, "preconditions": seen}
    status, sooner = server.request("DELETE", f"{CHAT}/pods/ends", body)
    assert (status, sooner["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
