"""Official downloads: fetched only if official_downloads.json pins their checksum, used only if they have it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tarfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from inference_fleet.sandbox.tools.cache import family_folder, install, platform_name, scratch
from inference_fleet.sandbox.tools.catalog import Tool
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import Progress

# Name look-up and connection together; a build machine without a way out must not wait for longer.
CONNECT_TIMEOUT_SECONDS = 2.0
# Between two pieces of a download that has begun.
READ_TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Download:
    """One file that a project publishes.

    Attributes
    ----------
    tool, version, platform
        What it is, for example "prometheus", "3.15.0", "linux-amd64".
    url
        Where it is.
    member
        The binary's path in the tar archive, or None where the file is the binary.
    sha256
        Of the file at `url`, in hex; None where none could be checked, so that the download is not used.
    """

    tool: str
    version: str
    platform: str
    url: str
    member: str | None
    sha256: str | None


@cache
def official_downloads() -> tuple[Download, ...]:
    """The table in official_downloads.json."""
    text = (Path(__file__).parent / "official_downloads.json").read_text(encoding="utf-8")
    fields = ("tool", "version", "platform", "url", "member", "sha256")
    return tuple(Download(**{field: entry[field] for field in fields}) for entry in json.loads(text)["downloads"])


def downloaded(tool: Tool, *, downloads: Iterable[Download], progress: Progress) -> Path | NotHere:
    """The tool from its project's download, if `downloads` pins one and the server can be reached; now in the cache."""
    wanted = (tool.name, tool.family.version, platform_name())
    entry = next((one for one in downloads if (one.tool, one.version, one.platform) == wanted), None)
    if entry is None:
        return NotHere("official download", f"none known for {tool} on {platform_name()}")
    if entry.sha256 is None:
        return NotHere(entry.url, "no pinned checksum, so it is not fetched")
    problem = _connection_problem(entry.url)
    if problem is not None:
        return NotHere(entry.url, problem)
    folder = family_folder(tool.family.name, version=tool.family.version)
    with scratch(folder) as work:
        archive = work / "download"
        try:
            digest = _fetch(entry.url, target=archive, label=str(tool), progress=progress)
        except (OSError, urllib.error.URLError) as error:
            return NotHere(entry.url, f"broke off: {error}")
        if digest != entry.sha256:
            return NotHere(entry.url, f"refused: its SHA-256 is {digest}, pinned is {entry.sha256}")
        try:
            binary = archive if entry.member is None else _extract(archive, member=entry.member, target=work / "binary")
        except (tarfile.TarError, KeyError, OSError) as error:
            return NotHere(entry.url, f"has no {entry.member}: {error}")
        return install(binary, folder=folder, name=tool.name)


def _connection_problem(url: str) -> str | None:
    """Why the server (or the proxy that the environment names) cannot be reached, or None if it can."""
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    default_port = 80 if parts.scheme == "http" else 443
    return _unreachable(parts.hostname or "", parts.port or default_port)


@cache
def _unreachable(host: str, port: int) -> str | None:
    """Asked once per server and process, so that ten tools do not wait ten times."""
    outcome: list[str | None] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_SECONDS).close()
        except OSError as error:
            outcome.append(f"cannot connect to {host}:{port}: {error}")
        else:
            outcome.append(None)

    # The look-up of a name has no time-out of its own, hence the thread.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_SECONDS)
    return outcome[0] if outcome else f"cannot connect to {host}:{port} within {CONNECT_TIMEOUT_SECONDS:g} s"


def _fetch(url: str, *, target: Path, label: str, progress: Progress) -> str:
    """Write what is at `url` to `target`; returns its SHA-256 in hex."""
    digest = hashlib.sha256()
    done = 0
    # An opener of its own: urlopen's shared one keeps the proxies that the environment named when it was first used.
    opener = urllib.request.build_opener()
    with opener.open(url, timeout=READ_TIMEOUT_SECONDS) as answer, target.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(
                f"{label}: downloading from {urllib.parse.urlsplit(url).hostname}", done / total if total else None
            )
        os.fsync(file.fileno())
    return digest.hexdigest()


def _extract(archive: Path, *, member: str, target: Path) -> Path:
    with tarfile.open(archive) as files:
        source = files.extractfile(member)
        if source is None:
            raise KeyError(member)
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target
