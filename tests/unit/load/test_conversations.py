"""The built-in load: seeded, rising and falling, near its rates."""

from __future__ import annotations

from statistics import mean

from inference_fleet.load.conversations import ConversationLoad, conversation_trace

_LOAD = ConversationLoad(duration_seconds=240.0, base_requests_per_second=1.0, peak_requests_per_second=12.0)


def test_rate_rises_stays_and_falls() -> None:
    # Shares 0.10 quiet, 0.22 up, 0.26 peak, 0.22 down, 0.20 quiet of 240 s.
    assert [round(_LOAD.rate(at), 2) for at in (0, 24, 50.4, 76.9, 139, 165.6, 192.1, 239)] == [
        1.0, 1.0, 6.5, 12.0, 12.0, 6.5, 1.0, 1.0,
    ]  # fmt: skip


def test_the_same_seed_is_the_same_load_and_another_is_another() -> None:
    assert conversation_trace(_LOAD, seed=3) == conversation_trace(_LOAD, seed=3)
    assert conversation_trace(_LOAD, seed=3) != conversation_trace(_LOAD, seed=4)


def test_request_rate_is_near_the_wanted_one_at_the_peak_and_at_rest() -> None:
    def rate(start: float, end: float) -> float:
        counts = [
            sum(start <= request.arrival_seconds < end for request in conversation_trace(_LOAD, seed=seed).requests)
            for seed in range(20)
        ]
        return mean(counts) / (end - start)

    assert 10.0 < rate(80.0, 139.0) < 14.0
    assert 0.3 < rate(0.0, 20.0) < 1.6
    assert 0.5 < rate(215.0, 240.0) < 3.0


def test_requests_are_in_order_within_the_duration_and_bounded() -> None:
    requests = conversation_trace(_LOAD, seed=0).requests
    arrivals = [request.arrival_seconds for request in requests]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= 0
    assert arrivals[-1] < 240.0
    assert all(4 <= request.input_tokens <= 600 and 4 <= request.output_tokens <= 160 for request in requests)


def test_lengths_have_the_wanted_means() -> None:
    requests = [request for seed in range(5) for request in conversation_trace(_LOAD, seed=seed).requests]
    assert 36 < mean(request.output_tokens for request in requests) < 44
    # Later turns carry the conversation: the mean prompt is well above one question.
    assert 110 < mean(request.input_tokens for request in requests) < 260
