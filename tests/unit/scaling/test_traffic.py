"""What requests are like, from what the engines count: lengths, and how long one is under way."""

from __future__ import annotations

import pytest

from inference_fleet.scaling.demand import DEFAULT_OUTPUT_TOKENS, Traffic
from inference_fleet.scaling.pod_counters import PodChange
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.types import SignalState


def tick(*, generated: float, finished: float, begun: float, running: float, pods: int = 1) -> FleetLoad:
    """One tick of 15 s whose work is spread evenly over the pods."""
    change = PodChange(
        pod="a",
        variant="gpu",
        seconds=15.0,
        prompt=100.0 * (finished + begun) / pods,
        generated=generated / pods,
        finished=finished / pods,
        rejected=0.0,
        steps=100.0,
        inter_token_seconds=1.0,
        inter_tokens=100.0,
        queued=0.0,
        begun=begun / pods,
    )
    return FleetLoad(
        state=SignalState.FRESH,
        running=running,
        waiting=0.0,
        rejected=0.0,
        failed=0.0,
        answered=pods,
        ready=pods,
        sample_time=0.0,
        variants=(),
        changes=(change,) * pods,
        share=1.0,
        moving_share=1.0,
        pods=(),
        problem="",
    )


def test_an_answer_has_the_usual_length_until_one_is_known() -> None:
    assert Traffic().mean_output == DEFAULT_OUTPUT_TOKENS
    assert Traffic().service_seconds == 0.0


def test_in_a_steady_state_an_answer_is_as_long_as_the_tokens_by_the_finished_say() -> None:
    traffic = Traffic()
    for _ in range(50):
        traffic = traffic.learned(tick(generated=20_000, finished=20, begun=0, running=100))
    assert traffic.mean_output == pytest.approx(1000.0)


def test_the_first_answers_of_a_rise_are_not_endless() -> None:
    # 30 have begun and are half done on average, 2 have finished: 17,000 tokens are 1,000 an answer, not 8,500.
    traffic = Traffic().learned(tick(generated=17_000, finished=2, begun=30, running=30))
    assert traffic.mean_output == pytest.approx(1000.0)


@pytest.mark.parametrize("pods", [1, 4])
def test_how_long_a_request_is_under_way_follows_from_littles_law(pods: int) -> None:
    traffic = Traffic()
    for _ in range(50):
        traffic = traffic.learned(tick(generated=20_000, finished=20, begun=0, running=100, pods=pods))
    assert traffic.service_seconds == pytest.approx(100 * 15.0 / 20)
