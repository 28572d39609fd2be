"""The namespaces a sandbox lives in: users, network, mounts and process ids of its own, made without any right.

The first process inside is process 1 of its namespace: when it ends, the kernel ends every other one, so nothing can
be left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# user, root's place in it, network, mount, pid; fork, so that the command is process 1 of its own /proc.
_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc")
_KILL_CHILD = "--kill-child"  # process 1 dies with the unshare process (util-linux 2.32, 2018)
_TRIAL_SECONDS = 10.0
_PROC = Path("/proc")


class NamespacesForbidden(Exception):
    """This machine does not let this user make the namespaces; the second line says how to allow it."""

    def __init__(self, reason: str, *, advice: str) -> None:
        super().__init__(f"cannot make the sandbox's namespaces: {reason}\n{advice}")


@dataclass(frozen=True)
class KernelSettings:
    """The settings that commonly forbid user namespaces; None where this kernel has no such setting."""

    max_user_namespaces: int | None
    unprivileged_userns_clone: int | None
    apparmor_restrict_unprivileged_userns: int | None


def unshare_command(command: Sequence[str]) -> tuple[str, ...]:
    """What starts `command` as the first process of new namespaces."""
    return (*_UNSHARE, _KILL_CHILD, *command)


def enter_command(init_pid: int, command: Sequence[str], *, folder: str) -> tuple[str, ...]:
    """What runs `command` in `folder`, inside the namespaces of the process `init_pid`.

    The command's own children are in the sandbox's process namespace too, so they end with it.
    """
    spaces = ("--user", "--net", "--mount", "--pid", "--preserve-credentials")
    return ("nsenter", "--target", str(init_pid), *spaces, "--", "env", f"--chdir={folder}", *command)


def check_namespaces() -> None:
    """Try it once. Raises NamespacesForbidden with the reason and what to do."""
    if shutil.which("unshare") is None:
        raise NamespacesForbidden("the program 'unshare' is missing", advice="It comes with util-linux 2.32 or newer.")
    tried = subprocess.run(
        unshare_command(("true",)), capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
    )
    if tried.returncode != 0:
        reason = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"exit status {tried.returncode}"
        raise NamespacesForbidden(reason, advice=advice(read_kernel_settings()))


def advice(settings: KernelSettings) -> str:
    """What to change on this machine; the settings that stand in the way come first."""
    if settings.max_user_namespaces == 0:
        return "As root: sysctl -w user.max_user_namespaces=15000"
    if settings.unprivileged_userns_clone == 0:
        return "As root: sysctl -w kernel.unprivileged_userns_clone=1"
    if settings.apparmor_restrict_unprivileged_userns == 1:
        return (
            "AppArmor forbids it here (Ubuntu 23.10 and newer). As root: "
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return (
        "In a container, start it with a seccomp profile that allows unshare and mount and with /proc unmasked: "
        "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--security-opt systempaths=unconfined ..."
    )


def read_kernel_settings() -> KernelSettings:
    """This machine's settings."""
    return KernelSettings(
        max_user_namespaces=_setting("user/max_user_namespaces"),
        unprivileged_userns_clone=_setting("kernel/unprivileged_userns_clone"),
        apparmor_restrict_unprivileged_userns=_setting("kernel/apparmor_restrict_unprivileged_userns"),
    )


def _setting(name: str) -> int | None:
    try:
        return int((_PROC / "sys" / name).read_text())
    except (OSError, ValueError):
        return None


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since boot: with its id this names it for ever. None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a command's name may hold blanks and brackets
    state, ticks = fields[0], fields[19]
    return None if state == "Z" else int(ticks)


def first_inside(unshare_pid: int) -> int | None:
    """The process that an `unshare_command` started inside, by its id out here."""
    for pid in _process_ids():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == unshare_pid:
            return pid
    return None


def ids_outside(init_pid: int) -> dict[int, int]:
    """For each process of the namespace of `init_pid`: its id in there -> its id out here.

    Processes of namespaces below (pods) are not in it.
    """
    try:
        namespace = os.readlink(_PROC / str(init_pid) / "ns" / "pid")
    except OSError:
        return {}
    found = {}
    for pid in _process_ids():
        try:
            if os.readlink(_PROC / str(pid) / "ns" / "pid") == namespace:
                found[_innermost_id((_PROC / str(pid) / "status").read_text())] = pid
        except OSError:
            continue
    return found


def _innermost_id(status: str) -> int:
    """`NSpid: 812 14` means 812 out here, 14 in there."""
    line = next(line for line in status.splitlines() if line.startswith("NSpid:"))
    return int(line.split()[-1])


def _process_ids() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]
