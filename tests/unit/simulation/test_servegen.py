"""ServeGen's client tables: rates, gaps and lengths come out as they stand there; bad tables are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference_fleet.simulation.servegen import BadTable, read_servegen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lengths = {"input_tokens": "{100: 0.5, 300: 0.5}", "output_tokens": "{7: 1.0}"}
    later = {"input_tokens": "{900: 1.0}", "output_tokens": "{9: 1.0}"}
    (tmp_path / "chunk-0-trace.csv").write_text("0,2.0,1.0,Gamma,1.0,0.5\n600,4.0,0.8,Weibull,1.3,0.2\n1200,0,0,,0,0\n")
    (tmp_path / "chunk-0-dataset.json").write_text(json.dumps({"0": lengths, "600": later}))
    (tmp_path / "chunk-1-trace.csv").write_text("0,1.0,1.0,Gamma,1.0,0.5\n")
    (tmp_path / "chunk-1-dataset.json").write_text(
        json.dumps({"0": {"input_tokens": "{50: 1}", "output_tokens": "{1: 1}"}})
    )
    return tmp_path


def test_every_window_has_its_rate_and_lengths(folder: Path) -> None:
    arrivals = read_servegen(folder, scale=1.0, seed=0).arrivals
    early, late = arrivals.taken(arrivals.seconds < 600), arrivals.taken(arrivals.seconds >= 600)
    assert len(early) == pytest.approx(1800, rel=0.1)
    assert len(late) == pytest.approx(2400, rel=0.1)
    assert set(early.input_tokens.tolist()) == {50, 100, 300}
    assert set(late.input_tokens.tolist()) == {900}
    assert (np.diff(arrivals.seconds) >= 0).all()


def test_scale_and_part_are_chosen_and_the_seed_decides(folder: Path) -> None:
    half = read_servegen(folder, scale=0.5, seed=0, begin=600.0)
    assert len(half.arrivals) == pytest.approx(1200, rel=0.1)
    assert float(half.arrivals.seconds[0]) < 10
    assert half.sha256 == read_servegen(folder, scale=0.5, seed=0, begin=600.0).sha256
    other = read_servegen(folder, scale=0.5, seed=1, begin=600.0)
    assert half.arrivals.seconds.tolist() != other.arrivals.seconds.tolist()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("chunk-0-trace.csv", "0,2.0,1.0,Gamma,1.0,0.5\n600,x,1,Gamma,1,1\n", "chunk-0-trace.csv:2"),
        ("chunk-0-trace.csv", "0,2.0,1.0,Zipf,1.0,0.5\n", "not a window"),
        ("chunk-0-dataset.json", '{"0": {"input_tokens": "{5: -1}", "output_tokens": "{1: 1}"}}', "shares"),
        ("chunk-0-dataset.json", '{"0": {"input_tokens": "__import__(\'os\')", "output_tokens": "{}"}}', "dataset"),
        ("chunk-0-dataset.json", "[", "dataset"),
    ],
)
def test_a_bad_table_is_named(folder: Path, file: str, text: str, words: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(BadTable, match=words):
        read_servegen(folder, scale=1.0, seed=0)


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="chunk"):
        read_servegen(tmp_path, scale=1.0, seed=0)
