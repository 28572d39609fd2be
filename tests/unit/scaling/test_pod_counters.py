"""What is believed of one pod's sample."""

from __future__ import annotations

import math

import pytest

from inference_fleet.scaling.pod_counters import PodCounters, counters_of
from inference_fleet.scaling.types import PodSample

BEFORE = PodCounters(0.0, *[float(value) for value in range(1, 12)])
TOLD = dict(zip(PodCounters._fields, (15.0, *[float(value) for value in range(101, 112)]), strict=True))


def test_a_sound_sample_is_believed_as_it_is() -> None:
    assert counters_of(PodSample("a-0", **TOLD), BEFORE) == PodCounters(**TOLD)


@pytest.mark.parametrize("lie", [None, math.nan, math.inf, -math.inf, -1.0])
def test_a_counter_that_does_not_answer_stays_where_it_was_and_one_that_is_needed_spoils_the_sample(
    lie: float | None,
) -> None:
    for place, name in enumerate(PodCounters._fields[1:], start=1):
        found = counters_of(PodSample("a-0", **{**TOLD, name: lie}), BEFORE)
        if name in ("running", "waiting", "prompt_tokens", "generation_tokens", "finished_requests"):
            assert found is None
        else:
            assert found == PodCounters(**{**TOLD, name: BEFORE[place]})
