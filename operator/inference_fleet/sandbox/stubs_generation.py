"""gRPC code for the kubelet's interfaces (container runtime, device plug-in), generated at set-up.

Neither the proto files nor the generated code stand in the repository: the files come from Kubernetes' own Go modules,
fetched from the module proxy and held by the checksums in the wrapper module's go.sum; the code goes into the user's
cache. It needs the packages grpcio and grpcio-tools, not Go.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from inference_fleet.sandbox.tools.cache import cache_folder, scratch
from inference_fleet.sandbox.tools.catalog import DEFAULT_KUBERNETES_VERSION, GOBUILD_FOLDER
from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.outcome import NotHere, ToolUnavailable
from inference_fleet.sandbox.tools.progress import Progress, silent

PACKAGE = "inference_fleet_stubs"
DEFAULT_MODULE_PROXY = "https://proxy.golang.org"
FETCH_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class _Interface:
    """One proto file: where it lies in which module, and what the generated modules are called."""

    module: str
    path: str
    name: str


_INTERFACES = (
    _Interface("k8s.io/cri-api", "pkg/apis/runtime/v1/api.proto", "cri_runtime_v1"),
    _Interface("k8s.io/kubelet", "pkg/apis/deviceplugin/v1beta1/api.proto", "device_plugin_v1beta1"),
)


@dataclass(frozen=True)
class Stubs:
    """The generated modules: messages, and servicers with their `add_..._to_server` functions."""

    runtime: ModuleType
    runtime_grpc: ModuleType
    device_plugin: ModuleType
    device_plugin_grpc: ModuleType


def load_stubs(*, progress: Progress = silent) -> Stubs:
    """Generate the stubs if the cache has none, and import them. Raises ToolUnavailable where they cannot be made."""
    folder = str(ensure_stubs(progress=progress))
    if folder not in sys.path:
        sys.path.append(folder)
    modules = [
        importlib.import_module(f"{PACKAGE}.{interface.name}_{part}")
        for interface in _INTERFACES
        for part in ("pb2", "pb2_grpc")
    ]
    return Stubs(*modules)


def ensure_stubs(*, progress: Progress = silent) -> Path:
    """The folder with the package of generated stubs (for sys.path), generated now if it is not there yet."""
    version = f"0.{DEFAULT_KUBERNETES_VERSION.partition('.')[2]}"
    # Generated code works with the generator's version and newer ones only, so each version has its folder.
    try:
        generator = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        generator = ""
    if not generator:
        raise _unavailable("grpcio-tools", "not installed: install inference-fleet-operator[sandbox]")
    folder = cache_folder() / "stubs" / f"kubelet-{version}-grpcio-{generator}"
    with file_lock(folder.parent / f"{folder.name}.lock", waiting_for="gRPC stubs", progress=progress):
        if not folder.is_dir():
            progress("gRPC stubs: generating", None)
            with scratch(folder.parent) as work:
                _generate(work, version=version)
                os.replace(work / "out", folder)
    return folder


def _generate(work: Path, *, version: str) -> None:
    protos = work / "protos" / PACKAGE
    protos.mkdir(parents=True)
    (work / "out").mkdir()
    for interface in _INTERFACES:
        archive = _module_archive(interface.module, version=f"v{version}", folder=work)
        with zipfile.ZipFile(archive) as files:
            text = files.read(f"{interface.module}@v{version}/{interface.path}")
        (protos / f"{interface.name}.proto").write_bytes(text)
    out, names = work / "out", sorted(f"{PACKAGE}/{path.name}" for path in protos.iterdir())
    options = (f"--proto_path={protos.parent}", f"--python_out={out}", f"--grpc_python_out={out}")
    done = subprocess.run(
        (sys.executable, "-m", "grpc_tools.protoc", *options, *names), capture_output=True, check=False, text=True
    )
    if done.returncode:
        raise _unavailable("grpc_tools.protoc", done.stderr.strip() or f"exit status {done.returncode}")
    (out / PACKAGE / "__init__.py").touch()


def _module_archive(module: str, *, version: str, folder: Path) -> Path:
    """The module's archive, from Go's module cache on this machine or from the module proxy; checked against go.sum."""
    wanted = _pinned_sum(module, version=version)
    local = _go_module_cache() / "cache" / "download" / module / "@v" / f"{version}.zip"
    if local.is_file() and _archive_sum(local) == wanted:
        return local
    target = folder / f"{module.replace('/', '-')}.zip"
    url = f"{_module_proxy()}/{module}/@v/{version}.zip"
    try:
        with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_SECONDS) as answer, target.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
        found = _archive_sum(target)
    except (OSError, urllib.error.URLError, zipfile.BadZipFile) as error:
        raise _unavailable(url, str(error)) from error
    if found != wanted:
        raise _unavailable(url, f"checksum is {found}, go.sum says {wanted}")
    return target


def _pinned_sum(module: str, *, version: str) -> str:
    minor = ".".join(DEFAULT_KUBERNETES_VERSION.split(".")[:2])
    sums = GOBUILD_FOLDER / f"kubernetes-{minor}" / "go.sum"
    for line in sums.read_text(encoding="utf-8").splitlines():
        name, pinned_version, pinned = line.split()
        if (name, pinned_version) == (module, version):
            return pinned
    raise _unavailable(str(sums), f"has no checksum of {module} {version}")


def _archive_sum(archive: Path) -> str:
    """Go's "h1" hash: SHA-256 over the sorted list of each file's SHA-256 and name (x/mod/sumdb/dirhash)."""
    with zipfile.ZipFile(archive) as files:
        lines = sorted((name, hashlib.sha256(files.read(name)).hexdigest()) for name in files.namelist())
    listing = "".join(f"{digest}  {name}\n" for name, digest in lines)
    return "h1:" + base64.b64encode(hashlib.sha256(listing.encode()).digest()).decode()


def _module_proxy() -> str:
    """The first proxy of GOPROXY that is an address, as Go itself would ask it."""
    entries = os.environ.get("GOPROXY", "").replace("|", ",").split(",")
    return next(
        (entry.rstrip("/") for entry in entries if entry.startswith(("http://", "https://"))), DEFAULT_MODULE_PROXY
    )


def _go_module_cache() -> Path:
    named = os.environ.get("GOMODCACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("GOPATH", "").partition(os.pathsep)[0] or Path.home() / "go") / "pkg" / "mod"


def _unavailable(source: str, reason: str) -> ToolUnavailable:
    return ToolUnavailable("gRPC stubs", attempts=(NotHere(source, reason),))
