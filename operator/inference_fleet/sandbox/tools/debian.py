"""Tools that only a distribution has (nft, ip): from the PATH, else a Debian package unpacked into the cache.

Nothing is installed system-wide and nothing needs root: `apt-get download` fetches the packages and `dpkg-deb -x`
unpacks them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox.tools.cache import cached, family_folder, install, scratch
from inference_fleet.sandbox.tools.file_lock import file_lock
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import Progress

# Administrators' folders that are often missing from an ordinary user's PATH.
ADMINISTRATORS_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
VERSION_TIMEOUT_SECONDS = 10
# Fetching package lists over a slow line; afterwards the search gives up and says so.
APT_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class DebianTool:
    """A command, the Debian package that has it, and arguments with which it says its version and does nothing else."""

    name: str
    package: str
    version_arguments: tuple[str, ...]


DEBIAN_TOOLS = {
    tool.name: tool for tool in (DebianTool("nft", "nftables", ("--version",)), DebianTool("ip", "iproute2", ("-V",)))
}


def on_path(tool: DebianTool) -> Path | NotHere:
    """The tool on the PATH or in an administrators' folder, if it starts."""
    search_path = os.pathsep.join((os.environ.get("PATH", os.defpath), *ADMINISTRATORS_FOLDERS))
    found = shutil.which(tool.name, path=search_path)
    if found is None:
        return NotHere("PATH", f"no {tool.name} there, nor in {', '.join(ADMINISTRATORS_FOLDERS)}")
    problem = _start_problem(Path(found), tool=tool)
    return NotHere(found, problem) if problem else Path(found)


def unpacked(tool: DebianTool, *, progress: Progress) -> Path | NotHere:
    """The tool from its Debian package in the cache, fetched and unpacked now if it is not there yet.

    The result is a small script that sets LD_LIBRARY_PATH to the unpacked libraries and then becomes the tool.
    """
    source = f"Debian package {tool.package}"
    for needed in ("apt-get", "apt-cache", "dpkg-deb", "dpkg-query"):
        if shutil.which(needed) is None:
            return NotHere(source, f"no {needed} here: install {tool.package} with this system's package tool")
    # The libraries rely on the host's libc, so the release belongs into the key.
    folder = family_folder(tool.package, version=_distribution())
    with file_lock(folder / ".lock", waiting_for=tool.package, progress=progress):
        script = cached(folder, name=tool.name)
        if script is not None and _start_problem(script, tool=tool) is None:
            return script
        try:
            return _unpack(tool, folder=folder, progress=progress)
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or "").strip().splitlines() or [f"exit status {error.returncode}"]
            return NotHere(source, f"{shlex.join(error.cmd[:2])}: {lines[-1]}")
        except (subprocess.TimeoutExpired, OSError) as error:
            return NotHere(source, str(error))


def _unpack(tool: DebianTool, *, folder: Path, progress: Progress) -> Path | NotHere:
    source = f"Debian package {tool.package}"
    with scratch(folder) as work:
        options = _apt_options(tool.package, folder=folder, progress=progress)
        packages = _missing_packages(tool.package, options=options)
        progress(f"{tool.name}: fetching {', '.join(packages)}", None)
        _output("apt-get", *options, "--quiet", "download", *packages, folder=work)
        root = work / "root"
        for archive in sorted(work.glob("*.deb")):
            _output("dpkg-deb", "-x", str(archive), str(root), folder=work)
            archive.unlink()
        binary = next((path for path in sorted(root.glob(f"**/*bin/{tool.name}")) if path.is_file()), None)
        if binary is None:
            return NotHere(source, f"holds no {tool.name}")
        final_root = folder / f"{tool.package}-root"
        script = work / tool.name
        script.write_text(_script(binary, root=root, final_root=final_root), encoding="utf-8")
        shutil.rmtree(final_root, ignore_errors=True)
        os.replace(root, final_root)
        path = install(script, folder=folder, name=tool.name)
    problem = _start_problem(path, tool=tool)
    return NotHere(source, problem) if problem else path


def _script(binary: Path, *, root: Path, final_root: Path) -> str:
    folders = sorted({path.parent for path in root.glob("**/*.so*")})
    libraries = ":".join(shlex.quote(str(final_root / folder.relative_to(root))) for folder in folders)
    program = shlex.quote(str(final_root / binary.relative_to(root)))
    return f'#!/bin/sh\nLD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec {program} "$@"\n'


def _missing_packages(package: str, *, options: tuple[str, ...]) -> tuple[str, ...]:
    """The package and those of its dependencies, direct or not, that this machine has not installed."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    without = tuple(f"--no-{kind}" for kind in kinds)
    tree = _output("apt-cache", *options, "depends", "--recurse", *without, package)
    # Package names start at the margin; virtual ones stand in angle brackets and have nothing to fetch.
    wanted = [line for line in tree.splitlines() if line[:1].isalnum()]
    listing = _output("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n")
    installed = {
        name for status, _, name in (line.partition(" ") for line in listing.splitlines()) if status == "installed"
    }
    return (package, *sorted({name for name in wanted if name != package and name.partition(":")[0] not in installed}))


def _apt_options(package: str, *, folder: Path, progress: Progress) -> tuple[str, ...]:
    """Options for apt: the system's package lists where they know the package, else lists of our own, fetched now."""
    # Without it apt warns, as root, that its unprivileged user cannot write into our folder.
    common = ("-o", f"APT::Sandbox::User={_user_name()}")
    if _knows(package, options=common):
        return common
    state, apt_cache = folder / "apt" / "state", folder / "apt" / "cache"
    for needed in (state / "lists" / "partial", apt_cache / "archives" / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    own = (
        *common,
        *("-o", f"Dir::State={state}", "-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={apt_cache}"),
        *("-o", "Dir::State::status=/var/lib/dpkg/status", "-o", "Debug::NoLocking=1"),
    )
    if not _knows(package, options=own):
        progress(f"{package}: fetching the distribution's package lists", None)
        _output("apt-get", *own, "--quiet", "update")
    return own


def _knows(package: str, *, options: tuple[str, ...]) -> bool:
    command = ("apt-cache", *options, "show", package)
    return subprocess.run(command, capture_output=True, check=False, timeout=APT_TIMEOUT_SECONDS).returncode == 0


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user id without an entry, as in many containers
        return "root"


def _distribution() -> str:
    """Identifier and release of this distribution, for example "debian-12"."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    fields = {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
    return f"{fields.get('ID', 'unknown')}-{fields.get('VERSION_ID', fields.get('VERSION_CODENAME', 'rolling'))}"


def _start_problem(path: Path, *, tool: DebianTool) -> str | None:
    """Why the program does not start, or None if it does."""
    try:
        subprocess.run(
            (str(path), *tool.version_arguments),
            capture_output=True,
            check=True,
            text=True,
            timeout=VERSION_TIMEOUT_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:] or [""]
        return f"does not start (exit status {error.returncode}): {last[0]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start: {error}"
    return None


def _output(*command: str, folder: Path | None = None) -> str:
    # C.UTF-8, or messages and field names come in the user's language.
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, check=True, text=True, timeout=APT_TIMEOUT_SECONDS
    ).stdout
