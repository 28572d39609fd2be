"""What a process and its descendants use of processor and memory, read from /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/PID/stat after the command's name (proc_pid_stat(5), counted from `state`).
_USER_TICKS, _SYSTEM_TICKS, _RESIDENT_PAGES = 11, 12, 21


@dataclass(frozen=True)
class ProcessUsage:
    """Processor time since the start and memory held now."""

    processor_nanoseconds: int
    memory_bytes: int
    taken_nanoseconds: int = field(default_factory=time.time_ns)

    def __add__(self, other: ProcessUsage) -> ProcessUsage:
        return ProcessUsage(
            self.processor_nanoseconds + other.processor_nanoseconds, self.memory_bytes + other.memory_bytes
        )


def process_usage(pid: int) -> ProcessUsage | None:
    """Of the process and those below it; None if it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return None
    ticks = int(words[_USER_TICKS]) + int(words[_SYSTEM_TICKS])
    usage = ProcessUsage(ticks * 1_000_000_000 // _TICKS_PER_SECOND, int(words[_RESIDENT_PAGES]) * _PAGE_BYTES)
    for child in children:
        below = process_usage(int(child))
        if below:
            usage += below
    return usage
