"""One sandbox for all tests of this folder, in a state folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.operator_sandbox import OperatorSandbox, operator_sandbox
from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.state import Settings

KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
)


@pytest.fixture(scope="session", autouse=True)
def _own_state_home() -> Iterator[None]:
    # Not pytest's folder: sockets lie below, and its path is too long for them.
    folder = tempfile.mkdtemp(prefix="fleet-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def kernel_settings_before() -> dict[str, str]:
    """What a kubelet would change on its machine if it could, as it was before any sandbox of these tests."""
    return {name: (Path("/proc/sys") / name).read_text() for name in KERNEL_SETTINGS}


@pytest.fixture(scope="session")
def sandbox(_own_state_home: None, kernel_settings_before: dict[str, str]) -> Iterator[Sandbox]:
    """A sandbox with two nodes of two GPUs, an audit log, and a scrape each second."""
    settings = Settings(name=f"test-{os.getpid()}", nodes=2, gpus_per_node=2, scrape_interval_seconds=1.0, audit=True)
    with Sandbox.start(settings) as running:
        yield running


@pytest.fixture(scope="session")
def operator_world(_own_state_home: None, kernel_settings_before: dict[str, str]) -> Iterator[OperatorSandbox]:
    """A sandbox with the operator as the manifests install it; the last to use it look at its audit log."""
    with operator_sandbox("operator-tests") as found:
        yield found
