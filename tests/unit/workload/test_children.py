"""Child objects: whose they are, whom they select, and that they copy nothing of the owner's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from builders.intents import OWNER, make_accelerator, make_intent, make_plan
from inference_fleet.api.inference_deployment import NetworkPolicyPeer
from inference_fleet.api.names import MAXIMUM_NAME_LENGTH, MAXIMUM_VARIANT_NAME_LENGTH
from inference_fleet.workload.controller_revision import controller_revision
from inference_fleet.workload.disruption_budget import disruption_budget
from inference_fleet.workload.labels import scale_selector, service_selector
from inference_fleet.workload.network_policy import network_policy
from inference_fleet.workload.owner import Owner
from inference_fleet.workload.replica_set import rendered_of, replica_set
from inference_fleet.workload.service import headless_service, service
from inference_fleet.workload.service_account import service_account

REVISION = "abcdef0123"


def pool(owner: Owner = OWNER, *, variant: str = "h100", replicas: int = 3) -> dict[str, Any]:
    intent = make_intent(variants=[{"name": variant, "acceleratorClassName": "nvidia-h100-80gb"}])
    return replica_set(
        owner,
        intent=intent,
        engine=make_plan(),
        accelerator=make_accelerator(),
        revision=REVISION,
        replicas=replicas,
    )


CHILDREN: Mapping[str, dict[str, Any]] = {
    "ReplicaSet": pool(),
    "Service": service(OWNER, port=80),
    "headless Service": headless_service(OWNER),
    "PodDisruptionBudget": disruption_budget(OWNER),
    "ServiceAccount": service_account(OWNER),
    "NetworkPolicy": network_policy(OWNER, clients=()),
    "ControllerRevision": controller_revision(OWNER, name="llama-8b-1", data={"spec": {}}, number=1),
}
every_child = pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN.keys())


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


@every_child
def test_a_child_goes_with_its_owner(child: dict[str, Any]) -> None:
    (reference,) = child["metadata"]["ownerReferences"]
    assert reference["uid"] == OWNER.uid
    assert reference["controller"] is True
    assert "finalizers" not in child["metadata"]


@every_child
def test_a_child_stays_in_its_owners_namespace_with_our_labels_only(child: dict[str, Any]) -> None:
    assert child["metadata"]["namespace"] == "chat"
    assert set(child["metadata"]["labels"]) - {
        f"inferencefleet.io/{key}" for key in ("variant", "role", "revision")
    } == {
        "inferencefleet.io/deployment",
        "app.kubernetes.io/managed-by",
    }


def test_a_pool_is_named_by_deployment_variant_and_revision() -> None:
    assert pool()["metadata"]["name"] == "llama-8b-h100-abcdef0123"
    assert pool(replicas=3)["spec"]["replicas"] == 3


def test_the_longest_names_leave_a_pod_its_full_name() -> None:
    owner = Owner(name="n" * MAXIMUM_NAME_LENGTH, namespace="chat", uid="u")
    body = pool(owner, variant="v" * MAXIMUM_VARIANT_NAME_LENGTH)
    # The pod's name is <ReplicaSet>-<5 characters>; beyond 63 the API server cuts the ReplicaSet's part.
    assert len(body["metadata"]["name"]) <= 253
    assert all(len(value) <= 63 for value in body["spec"]["template"]["metadata"]["labels"].values())


def test_a_pool_selects_its_pods_by_what_never_changes() -> None:
    spec = pool()["spec"]
    selector = spec["selector"]["matchLabels"]
    labels = spec["template"]["metadata"]["labels"]
    assert matches(selector, labels)
    assert "inferencefleet.io/serving" not in selector
    assert "inferencefleet.io/rank" not in selector


def test_a_pool_remembers_how_it_was_rendered() -> None:
    assert rendered_of(pool()) == rendered_of(pool(replicas=9))
    assert rendered_of({"metadata": {}}) is None


def test_an_unrouted_pod_leaves_the_service_and_stays_in_budget_and_scale() -> None:
    labels = dict(pool()["spec"]["template"]["metadata"]["labels"])
    selector = service(OWNER, port=80)["spec"]["selector"]
    assert selector == service_selector("llama-8b")
    assert matches(selector, labels)
    labels["inferencefleet.io/serving"] = "false"
    assert not matches(selector, labels)
    assert matches(disruption_budget(OWNER)["spec"]["selector"]["matchLabels"], labels)
    assert scale_selector("llama-8b") == "inferencefleet.io/deployment=llama-8b,inferencefleet.io/rank=0"


def test_the_service_has_the_users_port_and_the_engines_behind_it() -> None:
    assert service(OWNER, port=80)["spec"]["ports"] == [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
    ]
    headless = headless_service(OWNER)["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["ports"][0]["port"] == 8000


def test_a_node_drain_takes_one_replica_at_a_time_and_is_not_held_by_unhealthy_pods() -> None:
    spec = disruption_budget(OWNER)["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_engines_have_an_account_without_a_token() -> None:
    assert service_account(OWNER)["automountServiceAccountToken"] is False


def test_only_declared_clients_reach_the_engine_port() -> None:
    peers = [
        {"podSelector": {"matchLabels": {"app": "gateway"}}},
        {"namespaceSelector": {"matchLabels": {}}, "podSelector": {"matchLabels": {"app": "prometheus"}}},
    ]
    spec = network_policy(OWNER, clients=[NetworkPolicyPeer.model_validate(peer) for peer in peers])["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    assert rule["from"] == peers
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]


def test_no_clients_means_nobody() -> None:
    assert network_policy(OWNER, clients=())["spec"]["ingress"] == []


def test_a_record_keeps_its_data_and_number() -> None:
    record = controller_revision(OWNER, name="llama-8b-x", data={"spec": {"a": 1}}, number=4)
    assert (record["data"], record["revision"]) == ({"spec": {"a": 1}}, 4)
