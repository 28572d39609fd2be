"""Distribution tools: the PATH first, then a package unpacked into the cache, never installed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools import ToolUnavailable, debian, tool_path

WriteProgram = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "ADMINISTRATORS_FOLDERS", ())


@pytest.fixture
def apt(bin_folder: Path, program: WriteProgram, tmp_path: Path) -> Path:
    """A Debian where nftables needs one library that is there (libc6) and one that is not. Returns the log."""
    log = tmp_path / "apt-log"
    program(
        bin_folder,
        "apt-cache",
        """while [ "$1" = -o ]; do shift 2; done
        case "$1" in
        show) exit 0 ;;
        depends) printf 'nftables\\n  Depends: libc6\\n  Depends: libnft\\nlibc6\\nlibnft\\n<virtual>\\n' ;;
        esac""",
    )
    program(bin_folder, "dpkg-query", "printf 'installed libc6\\nconfig-files libnft\\n'")
    program(
        bin_folder,
        "apt-get",
        f"""echo "$*" >> {log}
        while [ "$1" != download ]; do shift; [ $# -gt 0 ] || exit 0; done; shift
        for package in "$@"; do touch "${{package}}_1_all.deb"; done""",
    )
    program(
        bin_folder,
        "dpkg-deb",
        """mkdir -p "$3/usr/lib/x" "$3/usr/sbin"
        case "$2" in
        */libnft_*) touch "$3/usr/lib/x/libnft.so.1" ;;
        */nftables_*) printf '#!/bin/sh\\necho "$LD_LIBRARY_PATH"\\n' > "$3/usr/sbin/nft"; chmod +x "$3/usr/sbin/nft" ;;
        esac""",
    )
    return log


def test_the_path_comes_first(bin_folder: Path, program: WriteProgram, apt: Path) -> None:
    nft = program(bin_folder, "nft", "exit 0")
    assert tool_path("nft") == nft
    assert not apt.exists()


def test_an_administrators_folder_is_searched_too(
    program: WriteProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ip = program(tmp_path / "sbin", "ip", "exit 0")
    monkeypatch.setattr(debian, "ADMINISTRATORS_FOLDERS", (str(tmp_path / "sbin"),))
    assert tool_path("ip") == ip


def test_the_package_and_only_its_missing_libraries_are_unpacked(apt: Path) -> None:
    nft = tool_path("nft")
    assert apt.read_text(encoding="utf-8").strip().endswith("--quiet download nftables libnft")
    libraries = subprocess.run([nft], check=True, capture_output=True, text=True).stdout.strip()
    assert [path.name for path in Path(libraries).iterdir()] == ["libnft.so.1"]
    assert tool_path("nft") == nft
    assert len(apt.read_text(encoding="utf-8").splitlines()) == 1  # the second time it is in the cache


def test_a_program_that_does_not_start_is_replaced(bin_folder: Path, program: WriteProgram, apt: Path) -> None:
    broken = program(bin_folder, "nft", "echo 'libnft.so.1: cannot open shared object file' >&2; exit 127")
    assert tool_path("nft") != broken


def test_where_apt_does_not_know_the_package_its_lists_are_fetched_into_the_cache(
    bin_folder: Path, program: WriteProgram, apt: Path, tmp_path: Path
) -> None:
    script = (bin_folder / "apt-cache").read_text(encoding="utf-8").replace("show) exit 0", "show) exit 100")
    program(bin_folder, "apt-cache", script)
    tool_path("nft")
    update, download = apt.read_text(encoding="utf-8").splitlines()
    assert update.endswith(" --quiet update")
    assert f"Dir::State={tmp_path / 'cache'}" in update
    assert f"Dir::State={tmp_path / 'cache'}" in download


def test_without_apt_it_says_what_to_install(bin_folder: Path) -> None:
    with pytest.raises(ToolUnavailable) as caught:
        tool_path("nft")
    assert str(caught.value).splitlines() == [
        "nft cannot be found, fetched or built:",
        "  PATH: no nft there, nor in ",
        "  Debian package nftables: no apt-get here: install nftables with this system's package tool",
    ]


@pytest.mark.parametrize(
    ("name", "script", "reason"),
    [
        ("apt-get", "echo 'E: Unable to fetch' >&2; exit 100", "E: Unable to fetch"),
        ("dpkg-deb", "mkdir -p $3", "holds no nft"),
        (
            "dpkg-deb",
            "mkdir -p $3/sbin; printf '#!/bin/sh\\nexit 3\\n' > $3/sbin/nft; chmod +x $3/sbin/nft",
            "exit status 3",
        ),
    ],
)
def test_a_package_that_cannot_be_had_is_told(
    name: str, script: str, reason: str, bin_folder: Path, program: WriteProgram, apt: Path
) -> None:
    program(bin_folder, name, script)
    with pytest.raises(ToolUnavailable, match=reason):
        tool_path("nft")
