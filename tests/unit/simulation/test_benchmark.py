"""The scaling benchmark on its shortest part: it runs, goes on from its cache, and its page holds its figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def bench(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/scaling.py",
            "--part",
            "slice",
            "--jobs",
            "2",
            "--output",
            str(folder),
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "TRACES": ""},
        check=True,
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.stderr


def test_the_slice_is_measured_once_and_written_down(tmp_path: Path) -> None:
    assert "6/6" in bench(tmp_path)
    assert bench(tmp_path) == ""  # everything stood in the cache
    runs = json.loads((tmp_path / "results/scaling.json").read_text())["parts"]["slice"]["runs"]
    page = (tmp_path / "scaling.md").read_text()
    assert {run["policy"]["name"] for run in runs} == {"fleet", "llm-d-slo-aware"}
    for run in runs:
        assert f"{run['result']['attainmentPercent']:.2f}" in page
        assert run["result"]["failed"] == 0
    own = {run["scenario"]["trace"]: run["result"] for run in runs if run["policy"]["name"] == "fleet"}
    # A floor far below what is measured: a scaler that is broken falls through it.
    assert own["chat-steady-40min"]["attainmentPercent"] > 95
    assert own["chat-steady-40min"]["meanReplicas"] < 12


def test_a_page_of_a_part_says_what_was_not_run(tmp_path: Path) -> None:
    assert "0 of 6 done" in bench(tmp_path, "--seconds", "0", "--partial")
    assert "Defined and not run: chat-steady-40min; code-bursts-40min." in (tmp_path / "scaling.md").read_text()
