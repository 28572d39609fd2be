"""The manifests people apply: complete, restricted, and accepted by the API's own models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.pod_security import violations
from inference_fleet import __version__
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.parse import parse_inference_deployment
from inference_fleet.controller.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("crds", "manifests/base", "manifests/samples")


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / folder).glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def one(folder: str, kind: str) -> dict[str, Any]:
    (found,) = (document for document in documents(folder) if document["kind"] == kind)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_kustomization_names_every_file_beside_it(folder: str) -> None:
    listed = yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    files = {path.name for path in (ROOT / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert {name for name in listed if not name.startswith("../")} == files
    assert all((ROOT / folder / name).exists() for name in listed)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_manifest_holds_a_secret(folder: str) -> None:
    assert all(document["kind"] != "Secret" for document in documents(folder))


def test_the_operators_pod_is_restricted_and_has_a_read_only_root() -> None:
    spec = one("manifests/base", "Deployment")["spec"]["template"]["spec"]
    assert violations(spec) == []
    (container,) = spec["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_namespace_of_the_operator_enforces_it() -> None:
    labels = one("manifests/base", "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_operators_pods_are_the_ones_that_service_and_budget_select() -> None:
    template = one("manifests/base", "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = (
        one("manifests/base", "Service")["spec"]["selector"],
        one("manifests/base", "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one("manifests/base", "Deployment")["spec"]["selector"]["matchLabels"],
    )
    assert all(selector.items() <= template.items() for selector in selectors)


def test_the_operators_settings_exist() -> None:
    (container,) = one("manifests/base", "Deployment")["spec"]["template"]["spec"]["containers"]
    names = {variable["name"].removeprefix("INFERENCE_FLEET_").lower() for variable in container["env"]}
    assert names <= set(Settings.model_fields)
    assert container["ports"][0]["containerPort"] == Settings.model_fields["port"].default


def test_the_image_is_the_one_of_this_version() -> None:
    (container,) = one("manifests/base", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"ghcr.io/inference-fleet/operator:{__version__}"


def test_the_sample_parses_and_finds_its_class_and_namespace() -> None:
    deployment = one("manifests/samples", "InferenceDeployment")
    spec = parse_inference_deployment(deployment)
    assert isinstance(spec, InferenceDeploymentSpec), spec
    classes = [each for each in documents("manifests/samples") if each["kind"] == "AcceleratorClass"]
    for each in classes:
        AcceleratorClassSpec.model_validate(each["spec"])
    assert {variant.accelerator_class_name for variant in spec.variants} <= {
        each["metadata"]["name"] for each in classes
    }
    assert one("manifests/samples", "Namespace")["metadata"]["name"] == deployment["metadata"]["namespace"]
