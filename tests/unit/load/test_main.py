"""The program: what it writes, and its exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_fleet.load.__main__ import chosen_trace, main
from inference_fleet.load.trace import Trace, TraceRefusal

_HEADER = "arrival_s,input_tokens,output_tokens\n"


def choose(path: Path | None, **more: float) -> Trace | TraceRefusal:
    arguments = {"duration_seconds": None, "start_seconds": 0.0, "rate_scale": 1.0, "base_rate": 1.0, "peak_rate": 4.0}
    return chosen_trace(path, seed=1, **(arguments | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [["--model", "m"], ["--url", "u"], ["--url", "u", "--model", "m", "--rate-scale", "0"], ["--nonsense"]],
)
def test_wrong_usage_leaves_with_64(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 64
    assert "usage" in capsys.readouterr().err


def test_malformed_trace_leaves_with_1_and_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(_HEADER + "0,1\n")
    assert main(["--url", "u", "--model", "m", "--trace", str(path)]) == 1
    assert f"{path}:2: 2 columns" in capsys.readouterr().err


def test_start_and_duration_are_seconds_of_the_replay(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(_HEADER + "".join(f"{at},1,1\n" for at in range(100)))
    trace = choose(path, rate_scale=10.0, start_seconds=2.0, duration_seconds=3.0)
    assert isinstance(trace, Trace)
    # Rows 20 .. 49 of the file, ten a second.
    assert len(trace.requests) == 30
    assert trace.requests[0].arrival_seconds == 0.0


def test_start_behind_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(_HEADER + "0,1,1\n")
    assert str(choose(path, start_seconds=5.0)) == f"{path}: has no requests after 5 s"
    assert (
        str(choose(path, start_seconds=5.0, duration_seconds=2.0))
        == f"{path}: has no requests after 5 s and before 7 s"
    )


def test_without_a_file_the_built_in_load_is_taken() -> None:
    trace = choose(None, duration_seconds=60.0)
    assert isinstance(trace, Trace)
    assert trace.name == "conversations-seed-1"
    denser = choose(None, duration_seconds=60.0, rate_scale=3.0)
    assert isinstance(denser, Trace)
    assert len(denser.requests) > 2 * len(trace.requests)
