"""The real engine is used where its set-up recorded it and it is still there."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_fleet.sandbox.real_engine import RealEngine, find_real_engine, record, record_path


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealEngine:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    (tmp_path / "python").touch()
    return RealEngine(version="0.32.0", python=tmp_path / "python", model=tmp_path / "model")


def test_what_was_recorded_is_found(engine: RealEngine) -> None:
    assert find_real_engine() is None
    record(engine)
    assert find_real_engine() == engine


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": "0.32.0", "python": 3, "model": ""}'])
def test_a_damaged_record_reads_as_none(text: str, engine: RealEngine) -> None:
    record(engine)
    record_path().write_text(text, encoding="utf-8")
    assert find_real_engine() is None


def test_an_environment_that_was_removed_reads_as_none(engine: RealEngine) -> None:
    record(engine)
    engine.python.unlink()
    assert find_real_engine() is None


def test_the_server_is_started_by_its_module(engine: RealEngine) -> None:
    # `vllm serve` would miss the metadata of a distribution called vllm.
    command = engine.command(["--port", "8000"])
    assert command[1:] == ("-m", "vllm.entrypoints.launchers.api_server.entry", "--port", "8000")
