"""The chart's life on a real API server: installed, upgraded without a write that nobody asked for, uninstalled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from builders.api_server import ApiServer
from builders.baseline import FOLDER, releases
from builders.helm import CHART as CHART_FOLDER
from builders.helm import SYSTEM, Helm, prepared
from builders.rendered import ROOT
from inference_fleet.cli.main import EXIT_OK, run

CHART: Final = str(CHART_FOLDER)
pytestmark = pytest.mark.timeout(180)

HELMS: Final = [
    pytest.param("helm", id="helm-4"),
    pytest.param("helm3", id="helm-3", marks=pytest.mark.skipif(not prepared("helm3"), reason="make setup-helm")),
]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """One for each test: definitions that are deleted soon after they came can take minutes to go."""
    with ApiServer() as running:
        yield running


class Release:
    """One release of the chart in a namespace of its own."""

    def __init__(self, server: ApiServer, helm: str) -> None:
        self.server = server
        self.kubectl = server.must
        self._helm = Helm(helm, kubeconfig=server.kubeconfig, home=server.folder)

    def helm(self, *words: str) -> str:
        return self._helm.run(*words)

    def versions(self) -> dict[str, str]:
        """resourceVersion of every object of the release."""
        kinds = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
        wide = "clusterroles,clusterrolebindings,customresourcedefinitions,acceleratorclasses"
        found = {}
        for words in (("-n", SYSTEM, "get", kinds), ("get", wide)):
            listed = json.loads(self.kubectl(*words, "-l", "app.kubernetes.io/name=inference-fleet", "-o", "json"))
            found |= {f"{i['kind']}/{i['metadata']['name']}": i["metadata"]["resourceVersion"] for i in listed["items"]}
        return found


@pytest.fixture(params=HELMS)
def release(server: ApiServer, request: pytest.FixtureRequest) -> Release:
    return Release(server, request.param)


def chart_version() -> str:
    return str(yaml.safe_load((CHART_FOLDER / "Chart.yaml").read_text(encoding="utf-8"))["version"])


def sample() -> str:
    """The sample deployment as people apply it."""
    return (ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8")


def test_a_release_from_install_to_uninstall(
    release: Release, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = release.helm("install", "fleet", CHART, "--create-namespace", "--set", "acceleratorCatalogue.install=true")
    assert "NOT INSTALLED YET: the accelerator catalogue" in notes
    # Without a word, pods would only wait in ImagePullBackOff.
    assert f"This image is not published yet: ghcr.io/inference-fleet/operator:{chart_version()}." in notes
    first = release.versions()
    assert {"Deployment/inference-fleet", "ClusterRole/inference-fleet"} <= first.keys()
    assert not [name for name in first if name.startswith("AcceleratorClass/")]

    release.helm("upgrade", "fleet", CHART, "--set", "acceleratorCatalogue.install=true")
    second = release.versions()
    assert "AcceleratorClass/nvidia-l4" in second
    assert {name: second[name] for name in first} == first, "an upgrade to the same chart writes nothing"

    server.kubectl("create", "namespace", "chat")
    deployment = yaml.safe_load(sample())
    deployment["metadata"]["namespace"] = "chat"
    release.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(deployment))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "serving", "namespace": "chat"},
        "spec": {"containers": [{"name": "engine", "image": "x"}], "automountServiceAccountToken": False},
    }
    server.kubectl("create", "serviceaccount", "default", "-n", "chat")
    release.kubectl("create", "-f", "-", stdin=json.dumps(pod))

    assert run(["status", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert "chat/llama-8b: the operator has not seen it yet" in capsys.readouterr().out

    release.helm("uninstall", "fleet")
    left = release.versions()
    assert {name.partition("/")[0] for name in left} == {"CustomResourceDefinition", "AcceleratorClass"}
    assert "llama-8b" in release.kubectl("get", "infd", "-n", "chat", "-o", "name")
    assert (
        json.loads(release.kubectl("get", "pod", "serving", "-n", "chat", "-o", "json"))["metadata"].get(
            "deletionTimestamp"
        )
        is None
    )


@pytest.mark.parametrize("version", releases())
def test_a_recorded_release_of_the_chart_is_upgraded_in_place(release: Release, version: str) -> None:
    """Whatever cannot be changed of an object that is there would fail here: selectors, stored versions, scopes."""
    recorded = str(FOLDER / f"{version}.chart.yaml")
    release.server.kubectl("create", "namespace", SYSTEM)
    release.kubectl("apply", "--server-side", "--field-manager=helm", "-f", recorded)
    before = uids(release)
    release.helm("install", "inference-fleet", CHART, "--take-ownership")
    assert uids(release).items() >= before.items(), "objects are changed, not made anew"
    release.helm("uninstall", "inference-fleet")


def uids(release: Release) -> dict[str, str]:
    listed = json.loads(release.kubectl("get", "deployments,services,crd,clusterroles", "-A", "-o", "json"))["items"]
    ours = [obj for obj in listed if "inference" in obj["metadata"]["name"]]
    return {f"{obj['kind']}/{obj['metadata']['name']}": obj["metadata"]["uid"] for obj in ours}


def test_a_release_takes_over_what_an_uninstall_has_left(release: Release) -> None:
    # Kinds of a neighbour that is not there are named and left out, not stumbled over.
    asked = [f"monitoring.{each}.enabled=true" for each in ("serviceMonitor", "podMonitor", "rules")]
    asked.append("image.repository=mine")
    notes = release.helm("install", "fleet", CHART, "--create-namespace", "--set", ",".join(asked))
    assert "not published" not in notes
    assert "NOT INSTALLED: PodMonitor, PrometheusRule, ServiceMonitor. They were asked for" in notes
    release.helm("uninstall", "fleet")
    before = {name: version for name, version in release.versions().items() if "CustomResource" in name}
    release.helm("install", "fleet", CHART)
    after: dict[str, Any] = release.versions()
    assert {name: after[name] for name in before} == before
    release.helm("uninstall", "fleet")
