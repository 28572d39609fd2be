"""Traces: what is read, and what is refused by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from inference_fleet.load.trace import Trace, TraceRefusal, TraceRequest, read_trace, write_trace

_HEADER = "arrival_s,input_tokens,output_tokens\n"


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    return tmp_path / "trace.csv"


def test_rows_become_requests_and_blank_lines_nothing(trace_file: Path) -> None:
    trace_file.write_text(_HEADER + "0.5,10,3\n\n1,20,0\n")
    assert read_trace(trace_file) == Trace("trace.csv", (TraceRequest(0.5, 10, 3), TraceRequest(1.0, 20, 0)))


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress((_HEADER + "0,1,1\n").encode()))
    trace = read_trace(path)
    assert isinstance(trace, Trace)
    assert trace.requests == (TraceRequest(0.0, 1, 1),)


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("", 0, "is empty"),
        (_HEADER, 0, "has no requests"),
        ("time,in,out\n0,1,1\n", 1, "header must be arrival_s,input_tokens,output_tokens"),
        (_HEADER + "0,1,1\n1,2\n", 3, "2 columns, expected 3"),
        (_HEADER + "0,1,1\n\n\nsoon,2,3\n", 5, "'soon' is not a number"),
        (_HEADER + "nan,2,3\n", 2, "finite"),
        (_HEADER + "-1,2,3\n", 2, "0 or more"),
        (_HEADER + "0,2.5,3\n", 2, "input_tokens '2.5' is not a whole number"),
        (_HEADER + "0,0,3\n", 2, "input_tokens 0 must be between 1"),
        (_HEADER + "0,1,-1\n", 2, "output_tokens -1 must be between 0"),
        (_HEADER + "2,1,1\n1.5,1,1\n", 3, "arrival_s 1.5 is before the row above (2.0)"),
        (_HEADER + '"' + "x" * 200_000, 2, "is no CSV"),
    ],
)
def test_malformed_trace_is_refused_by_line(trace_file: Path, text: str, line: int, fragment: str) -> None:
    trace_file.write_text(text)
    refusal = read_trace(trace_file)
    assert isinstance(refusal, TraceRefusal)
    assert (refusal.line, fragment in refusal.message) == (line, True), refusal
    assert str(refusal).startswith(f"{trace_file}:{line}: " if line else f"{trace_file}: ")


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    missing, binary, broken = tmp_path / "no.csv", tmp_path / "b.csv", tmp_path / "b.csv.gz"
    binary.write_bytes(b"\xff\xfe\x00")
    broken.write_bytes(b"no gzip")
    truncated = tmp_path / "t.csv.gz"
    truncated.write_bytes(gzip.compress(_HEADER.encode() * 50)[:-9])
    for path in (missing, binary, broken, truncated, tmp_path):
        assert isinstance(read_trace(path), TraceRefusal), path


def test_window_and_scale_move_time_and_nothing_else() -> None:
    trace = Trace("t", (TraceRequest(0.0, 1, 1), TraceRequest(10.0, 2, 2), TraceRequest(20.0, 3, 3)))
    assert trace.window(start_seconds=5.0, duration_seconds=15.0).requests == (TraceRequest(5.0, 2, 2),)
    assert [r.arrival_seconds for r in trace.faster(2.0).requests] == [0.0, 5.0, 10.0]
    assert trace.span_seconds == 20.0
    assert Trace("t", ()).span_seconds == 0.0


def test_a_trace_that_was_written_reads_the_same(tmp_path: Path) -> None:
    trace = Trace("load.csv", (TraceRequest(0.125, 10, 20), TraceRequest(3.3333333333333335, 1, 0)))
    write_trace(trace, tmp_path / "load.csv")
    assert read_trace(tmp_path / "load.csv") == trace
