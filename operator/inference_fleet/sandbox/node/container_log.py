"""A container's log file in the format the kubelet reads: `TIME STREAM F|P TEXT`, a line each."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

# As containerd splits: a longer line continues on the next, and all parts but the last are marked P.
_LINE_BYTES = 16 * 1024


class ContainerLog:
    """Takes the output of a container's streams as it comes and writes it line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._rest = {"stdout": b"", "stderr": b""}
        self._file = path.open("ab", buffering=0)

    def add(self, stream: str, *, output: bytes) -> None:
        """Write the lines that `output` completes and keep the rest."""
        *lines, rest = (self._rest[stream] + output).split(b"\n")
        for line in lines:
            self._write(stream, line=line, last="F")
        while len(rest) >= _LINE_BYTES:
            self._write(stream, line=rest[:_LINE_BYTES], last="P")
            rest = rest[_LINE_BYTES:]
        self._rest[stream] = rest

    def reopen(self) -> None:
        """Go on in a new file of the same name: the kubelet has moved the old one away."""
        with self._lock:
            if not self._file.closed:
                self._file.close()
                self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Write what no newline ended, and close."""
        for stream, rest in self._rest.items():
            if rest:
                self._write(stream, line=rest, last="P")
        with self._lock:
            self._file.close()

    def _write(self, stream: str, *, line: bytes, last: str) -> None:
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        parts = [line[start : start + _LINE_BYTES] for start in range(0, len(line), _LINE_BYTES)] or [b""]
        marks = ["P"] * (len(parts) - 1) + [last]
        text = b"".join(
            f"{time} {stream} {mark} ".encode() + part + b"\n" for mark, part in zip(marks, parts, strict=True)
        )
        with self._lock:
            if not self._file.closed:
                self._file.write(text)


def open_log(folder: str, *, name: str) -> ContainerLog:
    """The log of a container whose pod logs into `folder`; a container without log name logs nowhere."""
    path = Path(folder, name) if folder and name else Path(os.devnull)
    path.parent.mkdir(parents=True, exist_ok=True)
    return ContainerLog(path)
