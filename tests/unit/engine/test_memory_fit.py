"""Activations and graphs: the constants are the fit of one half of the logs, and hold for the other half."""

from __future__ import annotations

import pytest

from builders.observed_fit import (
    PARTS,
    Fit,
    activation_fit,
    errors_of,
    errors_of_the_sum,
    fitting_half,
    graph_fit,
    judging_half,
)
from inference_fleet.engine import memory_overhead

GIBIBYTE = 2**30
BAND_GIB = memory_overhead.UNCERTAIN_BYTES / GIBIBYTE


def test_the_constants_are_what_the_fitting_half_gives() -> None:
    assert activation_fit() == near(
        base=memory_overhead._ACTIVATION_BASE_BYTES / GIBIBYTE,
        slope=memory_overhead._LOGIT_BYTES,
        experts=memory_overhead._EXPERTS_BYTES / GIBIBYTE,
    )
    assert graph_fit() == near(
        base=memory_overhead._GRAPH_BASE_BYTES / GIBIBYTE,
        slope=memory_overhead._GRAPH_LAYER_BYTES / GIBIBYTE,
        experts=memory_overhead._GRAPH_EXPERTS_BYTES / GIBIBYTE,
    )


def near(*, base: float, slope: float, experts: float) -> Fit:
    """Equal to two or three digits, as the constants are written."""
    return Fit(
        base=pytest.approx(base, abs=0.006),  # type: ignore[arg-type]
        slope=pytest.approx(slope, rel=0.006),  # type: ignore[arg-type]
        experts=pytest.approx(experts, abs=0.006),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("name", PARTS)
def test_each_part_is_hardly_worse_on_logs_that_it_was_not_fitted_on(name: str) -> None:
    key, part = PARTS[name]
    fitted, judged = errors_of(fitting_half(key), key, part), errors_of(judging_half(key), key, part)

    assert len(judged.errors) >= 30
    assert judged.median <= max(0.1, 1.5 * fitted.median)
    assert judged.share_within(fitted.largest) >= 0.9


def test_the_sum_lies_within_the_band_that_verdicts_are_given_with() -> None:
    fitted, judged = (errors_of_the_sum(half("activationGib")) for half in (fitting_half, judging_half))

    assert fitted.largest <= 0.6
    assert judged.share_within(fitted.largest) == 1.0
    assert judged.largest < BAND_GIB
