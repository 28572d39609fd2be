"""A trace: when requests arrive and how long they are. CSV with the header `arrival_s,input_tokens,output_tokens`."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("arrival_s", "input_tokens", "output_tokens")
# More requests than a machine replays in a day; a file that is no trace ends here instead of in memory.
MAX_REQUESTS = 5_000_000
# Longer than any model's context.
MAX_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request: seconds from the start of the trace, prompt tokens, tokens to write."""

    arrival_seconds: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in the order of their arrival."""

    name: str
    requests: tuple[TraceRequest, ...]

    @property
    def span_seconds(self) -> float:
        """Last arrival."""
        return self.requests[-1].arrival_seconds if self.requests else 0.0

    def window(self, *, start_seconds: float, duration_seconds: float) -> Trace:
        """The part that arrives in [start, start + duration), with the start as its zero."""
        end = start_seconds + duration_seconds
        return Trace(
            self.name,
            tuple(
                TraceRequest(r.arrival_seconds - start_seconds, r.input_tokens, r.output_tokens)
                for r in self.requests
                if start_seconds <= r.arrival_seconds < end
            ),
        )

    def faster(self, rate_scale: float) -> Trace:
        """The same requests `rate_scale` times as dense: arrivals divided by it."""
        return Trace(
            self.name,
            tuple(TraceRequest(r.arrival_seconds / rate_scale, r.input_tokens, r.output_tokens) for r in self.requests),
        )


@dataclass(frozen=True, slots=True)
class TraceRefusal:
    """Why a file is no trace: the line (1 = the header; 0 = the file as a whole) and what is wrong with it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


def read_trace(path: Path) -> Trace | TraceRefusal:
    """Read a trace; a name that ends in .gz is unpacked. The first malformed row refuses the file, named by line."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
                return _read(lines, path)
        with path.open(encoding="utf-8", newline="") as lines:
            return _read(lines, path)
    except OSError as error:
        return TraceRefusal(str(path), 0, f"cannot be read: {error.strerror or error}")
    except (UnicodeDecodeError, EOFError, zlib.error) as error:
        return TraceRefusal(str(path), 0, f"is no text: {error}")


def read_part(
    path: Path, *, rate_scale: float, start_seconds: float, duration_seconds: float | None
) -> Trace | TraceRefusal:
    """A file's trace made `rate_scale` times as dense, then from `start_seconds` on; to its end without a duration."""
    trace = read_trace(path)
    if isinstance(trace, TraceRefusal):
        return trace
    end = float("inf") if duration_seconds is None else duration_seconds
    part = trace.faster(rate_scale).window(start_seconds=start_seconds, duration_seconds=end)
    if part.requests:
        return part
    until = "" if duration_seconds is None else f" and before {start_seconds + duration_seconds:g} s"
    return TraceRefusal(str(path), 0, f"has no requests after {start_seconds:g} s{until}")


def write_trace(trace: Trace, path: Path) -> None:
    """Write a trace so that `read_trace` reads the same requests."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((repr(r.arrival_seconds), r.input_tokens, r.output_tokens) for r in trace.requests)


def _read(lines: Iterable[str], path: Path) -> Trace | TraceRefusal:
    reader = csv.reader(lines)
    header = next(reader, None)
    if header is None:
        return TraceRefusal(str(path), 0, "is empty")
    if tuple(name.strip() for name in header) != COLUMNS:
        return TraceRefusal(str(path), 1, f"the header must be {','.join(COLUMNS)}, got {','.join(header)[:80]!r}")
    requests: list[TraceRequest] = []
    try:
        for row in reader:
            if not row:
                continue
            request = _request(row)
            if isinstance(request, str):
                return TraceRefusal(str(path), reader.line_num, request)
            if requests and request.arrival_seconds < requests[-1].arrival_seconds:
                message = (
                    f"arrival_s {request.arrival_seconds} is before the row above ({requests[-1].arrival_seconds}); "
                    "rows must be in the order of arrival"
                )
                return TraceRefusal(str(path), reader.line_num, message)
            requests.append(request)
            if len(requests) > MAX_REQUESTS:
                return TraceRefusal(str(path), reader.line_num, f"more than {MAX_REQUESTS} requests")
    except csv.Error as error:
        return TraceRefusal(str(path), reader.line_num, f"is no CSV: {error}")
    if not requests:
        return TraceRefusal(str(path), 0, "has no requests")
    return Trace(path.name, tuple(requests))


def _request(row: list[str]) -> TraceRequest | str:
    if len(row) != len(COLUMNS):
        return f"{len(row)} columns, expected {len(COLUMNS)} ({','.join(COLUMNS)})"
    try:
        arrival = float(row[0])
    except ValueError:
        return f"arrival_s {row[0]!r} is not a number"
    if not (math.isfinite(arrival) and arrival >= 0):
        return f"arrival_s {row[0]} must be 0 or more, and finite"
    tokens: list[int] = []
    for name, text, least in (("input_tokens", row[1], 1), ("output_tokens", row[2], 0)):
        try:
            count = int(text)
        except ValueError:
            return f"{name} {text!r} is not a whole number"
        if not least <= count <= MAX_TOKENS:
            return f"{name} {count} must be between {least} and {MAX_TOKENS}"
        tokens.append(count)
    return TraceRequest(arrival, tokens[0], tokens[1])
