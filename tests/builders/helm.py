"""Helm 3 and 4 against a cluster: one release at a time, with a home of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from inference_fleet.sandbox.tools import silent, tool_path
from inference_fleet.sandbox.tools.catalog import catalog
from inference_fleet.sandbox.tools.local import in_cache, on_path

CHART = Path(__file__).resolve().parents[2] / "charts/inference-fleet"
SYSTEM = "inference-fleet-system"


def prepared(name: str) -> bool:
    """Whether a tool is there without building it."""
    tool = catalog()[name]
    return any(isinstance(found, Path) for found in (on_path(tool), in_cache(tool)))


class Helm:
    """One Helm (`helm` is 4, `helm3` is 3) for one cluster."""

    def __init__(self, name: str, *, kubeconfig: Path, home: Path) -> None:
        self.name = name
        self._binary = tool_path(name, progress=silent)
        self._kubeconfig, self._home = kubeconfig, home

    def try_run(
        self, *words: str, namespace: str = SYSTEM, timeout_seconds: float = 180.0
    ) -> subprocess.CompletedProcess[str]:
        """Run it; the caller looks at the status."""
        return subprocess.run(
            [str(self._binary), *words, "--namespace", namespace, "--kubeconfig", str(self._kubeconfig)],
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            env={"HOME": str(self._home), "PATH": "/usr/bin:/bin"},
        )

    def run(self, *words: str, namespace: str = SYSTEM) -> str:
        """Run it and return what it printed; it must succeed."""
        done = self.try_run(*words, namespace=namespace)
        assert done.returncode == 0, done.stderr
        return done.stdout


def settings(values: Mapping[str, str]) -> list[str]:
    """`--set` words."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
