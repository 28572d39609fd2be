"""Where a tool is taken from, and what is said when it is nowhere."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools import ToolUnavailable, tool_path
from inference_fleet.sandbox.tools.cache import cached, family_folder, platform_name
from inference_fleet.sandbox.tools.catalog import Tool, catalog
from inference_fleet.sandbox.tools.downloads import Download
from inference_fleet.sandbox.tools.lookup import provide, tool_names
from inference_fleet.sandbox.tools.progress import silent

WriteProgram = Callable[..., Path]
APISERVER = catalog()["kube-apiserver"]


def cache_of(tool: Tool) -> Path:
    return family_folder(tool.family.name, version=tool.family.version)


@pytest.fixture
def everywhere(
    bin_folder: Path,
    program: WriteProgram,
    fake_go: Path,
    web: tuple[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Callable[[], None]]:
    """The API server in each source; every source comes with a function that takes it away again."""
    assets = program(tmp_path / "assets", "kube-apiserver", "echo Kubernetes v1.37.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets.parent))
    on_path = program(bin_folder, "kube-apiserver", "echo Kubernetes v1.37.1")
    in_cache = program(cache_of(APISERVER), "kube-apiserver", "echo cache")
    web[1]["/kube-apiserver"] = b"#!/bin/sh\necho downloaded\n"
    return {
        "assets": assets.unlink,
        "path": on_path.unlink,
        "cache": in_cache.unlink,
        "download": lambda: (web[1].clear(), cached(cache_of(APISERVER), name="kube-apiserver").unlink()),  # type: ignore[union-attr]
    }


def test_sources_are_asked_in_order(
    everywhere: dict[str, Callable[[], None]], web: tuple[str, dict[str, bytes]], tmp_path: Path, bin_folder: Path
) -> None:
    content = web[1]["/kube-apiserver"]
    pinned = Download(
        "kube-apiserver",
        "1.37.1",
        platform_name(),
        f"{web[0]}/kube-apiserver",
        None,
        hashlib.sha256(content).hexdigest(),
    )

    def found() -> Path:
        return provide(APISERVER, downloads=[pinned], progress=silent)

    assert found() == tmp_path / "assets" / "kube-apiserver"
    everywhere["assets"]()
    assert found() == bin_folder / "kube-apiserver"
    everywhere["path"]()
    assert found().read_text(encoding="utf-8").endswith("echo cache\n")
    everywhere["cache"]()
    assert found().read_text(encoding="utf-8").endswith("echo downloaded\n")
    everywhere["download"]()
    assert found().read_text(encoding="utf-8").endswith("echo built\n")
    assert found() == cache_of(APISERVER) / "kube-apiserver"


@pytest.mark.parametrize(
    ("says", "accepted"),
    [
        ("Kubernetes v1.37.1", True),
        ("Kubernetes v1.37.10", False),  # a prefix match would accept it
        ("Kubernetes v1.37.2", False),
        ("Kubernetes v1.36.4", False),
        ("no version here", False),
    ],
)
def test_only_the_pinned_version_is_taken_from_the_path(
    says: str, accepted: bool, bin_folder: Path, program: WriteProgram, fake_go: Path
) -> None:
    path = program(bin_folder, "kube-apiserver", f"echo {says}")
    assert (tool_path("kube-apiserver") == path) is accepted


@pytest.mark.parametrize(
    ("name", "says", "accepted"),
    [
        ("kube-apiserver", "Kubernetes v1.37.0", True),  # another patch of the same minor
        ("kube-apiserver", "Kubernetes v1.36.2", False),
        ("kubectl", "Client Version: v1.37.4", True),
        ("etcd", "etcd Version: 3.6.1", True),  # envtest chooses etcd's version
        ("kubelet", "Kubernetes v1.37.1", False),  # not part of envtest's folder
    ],
)
def test_kubebuilder_assets_may_be_another_patch_release(
    name: str,
    says: str,
    accepted: bool,
    program: WriteProgram,
    fake_go: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = program(tmp_path / "assets", name, f"echo {says}")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(path.parent))
    assert (tool_path(name) == path) is accepted


def test_a_program_that_cannot_start_is_passed_over(bin_folder: Path, fake_go: Path) -> None:
    broken = bin_folder / "etcd"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(0o755)
    assert tool_path("etcd") != broken


def test_nothing_anywhere_names_every_source_and_why(
    web: tuple[str, dict[str, bytes]], bin_folder: Path, program: WriteProgram
) -> None:
    program(bin_folder, "etcd", "echo etcd Version: 3.5.0")
    program(
        bin_folder,
        "go",
        'case "$1" in env) echo go1.99.0 ;; list) echo "go: cannot reach the proxy" >&2; exit 1 ;; esac',
    )
    unpinned = Download("etcd", "3.7.3", platform_name(), f"{web[0]}/etcd", None, None)
    with pytest.raises(ToolUnavailable) as caught:
        provide(catalog()["etcd"], downloads=[unpinned], progress=silent)
    assert str(caught.value).splitlines() == [
        "etcd 3.7.3 cannot be found, fetched or built:",
        "  KUBEBUILDER_ASSETS: not set",
        f"  {bin_folder / 'etcd'}: is version 3.5.0, want 3.7.3",
        f"  cache: no etcd in {cache_of(catalog()['etcd'])}",
        f"  {web[0]}/etcd: no pinned checksum, so it is not fetched",
        "  Go build of go.etcd.io/etcd/server/v3: go: cannot reach the proxy",
    ]


def test_an_unknown_tool_names_those_there_are() -> None:
    with pytest.raises(ToolUnavailable, match=r"no such tool; there are kube-apiserver, .*nft"):
        tool_path("minikube")


def test_an_unpinned_kubernetes_version_names_those_there_are() -> None:
    with pytest.raises(ToolUnavailable, match=r"1\.35 is not pinned here; there are 1\.37\.1, 1\.36\.4"):
        tool_path("kubectl", kubernetes_version="1.35")


def test_versions_lie_side_by_side(fake_go: Path) -> None:
    newest, older = tool_path("kubectl"), tool_path("kubectl", kubernetes_version="1.36")
    assert newest != older
    assert "kubernetes-1.36.4" in str(older)


def test_two_processes_build_a_tool_once(fake_go: Path) -> None:
    command = (sys.executable, "-c", "from inference_fleet.sandbox.tools import tool_path; print(tool_path('etcd'))")
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate(timeout=30)[0].strip() for process in both}
    assert paths == {str(cache_of(catalog()["etcd"]) / "etcd")}
    assert len(fake_go.read_text(encoding="utf-8").splitlines()) == 1  # without the lock 2


def test_every_tool_has_a_name_of_its_own() -> None:
    assert len(set(tool_names())) == len(tool_names())


def test_helm_3_and_4_are_both_called_helm_but_lie_apart(fake_go: Path) -> None:
    helm, helm3 = catalog()["helm"], catalog()["helm3"]
    assert {helm.binary, helm3.binary} == {"helm"}
    assert tool_path("helm") != tool_path("helm3")
