"""The kubelet's gRPC interfaces come from the very modules go.sum holds."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from inference_fleet.sandbox import stubs_generation
from inference_fleet.sandbox.stubs_generation import ensure_stubs
from inference_fleet.sandbox.tools import ToolUnavailable

CRI = """syntax = "proto3"; package runtime.v1; option go_package = "x";
service RuntimeService { rpc Version(VersionRequest) returns (VersionRequest) {} }
message VersionRequest { string version = 1; }"""
PLUGIN = """syntax = "proto3"; package v1beta1; option go_package = "x"; message Empty {}"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go module cache with two small modules, and a go.sum that holds them. Returns the wrapper's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "mod"))
    monkeypatch.setenv("GOPROXY", "http://127.0.0.1:1")
    monkeypatch.setattr(stubs_generation, "GOBUILD_FOLDER", tmp_path / "gobuild")
    wrapper = tmp_path / "gobuild" / "kubernetes-1.37"
    wrapper.mkdir(parents=True)
    lines = []
    for module, path, text in (
        ("k8s.io/cri-api", "pkg/apis/runtime/v1/api.proto", CRI),
        ("k8s.io/kubelet", "pkg/apis/deviceplugin/v1beta1/api.proto", PLUGIN),
    ):
        folder = tmp_path / "mod" / "cache" / "download" / module / "@v"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / "v0.37.1.zip", "w") as archive:
            archive.writestr(f"{module}@v0.37.1/{path}", text)
        lines.append(f"{module} v0.37.1 {stubs_generation._archive_sum(folder / 'v0.37.1.zip')}\n")
    (wrapper / "go.sum").write_text("".join(lines), encoding="utf-8")
    return wrapper


def test_both_interfaces_are_generated_once() -> None:
    pytest.importorskip("grpc_tools")
    told: list[str] = []
    folder = ensure_stubs(progress=lambda message, _: told.append(message))
    names = sorted(path.name for path in (folder / "inference_fleet_stubs").iterdir())
    assert names == [
        "__init__.py",
        "cri_runtime_v1_pb2.py",
        "cri_runtime_v1_pb2_grpc.py",
        "device_plugin_v1beta1_pb2.py",
        "device_plugin_v1beta1_pb2_grpc.py",
    ]
    assert ensure_stubs(progress=lambda message, _: told.append(message)) == folder
    assert told == ["gRPC stubs: generating"]


def test_an_archive_that_go_sum_does_not_hold_is_never_used(modules: Path) -> None:
    pytest.importorskip("grpc_tools")
    sums = modules / "go.sum"
    sums.write_text(sums.read_text(encoding="utf-8").replace("h1:", "h1:0"), encoding="utf-8")
    # The local archive is passed over, and the module proxy (here a closed port) is asked.
    with pytest.raises(ToolUnavailable, match=r"http://127\.0\.0\.1:1/k8s.io/cri-api/@v/v0\.37\.1\.zip: .*refused"):
        ensure_stubs()


def test_a_module_missing_from_go_sum_is_told(modules: Path) -> None:
    pytest.importorskip("grpc_tools")
    (modules / "go.sum").write_text("", encoding="utf-8")
    with pytest.raises(ToolUnavailable, match=r"has no checksum of k8s\.io/cri-api v0\.37\.1"):
        ensure_stubs()


def test_a_proto_file_that_does_not_compile_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, modules: Path
) -> None:
    pytest.importorskip("grpc_tools")
    archive = tmp_path / "mod" / "cache" / "download" / "k8s.io/kubelet" / "@v" / "v0.37.1.zip"
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("k8s.io/kubelet@v0.37.1/pkg/apis/deviceplugin/v1beta1/api.proto", "not a proto file")
    sums = modules / "go.sum"
    kept = [line for line in sums.read_text(encoding="utf-8").splitlines() if "cri-api" in line]
    kept.append(f"k8s.io/kubelet v0.37.1 {stubs_generation._archive_sum(archive)}")
    sums.write_text("\n".join(kept) + "\n", encoding="utf-8")
    with pytest.raises(ToolUnavailable, match=r"(?s)grpc_tools\.protoc: .*device_plugin_v1beta1\.proto"):
        ensure_stubs()
    assert list((tmp_path / "cache").glob("**/inference_fleet_stubs")) == []


def test_the_checksum_is_gos_own(tmp_path: Path) -> None:
    # Worked by hand: h1 is the SHA-256 of "<sha256 of the file>  <name>\n".
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m@v1/a", b"text")
    line = f"{hashlib.sha256(b'text').hexdigest()}  m@v1/a\n"
    wanted = "h1:" + base64.b64encode(hashlib.sha256(line.encode()).digest()).decode()
    assert stubs_generation._archive_sum(tmp_path / "m.zip") == wanted
