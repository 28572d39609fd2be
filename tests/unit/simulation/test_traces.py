"""Traces from files: every known format, and errors that name the line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from inference_fleet.simulation.request_log import Arrival, Arrivals
from inference_fleet.simulation.scenario import Workload
from inference_fleet.simulation.traces import TraceRefusal, in_sequence, read_workload, scaled, window

FORMATS = {
    "common.csv": "arrival_s,input_tokens,output_tokens\n0.5,10,20\n1.5,30,0\n",
    "azure.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2023-11-16 18:15:46.6805900,10,20\n2023-11-16 18:15:47.6805900,30,0\n",
    "azure24.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    "2024-05-10 00:00:00.009930+00:00,10,20\n2024-05-10 00:00:01.009930+00:00,30,0\n",
    "burst.csv": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "0.5,ChatGPT,10,20,30,API log\n1.5,ChatGPT,30,0,30,API log\n",
    "mooncake.jsonl": '{"timestamp": 500, "input_length": 10, "output_length": 20, "hash_ids": [1]}\n'
    '{"timestamp": 1500, "input_length": 30, "output_length": 0, "hash_ids": [1]}\n',
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_by_its_columns(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(FORMATS[name])
    workload = read_workload(file)
    assert isinstance(workload, Workload)
    first, second = workload.arrivals
    assert (first.input_tokens, first.output_tokens) == (10, 20)
    assert second.arrival_seconds - first.arrival_seconds == pytest.approx(1.0)
    # No output is counted as one token.
    assert (second.input_tokens, second.output_tokens) == (30, 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("-1,10,10", "0 or later"),
        ("nan,10,10", "0 or later"),
        ("0.1,10,10", "ascend"),
        ("1,-5,10", "tokens"),
        ("1,ten,10", "input_tokens is 'ten', no number"),
        ("1,1.5,10", "input_tokens is '1.5', no whole number"),
        ("1,10,inf", "output_tokens is 'inf', no whole number"),
        (",10,10", "arrival_s is '', no number"),
        ("1,10", "2 values in 3 columns"),
        ("1,10,10,10", "4 values in 3 columns"),
        ("1700000000,10,10", "at most 400 days"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: str, words: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"arrival_s,input_tokens,output_tokens\n0.5,1,1\n{row}\n")
    refusal = read_workload(file)
    assert isinstance(refusal, TraceRefusal)
    assert refusal.line == 3
    assert words in str(refusal)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "arrival_s,input_tokens,output_tokens\n"])
def test_a_file_without_requests_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "empty.csv"
    file.write_text(text)
    assert isinstance(read_workload(file), TraceRefusal)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("\n \n")
    assert str(read_workload(file)) == f"{file}: is empty"


def test_columns_that_nobody_knows_are_shown_beside_those_that_are_read(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("0.5,10,10\n")
    words = "the columns are '0.5,10,10': expected arrival_s,input_tokens,output_tokens"
    assert str(read_workload(file)).startswith(f"{file}:1: {words}")


@pytest.mark.parametrize("blank", ["", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_repairs_and_pauses_are_said(tmp_path: Path, blank: str, mark: str) -> None:
    file = tmp_path / "odd.csv"
    rows = [f"{second},10,10" for second in range(100)] + ["99,0,10", "99,10,0", f"{99 + 7200},5,5"]
    file.write_text(mark + "arrival_s,input_tokens,output_tokens\n" + blank + "\n".join(rows))
    workload = read_workload(file)
    assert isinstance(workload, Workload)
    line = 103 if blank else 102
    assert workload.remarks == (
        f"2 of 103 requests have no prompt or no output tokens (first in line {line}): counted as one token",
        "a pause of an hour or more, the longest 2.0 h from 99 s on: taken as time without requests",
    )
    assert window(scaled(workload, 2.0, seed=0), start_seconds=0.0, duration_seconds=50.0).remarks == workload.remarks
    assert in_sequence([workload, workload], period_seconds=86400.0).remarks[2] == f"odd: {workload.remarks[0]}"


def test_a_night_without_requests_is_no_pause_where_requests_are_rare(tmp_path: Path) -> None:
    file = tmp_path / "rare.csv"
    rows = [f"{1800 * number},10,10" for number in range(50)] + [f"{1800 * 70},10,10"]
    file.write_text("arrival_s,input_tokens,output_tokens\n" + "\n".join(rows))
    workload = read_workload(file)
    assert isinstance(workload, Workload)
    assert workload.remarks == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1, 2]", "no JSON object"),
        ('{"timestamp": 1, "input_length": 2}', "output_length is missing"),
        ('{"timestamp": null, "input_length": 2, "output_length": 3}', "timestamp is None, no number"),
    ],
)
def test_a_bad_line_of_mooncake_is_refused(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"timestamp": 0, "input_length": 2, "output_length": 1}\n' + line + "\n")
    assert str(read_workload(file)) == f"{file}:2: not a request: {words}"


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    assert isinstance(read_workload(tmp_path / "none.csv"), TraceRefusal)
    broken = tmp_path / "broken.csv.gz"
    whole = gzip.compress(b"arrival_s,input_tokens,output_tokens")
    # Cut off, no gzip at all, and a block of a kind that does not exist.
    for data in (whole[:-4], b"arrival_s", whole[:10] + b"\xff" + whole[11:]):
        broken.write_bytes(data)
        assert isinstance(read_workload(broken), TraceRefusal)


def test_a_number_without_end_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "endless.jsonl"
    file.write_text('{"timestamp": 0, "input_length": Infinity, "output_length": 1}\n')
    refusal = read_workload(file)
    assert isinstance(refusal, TraceRefusal)
    assert refusal.line == 1


def _workload(count: int) -> Workload:
    return Workload("w", "0", Arrivals.of(Arrival(float(second), 5, 5) for second in range(count)))


def test_superposition_keeps_the_shape_and_multiplies_the_load() -> None:
    doubled = scaled(_workload(1000), 2.5, seed=1)
    assert len(doubled.arrivals) == pytest.approx(2500, abs=60)
    times = [arrival.arrival_seconds for arrival in doubled.arrivals]
    assert times == sorted(times)
    assert max(times) <= 999.0
    again = scaled(_workload(1000), 2.5, seed=1)
    assert [arrival.arrival_seconds for arrival in again.arrivals] == times
    assert len(scaled(_workload(1000), 0.5, seed=1).arrivals) == pytest.approx(500, abs=60)


def test_a_window_begins_at_zero() -> None:
    part = window(_workload(100), start_seconds=10.0, duration_seconds=5.0)
    assert [arrival.arrival_seconds for arrival in part.arrivals] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_days_in_sequence_begin_a_whole_number_of_days_after_each_other() -> None:
    day = 30.0
    short, long = _workload(10), _workload(40)
    joined = in_sequence([short, long, short], period_seconds=day)
    times = [arrival.arrival_seconds for arrival in joined.arrivals]
    # 0 to 9; 30 to 69, which takes two days; 90 to 99.
    assert (len(times), times[9], times[10], times[49], times[50]) == (60, 9.0, 30.0, 69.0, 90.0)
