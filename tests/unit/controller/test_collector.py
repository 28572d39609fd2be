"""When Python's collector looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from inference_fleet.controller.collector import THRESHOLDS, collect_rarely


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("collector")
def test_what_is_loaded_is_set_apart_and_the_rest_collected_rarely() -> None:
    frozen = gc.get_freeze_count()
    collect_rarely()
    assert gc.get_freeze_count() > frozen
    assert gc.get_threshold() == THRESHOLDS
    assert gc.isenabled()
