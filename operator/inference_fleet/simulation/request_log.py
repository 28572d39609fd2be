"""The requests of one simulated run and what became of them: parallel lists, because a day has millions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: seconds from the start of the trace, prompt tokens, tokens to write."""

    arrival_seconds: float
    input_tokens: int
    output_tokens: int


class RequestLog:
    """What was sent and when it was answered; a request is its place in the lists.

    first_token, finish: seconds, NaN until it happens; a request without a finish has failed. variant: place of the
    variant that served it, -1 before it was routed. first_tokens, finishes: requests in the order of these events.
    """

    def __init__(self, arrivals: Iterable[Arrival]) -> None:
        ordered: Sequence[Arrival] = sorted(arrivals, key=lambda arrival: arrival.arrival_seconds)
        self.arrival = [arrival.arrival_seconds for arrival in ordered]
        self.input_tokens = [max(1, arrival.input_tokens) for arrival in ordered]
        self.output_tokens = [max(1, arrival.output_tokens) for arrival in ordered]
        self.first_token = [UNKNOWN] * len(ordered)
        self.finish = [UNKNOWN] * len(ordered)
        self.variant = [-1] * len(ordered)
        self.first_tokens: list[int] = []
        self.finishes: list[int] = []
        self.failures: list[int] = []

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def span_seconds(self) -> float:
        """Last arrival; 0 without requests."""
        return self.arrival[-1] if self.arrival else 0.0

    def time_to_first_token(self, request: int) -> float:
        """Seconds from arrival; NaN if none came."""
        return self.first_token[request] - self.arrival[request]

    def inter_token_latency(self, request: int) -> float:
        """Mean seconds per token after the first; 0 for a single token; NaN if it did not finish."""
        if self.output_tokens[request] < 2:
            return self.finish[request] - self.finish[request]
        return (self.finish[request] - self.first_token[request]) / (self.output_tokens[request] - 1)
