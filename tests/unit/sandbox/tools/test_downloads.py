"""Official downloads are used only if pinned, reachable and exactly what was pinned."""

from __future__ import annotations

import hashlib
import io
import re
import socket
import tarfile
import threading
import time
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools import downloads
from inference_fleet.sandbox.tools.cache import family_folder, platform_name
from inference_fleet.sandbox.tools.catalog import catalog
from inference_fleet.sandbox.tools.downloads import Download, downloaded, official_downloads
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import silent

PROMETHEUS = catalog()["prometheus"]
Web = tuple[str, dict[str, bytes]]


def pinned(url: str, *, content: bytes, member: str | None = None) -> Download:
    return Download(
        "prometheus", PROMETHEUS.family.version, platform_name(), url, member, hashlib.sha256(content).hexdigest()
    )


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as files:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"prometheus/{name}")
            entry.size = len(content)
            files.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def leftovers() -> list[str]:
    folder = family_folder("prometheus", version=PROMETHEUS.family.version)
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_pinned_file_lands_in_the_cache_executable(web: Web) -> None:
    web[1]["/p"] = b"#!/bin/sh\n"
    told: list[tuple[str, float | None]] = []
    path = downloaded(
        PROMETHEUS, downloads=[pinned(f"{web[0]}/p", content=web[1]["/p"])], progress=lambda *one: told.append(one)
    )
    assert isinstance(path, Path)
    assert path.stat().st_mode & 0o111
    assert leftovers() == ["prometheus"]
    assert told == [("prometheus 3.15.0: downloading from 127.0.0.1", 1.0)]


def test_the_member_of_an_archive_is_taken(web: Web) -> None:
    web[1]["/p.tar.gz"] = archive(prometheus=b"the program", LICENSE=b"text")
    entry = pinned(f"{web[0]}/p.tar.gz", content=web[1]["/p.tar.gz"], member="prometheus/prometheus")
    path = downloaded(PROMETHEUS, downloads=[entry], progress=silent)
    assert isinstance(path, Path)
    assert path.read_bytes() == b"the program"


def test_another_checksum_is_refused_and_nothing_stays(web: Web) -> None:
    web[1]["/p"] = b"tampered"
    found = downloaded(PROMETHEUS, downloads=[pinned(f"{web[0]}/p", content=b"genuine")], progress=silent)
    assert isinstance(found, NotHere)
    assert re.fullmatch(r"refused: its SHA-256 is [0-9a-f]{64}, pinned is [0-9a-f]{64}", found.reason)
    assert leftovers() == []


def test_an_archive_without_the_member_is_refused(web: Web) -> None:
    web[1]["/p.tar.gz"] = archive(LICENSE=b"text")
    entry = pinned(f"{web[0]}/p.tar.gz", content=web[1]["/p.tar.gz"], member="prometheus/prometheus")
    found = downloaded(PROMETHEUS, downloads=[entry], progress=silent)
    assert isinstance(found, NotHere)
    assert found.reason.startswith("has no prometheus/prometheus")
    assert leftovers() == []


def test_what_is_no_archive_is_refused(web: Web) -> None:
    web[1]["/p.tar.gz"] = b"not a tar file"
    entry = pinned(f"{web[0]}/p.tar.gz", content=web[1]["/p.tar.gz"], member="prometheus/prometheus")
    assert isinstance(downloaded(PROMETHEUS, downloads=[entry], progress=silent), NotHere)
    assert leftovers() == []


def test_a_missing_file_falls_through(web: Web) -> None:
    found = downloaded(PROMETHEUS, downloads=[pinned(f"{web[0]}/gone", content=b"")], progress=silent)
    assert isinstance(found, NotHere)
    assert found.reason == "broke off: HTTP Error 404: Not Found"


def test_without_a_pin_the_server_is_not_even_asked() -> None:
    unpinned = Download("prometheus", PROMETHEUS.family.version, platform_name(), "http://127.0.0.1:1/p", None, None)
    found = downloaded(PROMETHEUS, downloads=[unpinned], progress=silent)
    assert found == NotHere("http://127.0.0.1:1/p", "no pinned checksum, so it is not fetched")


@pytest.mark.parametrize(
    ("version", "platform"), [("3.14.0", platform_name()), (PROMETHEUS.family.version, "plan9-mips")]
)
def test_a_pin_for_another_version_or_platform_is_not_used(version: str, platform: str, web: Web) -> None:
    web[1]["/p"] = b"x"
    other = Download("prometheus", version, platform, f"{web[0]}/p", None, hashlib.sha256(b"x").hexdigest())
    assert isinstance(downloaded(PROMETHEUS, downloads=[other], progress=silent), NotHere)


def test_a_closed_port_falls_through_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/p"
        found = downloaded(PROMETHEUS, downloads=[pinned(url, content=b"")], progress=silent)
    assert isinstance(found, NotHere)
    assert "Connection refused" in found.reason


def test_a_server_or_name_service_that_never_answers_costs_the_time_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CONNECT_TIMEOUT_SECONDS", 0.05)
    never = threading.Event()
    asked: list[object] = []

    def hang(address: object, timeout: float) -> socket.socket:
        asked.append(address)
        never.wait()
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    entry = pinned("https://download.invalid/p", content=b"")
    began = time.monotonic()
    try:
        found = [downloaded(PROMETHEUS, downloads=[entry], progress=silent) for _ in range(10)]
    finally:
        never.set()
    assert time.monotonic() - began < 2  # asking each time without a bound would not end
    assert found[0] == found[9] == NotHere(entry.url, "cannot connect to download.invalid:443 within 0.05 s")
    assert asked == [("download.invalid", 443)]


def test_a_proxy_of_the_environment_is_what_must_be_reachable(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", web[0])
    web[1]["http://download.invalid/p"] = b"by proxy"  # a proxy is asked for whole addresses
    entry = pinned("http://download.invalid/p", content=b"by proxy")
    path = downloaded(PROMETHEUS, downloads=[entry], progress=silent)
    assert isinstance(path, Path)
    assert path.read_bytes() == b"by proxy"


def test_the_table_pins_the_versions_of_the_catalogue() -> None:
    tools = catalog()
    for entry in official_downloads():
        assert entry.version == tools[entry.tool].family.version, entry
        assert entry.url.startswith("https://"), entry
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", entry.sha256), entry
    assert {entry.tool for entry in official_downloads() if entry.sha256} >= {
        "kubectl",
        "prometheus",
        "promtool",
        "kwok",
    }
