"""Builds tools from source through wrapper modules: a go.mod and go.sum of ours, all else from the Go module proxy.

go.sum holds every byte of source; `-mod=readonly` makes the build fail rather than change it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from inference_fleet.sandbox.tools.cache import family_folder, install, scratch
from inference_fleet.sandbox.tools.catalog import Family, Tool
from inference_fleet.sandbox.tools.go_toolchain import go_toolchain, required_go
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import Progress

# Ten minutes of compiling must leave the machine usable.
NICENESS = 5
# Packages are not equally large and linking comes last, so the bar stops short of the end.
COMPILED_SHARE = 0.9
# What a person needs of a failed build's output.
ERROR_LINES = 5


def built(tool: Tool, *, progress: Progress) -> Path | NotHere:
    """The tool compiled into the cache from its family's wrapper module."""
    source = f"Go build of {tool.package}"
    go = go_toolchain(minimum=required_go(tool.family.wrapper), progress=progress)
    if isinstance(go, NotHere):
        return go
    folder = family_folder(tool.family.name, version=tool.family.version)
    with scratch(folder) as work:
        output = work / tool.name
        # go must not write beside the installed package, which may be read-only.
        module = work / "module"
        module.mkdir()
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(tool.family.wrapper / name, module / name)
        try:
            problem = _compile(tool, go=go, module=module, output=output, progress=progress)
        except OSError as error:
            return NotHere(source, str(error))
        if problem is not None:
            return NotHere(source, problem)
        return install(output, folder=folder, name=tool.name)


def _compile(tool: Tool, *, go: Path, module: Path, output: Path, progress: Progress) -> str | None:
    """Run `go build`; returns what went wrong, or None."""
    environment = _environment(os.environ)
    tags = ("-tags", ",".join(tool.family.tags))
    said: list[str] = []
    progress(f"{tool}: resolving what it is built from", None)
    # What would be compiled, one import path per line; where a module is not here yet, it is fetched now.
    listing = (str(go), "list", "-deps", *tags, "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", tool.package)
    with (output.parent / "stale").open("w+", encoding="utf-8") as stale:
        with _running(listing, folder=module, environment=environment, stdout=stale.fileno()) as (process, lines):
            for line in lines:
                said.append(line)
                if line.startswith("go: downloading"):
                    progress(f"{tool}: fetching {' '.join(line.split()[2:])}", None)
        stale.seek(0)
        total = max(1, len(stale.read().split()))
    if process.returncode:
        return _last_lines(said)
    flags = (*tags, "-ldflags", _linker_flags(tool.family), "-o", str(output))
    build = (*_nice(), str(go), "build", "-v", *flags, tool.package)
    compiled = 0
    with _running(build, folder=module, environment=environment, stdout=subprocess.DEVNULL) as (process, lines):
        for line in lines:
            said.append(line)
            # -v prints one import path per package as its compilation begins.
            compiled += " " not in line.strip()
            doing = f"compiling {line.strip()}" if compiled < total else "linking"
            progress(f"{tool}: {doing}", min(1.0, compiled / total) * COMPILED_SHARE)
    return _last_lines(said) if process.returncode else None


def _environment(inherited: os._Environ[str]) -> dict[str, str]:
    # GOFLAGS of the user could allow changes to go.sum or choose a vendor folder; GOWORK would join unrelated modules.
    # GOTOOLCHAIN=local: the chosen Go is new enough, another one would be fetched unasked.
    return {
        **inherited,
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


def _linker_flags(family: Family) -> str:
    # -s -w: without symbol and debug tables, a third smaller.
    return " ".join(("-s", "-w", *(f"-X {variable}={value}" for variable, value in family.stamps)))


def _nice() -> tuple[str, ...]:
    nice = shutil.which("nice")
    return (nice, "-n", str(NICENESS)) if nice else ()


@contextmanager
def _running(
    command: Sequence[str], *, folder: Path, environment: dict[str, str], stdout: int
) -> Iterator[tuple[subprocess.Popen[str], Iterator[str]]]:
    """The command and the lines of its standard error; it does not outlive the block, left by Ctrl-C or not."""
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    with process.stderr as lines:
        try:
            yield process, iter(lines)
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _last_lines(lines: Sequence[str]) -> str:
    meant = [line.strip() for line in lines if " " in line.strip() and not line.startswith("go: downloading")]
    return "; ".join(meant[-ERROR_LINES:]) or "failed without a message"
