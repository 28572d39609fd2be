"""When Python's collector looks for cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from inference_fleet.controller.collector import THRESHOLDS, collect_rarely, collect_young


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


class Cycle:
    """Holds itself."""

    def __init__(self) -> None:
        self.me = self


@pytest.mark.usefixtures("collector")
def test_what_is_new_is_looked_at_without_what_is_old() -> None:
    # None of itself while this test runs.
    gc.set_threshold(0)
    new = weakref.ref(Cycle())
    full = gc.get_stats()[2]["collections"]
    assert new() is not None
    collect_young()
    assert new() is None
    assert gc.get_stats()[2]["collections"] == full
