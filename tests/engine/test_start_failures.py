"""The real engine still ends as the recorded messages say: some failures that its front end finds, made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.start_failures import FOLDER, failing_start
from inference_fleet.engine.endings import ending_of
from inference_fleet.sandbox.real_engine import find_real_engine


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["unknown-flag", "hub-gated", "length-beyond-the-model"])
def test_a_failing_start_ends_as_recorded(name: str, tmp_path: Path) -> None:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    found = ending_of(failing_start(name, engine=engine, folder=tmp_path))

    assert found is not None
    assert found == ending_of((FOLDER / f"{name}.txt").read_text(encoding="utf-8"))
