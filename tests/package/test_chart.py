"""The chart and manifests/base are one installation: rendered, they agree; what they do not know is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders.helm import CHART, SYSTEM, prepared
from builders.pod_security import violations
from builders.rendered import CLASSES, MONITORING, ROOT, Object, call, kustomized, overlay, rendered
from inference_fleet import __version__
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.parse import parse_accelerator_class, parse_inference_deployment
from inference_fleet.controller.permissions import permissions
from inference_fleet.controller.settings import Settings
from inference_fleet.engine.catalogue import built_in_accelerators

ADDED: Final = ("monitoring", "network-policy", "edit-role", "tenant-policies")
# Labels that only Helm sets, and that an object has under kustomize alone.
OF_HELM: Final = ("helm.sh/chart", *(f"app.kubernetes.io/{name}" for name in ("instance", "version", "managed-by")))


def by_name(objects: list[Object]) -> dict[tuple[str, str], Object]:
    """Objects by kind and name, without the marks of the tool that made them."""
    found = {}
    for each in objects:
        metadata = each["metadata"]
        labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in OF_HELM}
        annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != "helm.sh/resource-policy"}
        metadata |= {"labels": labels, "annotations": annotations}
        if each["kind"].startswith("ValidatingAdmissionPolicy"):
            # kustomize does not know that the kind has no namespace; the API server's clients do and leave it out.
            metadata.pop("namespace", None)
        found[each["kind"], metadata["name"]] = each
    return found


def one(objects: list[Object], kind: str) -> Object:
    (found,) = (each for each in objects if each["kind"] == kind)
    return found


def test_chart_and_base_are_the_same_installation() -> None:
    chart, base = by_name(rendered()), by_name(kustomized(ROOT / "manifests/base"))
    # Helm has its own way to make a namespace.
    del base["Namespace", SYSTEM]
    assert chart.keys() == base.keys()
    for place, wanted in base.items():
        assert chart[place] == wanted, place


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_helms_own_check_finds_nothing() -> None:
    done = call("helm", "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("replica=3", "additional properties 'replica' not allowed"),
        ("settings.tickSecond=3", "additional properties 'tickSecond' not allowed"),
        ("monitoring.rule.enabled=true", "additional properties 'rule' not allowed"),
        ("settings.workers=0", "minimum: got 0, want 1"),
        ("settings.logLevel=loud", "/settings/logLevel"),
        ("prometheus.url=prometheus:9090", "/prometheus/url"),
        ("prometheus.url=http://user:password@prometheus:9090", "/prometheus/url"),
        ("prometheus.token.name=x", "/prometheus/token"),
        ("prometheus.password.key=x", "/prometheus/password"),
        ("prometheus.user=fleet", "at '/prometheus/password': missing properties 'name', 'key'"),
        ("prometheus.password.name=x,prometheus.password.key=y", "at '/prometheus/password': maxProperties"),
        (
            "prometheus.user=a,prometheus.password.name=x,prometheus.password.key=y,"
            "prometheus.token.name=x,prometheus.token.key=y",
            "at '/prometheus/token': maxProperties",
        ),
        ("prometheus.tenantHeader=X Scope", "/prometheus/tenantHeader"),
        ("namespaces={Chat}", "/namespaces/0"),
        ("image.digest=latest", "/image/digest"),
        ("acceleratorCatalogue.prices.nvidia-l4.perHour=1", "/acceleratorCatalogue/prices/nvidia-l4"),
        ("userRoles.edit=yes", "/userRoles/edit"),
    ],
)
def test_a_value_that_is_unknown_or_out_of_range_is_refused_with_its_place(words: str, told: str) -> None:
    done = call("helm", "template", "x", str(CHART), "--set", words)
    assert done.returncode != 0
    assert told in done.stderr


def test_an_unknown_class_of_the_catalogue_is_refused() -> None:
    done = call(
        "helm",
        "template",
        "x",
        str(CHART),
        "--set",
        "acceleratorCatalogue.install=true,acceleratorCatalogue.only={h100}",
    )
    assert 'there is no class "h100" in the catalogue; it has' in done.stderr


def test_definitions_are_kept_unless_somebody_wants_otherwise() -> None:
    def policies(*words: str) -> list[Object]:
        return [
            each["metadata"]["annotations"] for each in rendered(*words) if each["kind"] == "CustomResourceDefinition"
        ]

    assert policies() == [{"helm.sh/resource-policy": "keep"}] * 2
    assert policies("--set", "crds.keep=false") == [{}] * 2
    assert policies("--set", "crds.install=false") == []


def granted(role: Object) -> set[tuple[str, str, str]]:
    return {
        (g, r, v) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
    }


def test_in_listed_namespaces_the_cluster_role_holds_only_what_has_no_namespace() -> None:
    objects = rendered("--set", "namespaces={chat,code}")
    table = permissions("cluster")
    wide = {("", "namespaces", "get"), *(("inferencefleet.io", "acceleratorclasses", v) for v in ("list", "watch"))}
    narrow = {(p.resource.group, p.path, v) for p in table for v in p.verbs if p.resource.namespaced}
    found = by_name(objects)
    assert granted(found["ClusterRole", "inference-fleet"]) == wide
    roles = [
        each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Role", "inference-fleet-engines")
    ]
    assert [role["metadata"]["namespace"] for role in roles] == ["chat", "code"]
    assert all(granted(role) == narrow for role in roles)
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert {"name": "INFERENCE_FLEET_NAMESPACES", "value": "chat,code"} in container["env"]


def test_writing_is_for_editors_only_if_asked_for() -> None:
    assert ("ClusterRole", "inference-fleet-edit") not in by_name(rendered())
    component = yaml.safe_load((ROOT / "manifests/components/edit-role/edit-role.yaml").read_text(encoding="utf-8"))
    role = by_name(rendered("--set", "userRoles.edit=true"))["ClusterRole", "inference-fleet-edit"]
    assert role["rules"] == component["rules"]
    assert component["metadata"]["labels"].items() <= role["metadata"]["labels"].items()


def test_monitoring_is_installed_only_if_asked_for_and_known(tmp_path: Path) -> None:
    kinds = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    asked = {"monitoring": {key: {"enabled": True} for key in ("serviceMonitor", "podMonitor", "rules", "dashboards")}}

    def found(*words: str, values: Mapping[str, Any]) -> set[str]:
        return kinds & {each["kind"] for each in rendered(*words, values=values, folder=tmp_path)}

    assert found(*MONITORING, values={}) == set()
    assert found(values=asked) == {"ConfigMap"}
    assert found(*MONITORING, values=asked) == kinds


def test_rules_and_dashboards_are_those_of_the_manifests(tmp_path: Path) -> None:
    values = {"monitoring": {"rules": {"enabled": True, "labels": {"team": "sre"}}, "dashboards": {"enabled": True}}}
    objects = rendered(*MONITORING, values=values, folder=tmp_path)
    folder = ROOT / "manifests/components/monitoring"
    rule = yaml.safe_load((folder / "prometheus-rule.yaml").read_text(encoding="utf-8"))
    assert one(objects, "PrometheusRule")["spec"] == rule["spec"]
    assert one(objects, "PrometheusRule")["metadata"]["labels"]["team"] == "sre"
    dashboards = list(yaml.safe_load_all((folder / "dashboards.yaml").read_text(encoding="utf-8")))
    found = by_name([each for each in objects if each["kind"] == "ConfigMap"])
    assert {name: each["data"] for (_, name), each in found.items()} == {
        each["metadata"]["name"]: each["data"] for each in dashboards
    }


def test_the_catalogue_is_the_operators_own_with_prices_from_values(tmp_path: Path) -> None:
    catalogue = {
        "install": True,
        "prices": {"nvidia-l4": {"perDeviceHour": "0.80", "currency": "EUR"}},
        "nodeSelectors": {"nvidia-l4": {"pool": "l4"}},
    }
    values = {"acceleratorCatalogue": catalogue}
    assert not [each for each in rendered(values=values, folder=tmp_path) if each["kind"] == "AcceleratorClass"]
    objects = [
        each for each in rendered(*CLASSES, values=values, folder=tmp_path) if each["kind"] == "AcceleratorClass"
    ]
    specs = {each["metadata"]["name"]: AcceleratorClassSpec.model_validate(each["spec"]) for each in objects}
    assert specs.keys() == built_in_accelerators().keys()
    assert str(specs["nvidia-l4"].cost_per_device_hour) == "0.80"
    assert specs["nvidia-h100-80gb"].cost_per_device_hour is None
    assert next(e for e in objects if e["metadata"]["name"] == "nvidia-l4")["spec"]["nodeSelector"] == {"pool": "l4"}


def test_with_every_switch_on_the_pod_stays_restricted(tmp_path: Path) -> None:
    values = {
        "prometheus": {
            "url": "https://prometheus:9090",
            "certificateAuthority": {"name": "ca", "key": "ca.crt"},
            "token": {"name": "token", "key": "token"},
        },
        "settings": {"logLevel": "debug", "tickSeconds": 5, "resyncSeconds": 3600, "workers": 4},
        "image": {"digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "podLabels": {"team": "ml"},
        "podAnnotations": {"note": "x"},
        "networkPolicy": {"enabled": True},
        "priorityClassName": "high",
        "tolerations": [{"operator": "Exists"}],
    }
    objects = rendered(values=values, folder=tmp_path)
    spec = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert violations(spec) == []
    (container,) = spec["containers"]
    assert container["image"] == f"ghcr.io/inference-fleet/operator@sha256:{'0' * 64}"
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["INFERENCE_FLEET_PROMETHEUS_CA_FILE"] == "/etc/prometheus-ca/ca.crt"
    assert environment["INFERENCE_FLEET_PROMETHEUS_TOKEN_FILE"] == "/etc/prometheus-token/token"
    assert environment["INFERENCE_FLEET_RESYNC_SECONDS"] == "3600"
    policy = one(objects, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 6443, 9090, 8000}


def test_a_tenant_of_a_shared_prometheus_and_a_users_password_reach_the_operator(tmp_path: Path) -> None:
    prometheus = {"tenant": "ml", "user": "fleet", "password": {"name": "login", "key": "secret"}}
    spec = one(rendered(values={"prometheus": prometheus}, folder=tmp_path), "Deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["INFERENCE_FLEET_PROMETHEUS_USER"] == "fleet"
    assert environment["INFERENCE_FLEET_PROMETHEUS_PASSWORD_FILE"] == "/etc/prometheus-password/secret"
    assert environment["INFERENCE_FLEET_PROMETHEUS_TENANT"] == "ml"
    assert environment["INFERENCE_FLEET_PROMETHEUS_TENANT_HEADER"] == "X-Scope-OrgID"
    assert {"name": "prometheus-password", "secret": {"secretName": "login", "optional": True}} in spec["volumes"]


def test_every_setting_of_the_operator_can_be_set_by_a_value(tmp_path: Path) -> None:
    query = 'sum by (namespace, inference_deployment) (gateway_requests_total{code=~"2.."})'
    file = {"name": "given", "key": "file"}
    everything: dict[str, Any] = {
        "namespaces": ["chat"],
        "prometheus": {
            "url": "https://prometheus:9090",
            "certificateAuthority": file,
            "tenant": "ml",
            "arrivalsQuery": query,
        },
        "settings": {"logFormat": "json", "logLevel": "debug", "tickSeconds": 5, "resyncSeconds": 60, "workers": 4},
    }
    given: dict[str, str] = {}
    # Either way to sign in.
    for sign_in in ({"token": file}, {"user": "fleet", "password": file}):
        values = {**everything, "prometheus": {**everything["prometheus"], **sign_in}}
        (container,) = one(rendered(values=values, folder=tmp_path), "Deployment")["spec"]["template"]["spec"][
            "containers"
        ]
        given |= {each["name"]: each.get("value") for each in container["env"]}
    assert given["INFERENCE_FLEET_ARRIVALS_QUERY"] == query
    prefix = "INFERENCE_FLEET_"
    # In a pod these are what they are by default: its own account, port, name and namespace.
    of_the_pod = {"kubeconfig", "host", "port", "lease", "lease_namespace", "identity"}
    assert {name.removeprefix(prefix).lower() for name in given if name.startswith(prefix)} >= (
        set(Settings.model_fields) - of_the_pod
    )


@pytest.mark.skipif(not prepared("helm3"), reason="helm 3 is not in the cache")
@pytest.mark.parametrize(
    "words", [(), ("--set", "namespaces={chat},crds.keep=false", *CLASSES), ("--set", "userRoles=3")]
)
def test_helm_3_and_4_make_the_same_of_it(words: tuple[str, ...]) -> None:
    # Without a cluster each takes the Kubernetes release it was built for.
    given = ("template", "inference-fleet", str(CHART), "-n", SYSTEM, "--kube-version", "1.37.1", *words)
    old, new = call("helm3", *given), call("helm", *given)
    assert old.returncode == new.returncode

    def objects(text: str) -> list[str]:
        # Helm 3 and 4 sort templates of one kind differently.
        return sorted(json.dumps(each, sort_keys=True) for each in yaml.safe_load_all(text) if each)

    assert objects(old.stdout) == objects(new.stdout)
    assert ("/userRoles" in old.stderr) == ("/userRoles" in new.stderr)


def test_the_component_for_one_namespace_is_what_the_chart_makes_of_a_list(tmp_path: Path) -> None:
    base = by_name(overlay(tmp_path / "overlay", "namespaced"))
    del base["Namespace", SYSTEM]
    chart = by_name(rendered("--set", "namespaces={models}"))
    assert chart.keys() == base.keys()
    for objects in (chart, base):
        # kustomize puts new variables before those that are there.
        (container,) = objects["Deployment", "inference-fleet"]["spec"]["template"]["spec"]["containers"]
        container["env"].sort(key=lambda variable: variable["name"])
    for place, wanted in base.items():
        assert chart[place] == wanted, place


def test_the_components_are_what_the_charts_switches_add(tmp_path: Path) -> None:
    base = by_name(overlay(tmp_path / "overlay", *ADDED, namespace=SYSTEM))
    del base["Namespace", SYSTEM]
    switches = ("serviceMonitor", "podMonitor", "rules", "dashboards")
    values = {
        "monitoring": {key: {"enabled": True} for key in switches},
        "networkPolicy": {"enabled": True},
        "userRoles": {"edit": True},
        "admissionPolicies": {"tenants": True},
    }
    chart = by_name(rendered(*MONITORING, values=values, folder=tmp_path))
    assert chart.keys() == base.keys()
    for place, wanted in base.items():
        found = chart[place]
        # A release finds its own Service; the labels of what is added are no part of the agreement.
        for each in (found, wanted):
            each["metadata"].pop("labels")
        if place[0] == "ServiceMonitor":
            found["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/instance")
        assert found == wanted, place


def test_artifact_hub_is_told_what_the_chart_really_brings() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    told = {
        key.removeprefix("artifacthub.io/"): yaml.safe_load(text)
        for key, text in chart["annotations"].items()
        if key.startswith("artifacthub.io/")
    }
    objects = by_name(rendered())
    definitions = {name: each["spec"] for (kind, name), each in objects.items() if kind == "CustomResourceDefinition"}
    assert {each["name"]: each["kind"] for each in told["crds"]} == {
        name: spec["names"]["kind"] for name, spec in definitions.items()
    }
    for example in told["crdsExamples"]:
        read = {"InferenceDeployment": parse_inference_deployment, "AcceleratorClass": parse_accelerator_class}
        assert not isinstance(read[example["kind"]](example), tuple), example
    (container,) = one(list(objects.values()), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert [each["image"] for each in told["images"]] == [container["image"]]
