"""Traces from files: the common CSV and the public formats; scaling by superposition; windows.

Common CSV: `arrival_s,input_tokens,output_tokens`, times ascending. Azure 2023 and 2024: `TIMESTAMP,ContextTokens,
GeneratedTokens`. BurstGPT: `Timestamp,Model,Request tokens,Response tokens,...`, seconds. Mooncake: JSON lines with
`timestamp` in milliseconds, `input_length`, `output_length`. A name that ends in .gz is unpacked. Empty lines
are passed over. What is repaired or odd is said (`Workload.remarks`): a request without prompt or output tokens
counts as one of each, as an engine would at least compute; a time without requests is taken as it stands.
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
from dataclasses import dataclass, replace
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
# A longer trace is one whose times are dates.
MOST_SECONDS: Final = 400 * 86400.0
# A pause is worth a word from an hour on, if it is so many times the usual gap between requests.
PAUSE_SECONDS: Final = 3600.0
PAUSE_GAPS: Final = 50.0
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
        # A byte order mark, as spreadsheets write it, is no part of the first column's name.
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError:
        return TraceRefusal(str(path), 0, "is no text, or not in UTF-8")
    except (OSError, EOFError, zlib.error) as error:
        return TraceRefusal(str(path), 0, f"cannot be read: {error}")
    if not text.strip():
        return TraceRefusal(str(path), 0, "is empty")
    name = path.name.removesuffix(".gz").removesuffix(".csv").removesuffix(".jsonl")
    quick = _common_table(text)
    if quick is not None:
        return _remarked(Workload(name, hashlib.sha256(data).hexdigest(), quick[0]), quick[1])
    line = 1
    arrivals: list[Arrival] = []
    empty: list[int] = []
    rows = _json_rows(text) if text.lstrip().startswith("{") else _csv_rows(text)
    try:
        for number, seconds, prompt, output in rows:
            line = number
            arrivals.append(_checked(seconds, prompt, output, before=arrivals[-1] if arrivals else None))
            if not prompt or not output:
                empty.append(number)
            if len(arrivals) > MAXIMUM_REQUESTS:
                raise _BadRow(f"more than {MAXIMUM_REQUESTS} requests")
    except _BadRow as error:
        return TraceRefusal(str(path), line if error.line is None else error.line, str(error))
    except csv.Error as error:
        return TraceRefusal(str(path), line + 1, str(error))
    if not arrivals:
        return TraceRefusal(str(path), 0, "holds no request")
    return _remarked(Workload(name, hashlib.sha256(data).hexdigest(), Arrivals.of(arrivals)), empty)


def _remarked(workload: Workload, empty: Sequence[int]) -> Workload:
    """With what a reader should know. empty: lines of requests without prompt or output tokens."""
    words = []
    if empty:
        without = f"{len(empty)} of {len(workload.arrivals)} requests have no prompt or no output tokens"
        words.append(f"{without} (first in line {empty[0]}): counted as one token")
    gaps = np.diff(workload.arrivals.seconds)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    pauses = np.flatnonzero((gaps >= PAUSE_SECONDS) & (gaps > PAUSE_GAPS * usual))
    if len(pauses):
        longest = pauses[np.argmax(gaps[pauses])]
        times = f"the longest {gaps[longest] / 3600:.1f} h from {workload.arrivals.seconds[longest]:.0f} s on"
        count = "a pause" if len(pauses) == 1 else f"{len(pauses)} pauses"
        words.append(f"{count} of an hour or more, {times}: taken as time without requests")
    return replace(workload, remarks=tuple(words))


def _common_table(text: str) -> tuple[Arrivals, list[int]] | None:
    """The common form read as a table, for speed, and its lines without tokens.

    None if anything is odd, so that rows are looked at one by one.
    """
    if not text.startswith(COMMON_HEADER) or len(text) == len(COMMON_HEADER) or "\n\n" in text:
        return None
    try:
        table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1, ndmin=2, comments=None)
    except ValueError:
        return None
    if not len(table) or table.shape[1] != 3 or len(table) > MAXIMUM_REQUESTS:
        return None
    seconds, tokens = table[:, 0], table[:, 1:]
    fine = np.isfinite(table).all() and seconds[0] >= 0 and (np.diff(seconds) >= 0).all()
    fine = fine and seconds[-1] <= MOST_SECONDS
    whole = fine and (tokens >= 0).all() and (tokens <= MAXIMUM_TOKENS).all() and (tokens == np.floor(tokens)).all()
    if not whole:
        return None
    empty = 2 + np.flatnonzero((tokens == 0).any(axis=1))
    return Arrivals.sorted(seconds, tokens[:, 0], tokens[:, 1]), empty.tolist()


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
    return replace(workload, arrivals=joined(copies))


def window(workload: Workload, *, start_seconds: float, duration_seconds: float) -> Workload:
    """The part that arrives in [start, start + duration), with the start as its zero."""
    seconds = workload.arrivals.seconds
    part = workload.arrivals.taken((seconds >= start_seconds) & (seconds < start_seconds + duration_seconds))
    shifted = Arrivals(part.seconds - start_seconds, part.input_tokens, part.output_tokens)
    return replace(workload, arrivals=shifted)


def in_sequence(workloads: Sequence[Workload], *, period_seconds: float) -> Workload:
    """One after the other as one trace: each begins a whole number of periods (days) after the first."""
    parts, begin = [], 0.0
    for workload in workloads:
        one = workload.arrivals
        parts.append(Arrivals(one.seconds + begin, one.input_tokens, one.output_tokens))
        begin += period_seconds * max(1, math.ceil(round(workload.span_seconds / period_seconds, 6)))
    digest = hashlib.sha256("".join(workload.sha256 for workload in workloads).encode()).hexdigest()
    remarks = [f"{workload.name}: {remark}" for workload in workloads for remark in workload.remarks]
    return Workload("+".join(workload.name for workload in workloads), digest, joined(parts), tuple(remarks))


def joined(parts: Sequence[Arrivals]) -> Arrivals:
    """All of them on one clock."""
    columns = ([getattr(part, name) for part in parts] for name in ("seconds", "input_tokens", "output_tokens"))
    return Arrivals.sorted(*(np.concatenate(column) for column in columns))


def _checked(seconds: float, prompt: int, output: int, *, before: Arrival | None) -> Arrival:
    if not math.isfinite(seconds) or seconds < 0:
        raise _BadRow(f"arrival of {seconds} s: must be a time from the start of the trace, 0 or later")
    if seconds > MOST_SECONDS:
        most = f"{MOST_SECONDS / 86400:.0f} days"
        raise _BadRow(f"arrival of {seconds} s: must be a time from the start of the trace, at most {most} after it")
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
            f"the columns are {text.lstrip().splitlines()[0][:80]!r}: expected {COMMON_HEADER.strip()} (or those of"
            " Azure's or BurstGPT's traces)"
        )
    for row in rows:
        # What is beyond the columns, and what is missing of them, stands under None.
        if None in row or None in row.values():
            count = sum(value is not None for value in row.values()) + len(row.get(None) or ()) - (None in row)
            raise _BadRow(f"{count} values in {len(rows.fieldnames or ())} columns", line=rows.line_num)
        yield (rows.line_num, *_numbers(read, row, line=rows.line_num))


def _json_rows(text: str) -> Iterator[tuple[int, float, int, int]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield (number, *_numbers(_mooncake, line, line=number))


def _numbers(read: Callable[[_Row], tuple[float, int, int]], row: _Row, *, line: int) -> tuple[float, int, int]:
    try:
        return read(row)
    except KeyError as error:
        raise _BadRow(f"not a request: {error.args[0]} is missing", line=line) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise _BadRow(f"not a request: {error}", line=line) from error


def _number(row: Mapping[str, object], name: str) -> float:
    value = row[name]
    try:
        return float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        raise ValueError(f"{name} is {value!r}, no number") from None


def _whole(row: Mapping[str, object], name: str) -> int:
    number = _number(row, name)
    if not number.is_integer():
        raise ValueError(f"{name} is {row[name]!r}, no whole number")
    return int(number)


def _mooncake(line: str) -> tuple[float, int, int]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("no JSON object")
    return _number(row, "timestamp") / 1000.0, _whole(row, "input_length"), _whole(row, "output_length")


def _formats() -> tuple[tuple[frozenset[str], _Reader], ...]:
    """Columns that tell a format, and its reader. Azure's first time is its zero, so its reader is made anew."""
    return (
        (frozenset({"arrival_s", "input_tokens", "output_tokens"}), _common),
        (frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure()),
        (frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burst_gpt),
    )


def _common(row: Mapping[str, str]) -> tuple[float, int, int]:
    return _number(row, "arrival_s"), _whole(row, "input_tokens"), _whole(row, "output_tokens")


def _burst_gpt(row: Mapping[str, str]) -> tuple[float, int, int]:
    return _number(row, "Timestamp"), _whole(row, "Request tokens"), _whole(row, "Response tokens")


def _azure() -> _Reader:
    zero: list[datetime] = []

    def read(row: Mapping[str, str]) -> tuple[float, int, int]:
        # Seven digits after the point (2023) are more than Python reads.
        stamp = row["TIMESTAMP"].strip().replace("+00:00", "")
        head, _, fraction = stamp.partition(".")
        moment = datetime.fromisoformat(f"{head}.{fraction[:6]}" if fraction else head)
        if not zero:
            zero.append(moment)
        return (moment - zero[0]).total_seconds(), _whole(row, "ContextTokens"), _whole(row, "GeneratedTokens")

    return read
