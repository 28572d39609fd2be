"""Tools that are on this machine already: KUBEBUILDER_ASSETS, the PATH, the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from inference_fleet.sandbox.tools.cache import cached, family_folder
from inference_fleet.sandbox.tools.catalog import Tool
from inference_fleet.sandbox.tools.outcome import NotHere

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
# What envtest lays into that folder.
ASSETS_TOOLS = ("etcd", "kube-apiserver", "kubectl")
VERSION_TIMEOUT_SECONDS = 10


def in_kubebuilder_assets(tool: Tool) -> Path | NotHere:
    """The tool in the folder KUBEBUILDER_ASSETS names.

    envtest publishes some patch releases only, so Kubernetes' tools may be any patch of the wanted minor release, and
    etcd any version.
    """
    folder = os.environ.get(ASSETS_VARIABLE)
    if not folder:
        return NotHere(ASSETS_VARIABLE, "not set")
    if tool.name not in ASSETS_TOOLS:
        return NotHere(ASSETS_VARIABLE, f"holds only {', '.join(ASSETS_TOOLS)}")
    path = cached(Path(folder), name=tool.binary)
    if path is None:
        return NotHere(ASSETS_VARIABLE, f"no executable {tool.binary} in {folder}")
    if tool.name == "etcd":
        return path
    minor, _, _ = tool.family.version.rpartition(".")
    return _checked(path, tool=tool, wanted=minor)


def on_path(tool: Tool) -> Path | NotHere:
    """The tool on the PATH, if it is exactly the pinned version."""
    found = shutil.which(tool.binary)
    if found is None:
        return NotHere("PATH", f"no {tool.binary}")
    return _checked(Path(found), tool=tool, wanted=tool.family.version)


def in_cache(tool: Tool) -> Path | NotHere:
    """The tool in the user's cache, put there by an earlier download or build."""
    folder = family_folder(tool.family.name, version=tool.family.version)
    return cached(folder, name=tool.name) or NotHere("cache", f"no {tool.name} in {folder}")


def _checked(path: Path, *, tool: Tool, wanted: str) -> Path | NotHere:
    """The path if the program says it is version `wanted` (1.37 stands for every 1.37.x)."""
    try:
        said = subprocess.run(
            (str(path), *tool.version_arguments),
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return NotHere(str(path), f"does not say its version: {error}")
    found = re.search(r"(?<![\w.])v?(\d+\.\d+\.\d+)", said.stdout + said.stderr)
    if found is None:
        return NotHere(str(path), "does not say its version")
    version = found.group(1)
    if version == wanted or version.startswith(f"{wanted}."):
        return path
    return NotHere(str(path), f"is version {version}, want {wanted}")
