"""What follows from a tick and from all that is known."""

from __future__ import annotations

import pytest

from inference_fleet.scaling.estimate import need_at


@pytest.mark.parametrize(
    ("moment", "need"), [(-8.0, 0.0), (-7.0, 4.0), (0.0, 4.0), (20.0, 5.0), (23.0, 6.0), (99.0, 6.0)]
)
def test_what_was_asked_for_is_that_of_the_last_tick_before(moment: float, need: float) -> None:
    assert need_at(((0.0, 4.0), (15.0, 5.0), (30.0, 6.0)), moment) == need
    assert need_at((), moment) == 0.0
