"""A command run inside a container that runs: for probes and hooks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid", "--user", "--preserve-credentials")


@dataclass(frozen=True)
class CommandResult:
    """What the command wrote and its exit status."""

    output: bytes
    errors: bytes
    exit_status: int


class CommandTimeout(Exception):
    """The command took too long and was killed."""


def run_in_container(
    pid: int, command: Sequence[str], *, environment: Mapping[str, str], timeout_seconds: float | None
) -> CommandResult:
    """Run the command in the namespaces of the process. Raises CommandTimeout."""
    # By its path: the container's environment has a PATH of its own.
    enter = (shutil.which("nsenter") or "nsenter", "--target", str(pid), *_NAMESPACES, "--")
    process = subprocess.Popen(
        (*enter, *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired as error:
        # nsenter's child holds the pipes open: it is in the same process group.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise CommandTimeout(f"the command took longer than {timeout_seconds} s") from error
    return CommandResult(output, errors, process.returncode)
