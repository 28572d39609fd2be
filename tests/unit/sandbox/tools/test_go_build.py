"""A build is reproducible from go.sum alone, complete or absent, and stamped with its version."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools.cache import family_folder
from inference_fleet.sandbox.tools.catalog import GOBUILD_FOLDER, KUBERNETES_VERSIONS, Tool, catalog
from inference_fleet.sandbox.tools.go_build import built
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import silent

WriteProgram = Callable[..., Path]
ALL_TOOLS = [tool for version in KUBERNETES_VERSIONS for tool in catalog(kubernetes_version=version).values()]
APISERVER = catalog()["kube-apiserver"]


def test_flags_of_the_user_cannot_loosen_the_build(fake_go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    monkeypatch.setenv("CGO_ENABLED", "1")
    assert isinstance(built(APISERVER, progress=silent), Path)
    flags, cgo, command = fake_go.read_text(encoding="utf-8").strip().split("|")
    assert flags == "-mod=readonly -trimpath -buildvcs=false"
    assert cgo == "0"
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.1 " in command
    assert "-X k8s.io/component-base/version.gitMinor=37 " in command


def test_prometheus_is_built_without_the_clouds_discovery(fake_go: Path) -> None:
    assert isinstance(built(catalog()["prometheus"], progress=silent), Path)
    assert " -tags remove_all_sd,enable_kubernetes_sd,enable_dns_sd " in fake_go.read_text(encoding="utf-8")


def test_progress_tells_what_is_fetched_and_how_far_it_is(fake_go: Path) -> None:
    told: list[tuple[str, float | None]] = []
    built(APISERVER, progress=lambda *one: told.append(one))
    assert told == [
        ("kube-apiserver 1.37.1: resolving what it is built from", None),
        ("kube-apiserver 1.37.1: fetching example.org/a v1.0.0", None),
        ("kube-apiserver 1.37.1: compiling example.org/a", 0.45),
        ("kube-apiserver 1.37.1: linking", 0.9),
    ]


@pytest.mark.parametrize("failing", ["list", "build"])
def test_a_failed_build_leaves_nothing_and_says_why(failing: str, bin_folder: Path, program: WriteProgram) -> None:
    script = f'case "$1" in env) echo go1.99.0 ;; {failing}) echo "go: checksum mismatch" >&2; exit 1 ;; esac'
    program(bin_folder, "go", script)
    assert built(APISERVER, progress=silent) == NotHere(
        "Go build of k8s.io/kubernetes/cmd/kube-apiserver", "go: checksum mismatch"
    )
    assert list(family_folder("kubernetes", version="1.37.1").iterdir()) == []


def test_an_interrupted_build_ends_the_compiler_and_leaves_nothing(
    bin_folder: Path, program: WriteProgram, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    program(
        bin_folder,
        "go",
        f"""case "$1" in
        env) echo go1.99.0 ;;
        build) echo $$ > {pid_file}; echo example.org/a >&2; exec sleep 60 ;;
        esac""",
    )

    def interrupt(message: str, fraction: float | None) -> None:
        if fraction:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(APISERVER, progress=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text(encoding="utf-8")), 0)
    assert list(family_folder("kubernetes", version="1.37.1").iterdir()) == []


@pytest.mark.parametrize("tool", ALL_TOOLS, ids=str)
def test_the_wrapper_requires_what_the_catalogue_says(tool: Tool) -> None:
    module = (tool.family.wrapper / "go.mod").read_text(encoding="utf-8")
    assert re.search(rf"^\t{re.escape(tool.package)}$|^tool {re.escape(tool.package)}$", module, re.MULTILINE)
    # Prometheus' module v0.315.0 is its release 3.15.0.
    version = "0.315.0" if tool.family.name == "prometheus" else tool.family.version
    owner = re.search(rf"(\S+) v{re.escape(version)}(?: // indirect)?$", module, re.MULTILINE)
    assert owner is not None
    sums = (tool.family.wrapper / "go.sum").read_text(encoding="utf-8")
    assert f"{owner.group(1)} v{version} h1:" in sums


def test_wrappers_hold_no_source() -> None:
    names = {path.name for folder in GOBUILD_FOLDER.iterdir() if folder.is_dir() for path in folder.iterdir()}
    assert names == {"go.mod", "go.sum"}
