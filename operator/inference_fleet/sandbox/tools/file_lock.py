"""A lock between processes, so that two set-ups at once do not build the same thing twice."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference_fleet.sandbox.tools.progress import Progress


@contextmanager
def file_lock(path: Path, *, waiting_for: str, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path` (made if absent); the kernel lets go of it when the process ends, however it ends.

    `waiting_for` is shown while another process holds it, for example "etcd 3.7.3".
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not inherited by children (PEP 446), so a build left behind by a killed parent does not keep the lock.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{waiting_for}: another process is preparing it", None)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
