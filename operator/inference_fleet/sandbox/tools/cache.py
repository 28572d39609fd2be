"""Where prepared tools lie: the user's cache folder, by family, version and platform; nothing is ever half written."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/inference-fleet`; a relative one is ignored, as its specification says."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "inference-fleet"


def platform_name() -> str:
    """Operating system and processor in Go's words, for example "linux-amd64"."""
    machine = platform.machine().lower()
    processor = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}-{processor}"


def family_folder(family: str, *, version: str) -> Path:
    """The folder of one family's binaries, for example `.../tools/kubernetes-1.37.1/linux-amd64`."""
    return cache_folder() / "tools" / f"{family}-{version}" / platform_name()


def cached(folder: Path, *, name: str) -> Path | None:
    """The binary `name` in `folder`, if it is there and executable."""
    path = folder / name
    return path if path.is_file() and os.access(path, os.X_OK) else None


def install(source: Path, *, folder: Path, name: str) -> Path:
    """Put the file `source` (same file system as `folder`) in place in one step, executable."""
    folder.mkdir(parents=True, exist_ok=True)
    source.chmod(0o755)
    target = folder / name
    os.replace(source, target)
    return target


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A fresh folder beside the final place (so that a rename suffices), removed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
