"""Traces from files: the common CSV and the public formats; scaling by superposition; windows.

Common CSV: `arrival_s,input_tokens,output_tokens`, times ascending. Azure 2023 and 2024: `TIMESTAMP,ContextTokens,
GeneratedTokens`. BurstGPT: `Timestamp,Model,Request tokens,Response tokens,...`, seconds. Mooncake: JSON lines with
`timestamp` in milliseconds, `input_length`, `output_length`. A name that ends in .gz is unpacked. A request without
prompt or output tokens is counted as one token of each, as an engine would at least compute.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from inference_fleet.simulation.request_log import Arrival, Arrivals
from inference_fleet.simulation.scenario import Workload

# Longer than any model's context.
MAXIMUM_TOKENS: Final = 10_000_000
MAXIMUM_REQUESTS: Final = 20_000_000
COMMON_HEADER: Final = "arrival_s,input_tokens,output_tokens\n"
# Copies of a trace are shifted against each other by at most this: bursts longer than a minute stay bursts.
SHIFT_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class TraceRefusal:
    """Why a file is no trace: the line (0 = the file as a whole) and what is wrong with it."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}" if self.line else f"{self.path}: {self.message}"


class _BadRow(Exception):
    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


_Row = TypeVar("_Row")
_Reader = Callable[[Mapping[str, str]], tuple[float, int, int]]


def read_workload(path: Path) -> Workload | TraceRefusal:
    """A trace file as a workload, its first arrival at its own time from the start; or what is wrong, with the line."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        return TraceRefusal(str(path), 0, f"cannot be read: {error}")
    if not text.strip():
        return TraceRefusal(str(path), 0, "is empty")
    name = path.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".jsonl")
    quick = _common_table(text)
    if quick is not None:
        return Workload(name, hashlib.sha256(data).hexdigest(), quick)
    line = 1
    arrivals: list[Arrival] = []
    rows = _json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text)
    try:
        for number, seconds, prompt, output in rows:
            line = number
            arrivals.append(_checked(seconds, prompt, output, before=arrivals[-1] if arrivals else None))
            if len(arrivals) > MAXIMUM_REQUESTS:
                raise _BadRow(f"more than {MAXIMUM_REQUESTS} requests")
    except _BadRow as error:
        return TraceRefusal(str(path), line if error.line is None else error.line, str(error))
    except csv.Error as error:
        return TraceRefusal(str(path), line + 1, str(error))
    if not arrivals:
        return TraceRefusal(str(path), 0, "holds no request")
    return Workload(name, hashlib.sha256(data).hexdigest(), Arrivals.of(arrivals))


def _common_table(text: str) -> Arrivals | None:
    """The common form read as a table, for speed; None if anything is odd, so that rows are looked at one by one."""
    if not text.startswith(COMMON_HEADER) or len(text) == len(COMMON_HEADER):
        return None
    try:
        table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2, comments=None)
    except ValueError:
        return None
    if not len(table) or table.shape[1] != 3 or len(table) > MAXIMUM_REQUESTS:
        return None
    seconds, tokens = table[:, 0], table[:, 1:]
    fine = np.isfinite(table).all() and seconds[0] >= 0 and (np.diff(seconds) >= 0).all()
    whole = fine and (tokens >= 0).all() and (tokens <= MAXIMUM_TOKENS).all() and (tokens == np.floor(tokens)).all()
    return Arrivals.sorted(seconds, tokens[:, 0], tokens[:, 1]) if whole else None


def scaled(workload: Workload, factor: float, *, seed: int) -> Workload:
    """`factor` times the load by superposition: shifted copies (wrapping at the end), the last one thinned.

    Keeps bursts longer than a minute and the daily shape, which a faster clock would not.
    """
    if factor == 1.0:
        return workload
    chance = np.random.default_rng(zlib.crc32(f"{seed} superposition {workload.name}".encode()))
    span = workload.span_seconds
    copies: list[Arrivals] = []
    for copy in range(math.ceil(factor)):
        share = min(1.0, factor - copy)
        shift = (2 * chance.random() - 1) * SHIFT_SECONDS if copy else 0.0
        kept = workload.arrivals.taken(chance.random(len(workload.arrivals)) < share)
        seconds = (kept.seconds + shift) % span if shift and span else kept.seconds
        copies.append(Arrivals(seconds, kept.input_tokens, kept.output_tokens))
    return Workload(workload.name, workload.sha256, joined(copies))


def window(workload: Workload, *, start_seconds: float, duration_seconds: float) -> Workload:
    """The part that arrives in [start, start + duration), with the start as its zero."""
    seconds = workload.arrivals.seconds
    part = workload.arrivals.taken((seconds >= start_seconds) & (seconds < start_seconds + duration_seconds))
    shifted = Arrivals(part.seconds - start_seconds, part.input_tokens, part.output_tokens)
    return Workload(workload.name, workload.sha256, shifted)


def in_sequence(workloads: Sequence[Workload], *, period_seconds: float) -> Workload:
    """One after the other as one trace: each begins a whole number of periods (days) after the first."""
    parts, begin = [], 0.0
    for workload in workloads:
        one = workload.arrivals
        parts.append(Arrivals(one.seconds + begin, one.input_tokens, one.output_tokens))
        begin += period_seconds * max(1, math.ceil(round(workload.span_seconds / period_seconds, 6)))
    digest = hashlib.sha256("".join(workload.sha256 for workload in workloads).encode()).hexdigest()
    return Workload("+".join(workload.name for workload in workloads), digest, joined(parts))


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """All of them on one clock."""
    columns = ([getattr(part, name) for part in parts] for name in ("seconds", "input_tokens", "output_tokens"))
    return Arrivals.sorted(*(np.concatenate(column) for column in columns))


def _checked(seconds: float, prompt: int, output: int, *, before: Arrival | None) -> Arrival:
    if not math.isfinite(seconds) or seconds < 0:
        raise _BadRow(f"arrival of {seconds} s: must be a time from the start of the trace, 0 or later")
    if before is not None and seconds < before.arrival_seconds:
        raise _BadRow(f"arrival of {seconds} s after one of {before.arrival_seconds} s: times must ascend")
    if not 0 <= prompt <= MAXIMUM_TOKENS or not 0 <= output <= MAXIMUM_TOKENS:
        raise _BadRow(f"{prompt} prompt and {output} output tokens: must be 0 to {MAXIMUM_TOKENS}")
    return Arrival(seconds, max(1, prompt), max(1, output))


def _csv_rows(text: str) -> Iterator[tuple[int, float, int, int]]:
    rows = csv.DictReader(io.StringIO(text))
    columns = set(rows.fieldnames or ())
    read = next((reader for needed, reader in _formats() if needed <= columns), None)
    if read is None:
        raise _BadRow(
            "unknown columns: expected arrival_s,input_tokens,output_tokens (or those of Azure's or BurstGPT's traces)"
        )
    for row in rows:
        yield (rows.line_num, *_numbers(read, row, line=rows.line_num))


def _json_rows(text: str) -> Iterator[tuple[int, float, int, int]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield (number, *_numbers(_mooncake, line, line=number))


def _numbers(read: Callable[[_Row], tuple[float, int, int]], row: _Row, *, line: int) -> tuple[float, int, int]:
    try:
        return read(row)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _BadRow(f"not a request: {error}", line=line) from error


def _mooncake(line: str) -> tuple[float, int, int]:
    row = json.loads(line)
    return float(row["timestamp"]) / 1000.0, int(row["input_length"]), int(row["output_length"])


def _formats() -> tuple[tuple[frozenset[str], _Reader], ...]:
    """Columns that tell a format, and its reader. Azure's first time is its zero, so its reader is made anew."""
    return (
        (frozenset({"arrival_s", "input_tokens", "output_tokens"}), _common),
        (frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure()),
        (frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burst_gpt),
    )


def _common(row: Mapping[str, str]) -> tuple[float, int, int]:
    return float(row["arrival_s"]), int(row["input_tokens"]), int(row["output_tokens"])


def _burst_gpt(row: Mapping[str, str]) -> tuple[float, int, int]:
    return float(row["Timestamp"]), int(row["Request tokens"]), int(row["Response tokens"])


def _azure() -> _Reader:
    zero: list[datetime] = []

    def read(row: Mapping[str, str]) -> tuple[float, int, int]:
        # Seven digits after the point (2023) are more than Python reads.
        stamp = row["TIMESTAMP"].strip().replace("+00:00", "")
        head, _, fraction = stamp.partition(".")
        moment = datetime.fromisoformat(f"{head}.{fraction[:6]}" if fraction else head)
        if not zero:
            zero.append(moment)
        return (moment - zero[0]).total_seconds(), int(row["ContextTokens"]), int(row["GeneratedTokens"])

    return read
