"""The chart's life on a real API server: installed, upgraded without a write that nobody asked for, uninstalled."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders.api_server import ApiServer
from builders.baseline import FOLDER, releases
from inference_fleet.cli.main import EXIT_OK, run
from inference_fleet.sandbox.tools import silent, tool_path
from inference_fleet.sandbox.tools.catalog import catalog
from inference_fleet.sandbox.tools.local import in_cache, on_path

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = str(ROOT / "charts/inference-fleet")
NAMESPACE: Final = "inference-fleet-system"
pytestmark = pytest.mark.timeout(180)


def helm3() -> Path | None:
    """Helm 3, where it is already; building it takes longer than all these tests."""
    tool = catalog()["helm3"]
    return next((found for found in (on_path(tool), in_cache(tool)) if isinstance(found, Path)), None)


HELMS: Final = [
    pytest.param("helm", id="helm-4"),
    pytest.param("helm3", id="helm-3", marks=pytest.mark.skipif(helm3() is None, reason="helm 3 is not in the cache")),
]


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest) -> Path:
    return tool_path(request.param, progress=silent)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """One for each test: definitions that are deleted soon after they came can take minutes to go."""
    with ApiServer() as running:
        yield running


class Release:
    """One release of the chart in a namespace of its own."""

    def __init__(self, server: ApiServer, helm: Path) -> None:
        self.server, self.binary = server, helm

    def helm(self, *words: str) -> str:
        done = subprocess.run(
            [str(self.binary), *words, "--namespace", NAMESPACE, "--kubeconfig", str(self.server.kubeconfig)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"HOME": str(self.server.folder), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        done = self.server.kubectl(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def versions(self) -> dict[str, str]:
        """resourceVersion of every object of the release."""
        kinds = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets"
        wide = "clusterroles,clusterrolebindings,customresourcedefinitions,acceleratorclasses"
        found = {}
        for words in (("-n", NAMESPACE, "get", kinds), ("get", wide)):
            listed = json.loads(self.kubectl(*words, "-l", "app.kubernetes.io/name=inference-fleet", "-o", "json"))
            found |= {f"{i['kind']}/{i['metadata']['name']}": i["metadata"]["resourceVersion"] for i in listed["items"]}
        return found


@pytest.fixture
def release(server: ApiServer, helm: Path) -> Release:
    return Release(server, helm)


def sample() -> str:
    """The sample deployment as people apply it."""
    return (ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8")


def test_a_release_from_install_to_uninstall(
    release: Release, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = release.helm("install", "fleet", CHART, "--create-namespace", "--set", "acceleratorCatalogue.install=true")
    assert "NOT INSTALLED YET: the accelerator catalogue" in notes
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
    assert "chat/llama-8b: the operator has not looked at it yet" in capsys.readouterr().out

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
    release.server.kubectl("create", "namespace", NAMESPACE)
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
    release.helm("install", "fleet", CHART, "--create-namespace")
    release.helm("uninstall", "fleet")
    before = {name: version for name, version in release.versions().items() if "CustomResource" in name}
    release.helm("install", "fleet", CHART)
    after: dict[str, Any] = release.versions()
    assert {name: after[name] for name in before} == before
    release.helm("uninstall", "fleet")
