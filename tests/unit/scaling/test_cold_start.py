"""How long a start takes, from few starts and from many."""

from __future__ import annotations

import pytest

from inference_fleet.scaling.cold_start import DEFAULT_SECONDS, cold_start_seconds


@pytest.mark.parametrize(
    ("starts", "told", "expected"),
    [
        ((), None, DEFAULT_SECONDS),
        ((300.0, 300.0), 60.0, 60.0),
        ((10.0, 20.0, 30.0, 40.0, 50.0), None, 40.0),
        ((8.0, 9.0, 7.0), 120.0, 9.0),  # three are believed, or quick starts would be held like slow ones
        (tuple(float(second) for second in range(1, 21)), None, 16.0),
    ],
)
def test_four_of_five_starts_take_no_longer(starts: tuple[float, ...], told: float | None, expected: float) -> None:
    assert cold_start_seconds(starts, told=told) == expected
