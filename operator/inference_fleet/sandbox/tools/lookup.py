"""Where a tool is taken from, in this order: KUBEBUILDER_ASSETS, PATH, the cache, the official download, a Go build."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inference_fleet.sandbox.tools.cache import family_folder
from inference_fleet.sandbox.tools.catalog import DEFAULT_KUBERNETES_VERSION, Tool, catalog
from inference_fleet.sandbox.tools.debian import DEBIAN_TOOLS, DebianTool, unpacked
from inference_fleet.sandbox.tools.debian import on_path as debian_on_path
from inference_fleet.sandbox.tools.downloads import Download, downloaded, official_downloads
from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.go_build import built
from inference_fleet.sandbox.tools.local import in_cache, in_kubebuilder_assets, on_path
from inference_fleet.sandbox.tools.outcome import NotHere, ToolUnavailable
from inference_fleet.sandbox.tools.progress import Progress, silent


def tool_path(name: str, *, kubernetes_version: str = DEFAULT_KUBERNETES_VERSION, progress: Progress = silent) -> Path:
    """The path of a tool that can be run now; fetches or builds it (minutes, the first time) where it is nowhere yet.

    Parameters
    ----------
    name
        One of `tool_names()`.
    kubernetes_version
        "1.37.1", or "1.36.4"; matters for Kubernetes' own tools only.
    progress
        Told what goes on.

    Raises
    ------
    ToolUnavailable
        Every source failed; the message lists each with its reason.
    """
    if name in DEBIAN_TOOLS:
        return _debian_tool_path(DEBIAN_TOOLS[name], progress=progress)
    try:
        tools = catalog(kubernetes_version=kubernetes_version)
    except ValueError as error:
        raise ToolUnavailable(name, attempts=(NotHere("catalog", str(error)),)) from error
    if name not in tools:
        raise ToolUnavailable(
            name, attempts=(NotHere("catalog", f"no such tool; there are {', '.join(tool_names())}"),)
        )
    return provide(tools[name], downloads=official_downloads(), progress=progress)


def tool_names() -> tuple[str, ...]:
    """Every name `tool_path` knows."""
    return (*catalog(), *DEBIAN_TOOLS)


def provide(tool: Tool, *, downloads: Iterable[Download], progress: Progress) -> Path:
    """The tool from the first source that has it; `downloads` are the official downloads that may be used."""
    attempts: list[NotHere] = []
    for found in (look(tool) for look in (in_kubebuilder_assets, on_path, in_cache)):
        if isinstance(found, Path):
            return found
        attempts.append(found)
    folder = family_folder(tool.family.name, version=tool.family.version)
    with file_lock(folder / ".lock", waiting_for=str(tool.family), progress=progress):
        # Another process may have put it there while this one waited.
        found = in_cache(tool)
        if isinstance(found, Path):
            return found
        found = downloaded(tool, downloads=downloads, progress=progress)
        if isinstance(found, Path):
            return found
        attempts.append(found)
        found = built(tool, progress=progress)
        if isinstance(found, Path):
            return found
    raise ToolUnavailable(str(tool), attempts=(*attempts, found))


def _debian_tool_path(tool: DebianTool, *, progress: Progress) -> Path:
    found = debian_on_path(tool)
    if isinstance(found, Path):
        return found
    fetched = unpacked(tool, progress=progress)
    if isinstance(fetched, Path):
        return fetched
    raise ToolUnavailable(tool.name, attempts=(found, fetched))
