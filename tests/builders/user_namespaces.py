"""Python scripts run as root of a new user namespace, with network, mounts and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(__file__).resolve().parents[2] / "operator"
NAMESPACES = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc")

needs_namespaces = pytest.mark.skipif(
    subprocess.run((*NAMESPACES, "true"), capture_output=True, check=False).returncode != 0,
    reason="user namespaces are forbidden on this machine",
)


def run_script(script: str, *arguments: str, entry: str = "") -> subprocess.CompletedProcess[str]:
    """Run a script that can import inference_fleet; `entry` is its standard input."""
    return subprocess.run(
        (*NAMESPACES, sys.executable, "-c", script, *arguments),
        input=entry,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(PACKAGES)},
        timeout=30,
    )


def printed(script: str, *arguments: str) -> str:
    """What a script prints that has to succeed."""
    done = run_script(script, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
