"""Whatever a user may say: what the API server and the operator accept becomes pods of the restricted standard.

The API server's own admission judges, in a namespace that enforces the standard; nothing is stored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from builders.api_server import ApiServer
from builders.whole_specs import CLASSES, whole_specs
from inference_fleet.planning.plan import plan
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.writes import Create

CHAT = "/api/v1/namespaces/chat"
INFDS = "/apis/inferencefleet.io/v1alpha1/namespaces/chat/inferencedeployments"
EXAMPLES = 300
NOW = 1_790_000_000.0
seen: Counter[str] = Counter()
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        started.define()
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        created(started, "/api/v1/namespaces", {"metadata": {"name": "chat", "labels": labels}})
        created(started, f"{CHAT}/serviceaccounts", {"metadata": {"name": "m-engine"}})
        yield started


def created(server: ApiServer, path: str, body: Any) -> dict[str, Any]:
    status, answer = server.request("POST", path, body)
    assert status == 201, json.dumps(answer, indent=1)
    return answer


def pools(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """ReplicaSets that the operator makes of it; none if it refuses."""
    snapshot = Snapshot(deployment=deployment, accelerator_classes=CLASSES)
    writes = plan(snapshot, None, NOW).writes
    return [dict(w.body) for w in writes if isinstance(w, Create) and w.reference.kind == "ReplicaSet"]


@seed(20_261_121)
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(spec=whole_specs)
def test_accepted_means_restricted(server: ApiServer, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "inferencefleet.io/v1alpha1", "kind": "InferenceDeployment", "metadata": {"name": "m"}}
    status, stored = server.request("POST", f"{INFDS}?dryRun=All&fieldValidation=Strict", {**body, "spec": spec})
    if status != 201:
        assert status == 422, stored
        seen["refused by the API server"] += 1
        return
    made = pools(stored)
    seen["accepted" if made else "refused by the operator"] += 1
    for pool in made:
        seen["pools"] += 1
        created(server, "/apis/apps/v1/namespaces/chat/replicasets?dryRun=All&fieldValidation=Strict", pool)
        template = pool["spec"]["template"]
        # A PriorityClass has to exist; which ones do is the cluster's business.
        pod_spec = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
        pod = {"metadata": {**template["metadata"], "name": "one"}, "spec": pod_spec}
        created(server, f"{CHAT}/pods?dryRun=All&fieldValidation=Strict", pod)


def test_enough_of_them_were_accepted_and_the_admission_is_awake(server: ApiServer) -> None:
    assert seen["accepted"] >= EXAMPLES / 4, seen
    pod = {
        "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "m-engine"},
    }
    status, answer = server.request("POST", f"{CHAT}/pods?dryRun=All", pod)
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert "violates PodSecurity" in answer["message"]
