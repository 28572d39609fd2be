"""After all that the operator did in this folder: it was refused nothing, and has no right that it never used."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from builders.operator_sandbox import OPERATOR_ACCOUNT, OperatorSandbox
from inference_fleet.controller.permissions import PERMISSIONS, Permission, permissions
from inference_fleet.planning.pool_writes import KEPT_EMPTY_POOLS
from inference_fleet.planning.record import KEPT_RECORDS
from inference_fleet.sandbox.tools import silent, tool_path

NAME, MANY = "rights", "rights-many"
RBAC = "rbac.authorization.k8s.io"
SLOW_START = [{"name": "INFERENCE_FLEET_EMULATOR_COLD_START_SECONDS", "value": "60"}]
CLIENTS = {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}}
_LOST_ANSWER = "after a create whose answer was lost: held by the fault tests"
# What this folder does not provoke, with the reason.
NOT_PROVOKED = {
    ("inferencefleet.io", "inferencedeployments/finalizers", "update"): "asked by an admission: no request of its own",
    ("apps", "replicasets", "get"): _LOST_ANSWER,
    ("apps", "controllerrevisions", "get"): _LOST_ANSWER,
    ("", "services", "get"): _LOST_ANSWER,
    ("", "serviceaccounts", "get"): _LOST_ANSWER,
    ("policy", "poddisruptionbudgets", "get"): _LOST_ANSWER,
    ("networking.k8s.io", "networkpolicies", "get"): _LOST_ANSWER,
    ("", "configmaps", "get"): _LOST_ANSWER,
}


@pytest.fixture(scope="module")
def audit(operator_world: OperatorSandbox) -> Iterator[list[dict[str, Any]]]:
    """What everybody has asked the API server for since the sandbox is up, the operator's rarer calls included."""
    _do_what_is_rare(operator_world)
    yield sorted(operator_world.audit(), key=lambda entry: str(entry["requestReceivedTimestamp"]))
    operator_world.remove(NAME, MANY)


@pytest.fixture(scope="module")
def calls(audit: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the operator has asked for."""
    return [entry for entry in audit if entry["user"]["username"] == OPERATOR_ACCOUNT]


def _do_what_is_rare(world: OperatorSandbox) -> None:
    manual: dict[str, Any] = {
        "scaling": {"mode": "Manual"},
        "drain": {"timeoutSeconds": 90},
        "pod": {"env": SLOW_START},
    }
    world.deploy(NAME, **manual, replicas=2, routing=CLIENTS)
    # Its first pods never become ready, and go soon when they are not wanted any more.
    selector = ("-l", f"inferencefleet.io/deployment={NAME}")
    world.wait(NAME, ".status.replicas", "2")
    world.kubectl("wait", "pod", *selector, "--for=condition=Initialized", "--timeout=60s")
    world.kubectl("scale", "infd", NAME, "--replicas=0")
    # Children that somebody has edited are put right.
    children = (f"serviceaccount/{NAME}-engine", f"poddisruptionbudget/{NAME}", f"networkpolicy/{NAME}")
    world.kubectl("label", *children, "app.kubernetes.io/managed-by=hand", "--overwrite")
    for child in children:
        world.kubectl(
            "wait", child, "--for=jsonpath={.metadata.labels.app\\.kubernetes\\.io/managed-by}=inference-fleet"
        )
    world.deploy(NAME, **manual, replicas=0, routing={"service": {"port": 8001}})
    world.kubectl("wait", f"service/{NAME}", "--for=jsonpath={.spec.ports[0].port}=8001", "--timeout=30s")
    world.kubectl("wait", "--for=delete", f"networkpolicy/{NAME}", "--timeout=30s")
    _outgrow_what_is_kept(world)
    # Engines that start heed no SIGTERM: their grace has passed meanwhile.
    world.kubectl("wait", "--for=delete", "pod", *selector, "--timeout=180s")


def _outgrow_what_is_kept(world: OperatorSandbox) -> None:
    """More revisions that have served, and more accepted specs, than the operator keeps."""
    firsts: list[str] = []
    for number in range(KEPT_EMPTY_POOLS + KEPT_RECORDS):
        served = number < KEPT_EMPTY_POOLS + 2
        engine = {"vllm": {"maxModelLen": 512 + number}}
        world.deploy(MANY, scaling={"mode": "Manual"}, replicas=int(served), engine=engine)
        world.wait(MANY, ".status.observedGeneration", str(world.get("infd", MANY)["metadata"]["generation"]))
        if served:
            world.wait_condition(MANY, "RolledOut")
        if not firsts:
            kinds = ("replicasets", "controllerrevisions")
            firsts = [f"{kind}/{found['metadata']['name']}" for kind in kinds for found in world.items(kind, of=MANY)]
    assert len(firsts) == 2
    world.kubectl("wait", "--for=delete", *firsts, "--timeout=60s")


def test_the_operator_was_never_refused_anything_while_it_had_its_rights(audit: list[dict[str, Any]]) -> None:
    refused, asked, removed = [], 0, False
    for entry in audit:
        reference, code = entry.get("objectRef") or {}, entry["responseStatus"].get("code", 0)
        if entry["user"]["username"] == OPERATOR_ACCOUNT:
            asked += 1
            # One whose release is being removed, its rights first, goes on until it is ended.
            if code == 403 and not removed:
                refused.append((entry["verb"], entry["requestURI"]))
        elif _installs(reference):
            if entry["verb"] == "delete" and code < 300:
                removed = True
            elif entry["verb"] in ("create", "patch", "update") and reference["resource"].endswith("bindings"):
                removed = False
    assert refused == []
    assert asked > 100


def test_every_right_is_used_and_every_used_right_is_in_the_table(
    calls: list[dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    used = set()
    for entry in calls:
        reference = entry.get("objectRef")
        if reference and entry["responseStatus"].get("code", 0) < 400:
            path = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            used.add((reference.get("apiGroup", ""), path, entry["verb"]))
    # One of the releases worked in a list of namespaces.
    assert used - _granted(*PERMISSIONS) == set(), "what is not in the table came from a role that everybody has"
    if "test_releases.py" not in {item.path.name for item in request.session.items}:
        pytest.skip("the releases were not tested: not every right was needed")
    always = (*permissions("cluster"), *permissions("own namespace"))
    assert _granted(*always) - used - NOT_PROVOKED.keys() == set(), "a right that was never used"


def _installs(reference: dict[str, Any]) -> bool:
    """Whether this is a part of an installation without which its operator may nothing."""
    ours = str(reference.get("name")).startswith("inference-fleet")
    return ours and (reference.get("apiGroup") == RBAC or reference.get("resource") == "namespaces")


def _granted(*table: Permission) -> set[tuple[str, str, str]]:
    return {(each.resource.group, each.path, verb) for each in table for verb in each.verbs}


def test_whoever_may_view_may_read_deployments_and_nobody_may_write_them_unasked(
    operator_world: OperatorSandbox,
) -> None:
    def may(verb: str, user: str) -> bool:
        words = ("auth", "can-i", verb, "inferencedeployments.inferencefleet.io", "-n", "default", f"--as={user}")
        # kubectl's exit status is the answer, too.
        kubectl = tool_path("kubectl", progress=silent)
        command = (str(kubectl), f"--kubeconfig={operator_world.sandbox.kubeconfig}", *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.strip() in ("yes", "no"), done.stderr
        return done.stdout.strip() == "yes"

    for user, role in (("reader", "view"), ("editor", "edit"), ("owner", "admin")):
        binding = ("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}", "-n", "default")
        operator_world.kubectl(*binding)
    try:
        assert [may("list", user) for user in ("reader", "editor", "owner", "stranger")] == [True, True, True, False]
        assert [may("create", user) for user in ("reader", "editor", "owner")] == [False, False, False]
    finally:
        for user in ("reader", "editor", "owner"):
            operator_world.kubectl("delete", "rolebinding", user, "-n", "default")
