"""The requests of one simulated run and what became of them: arrays, because a day has millions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference_fleet.simulation.engines import FINISHES, FIRST_TOKENS, MARKS, NEXT_ARRIVAL


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request: seconds from the start of the trace, prompt tokens, tokens to write."""

    arrival_seconds: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Requests in the order of their arrival, as three arrays: seconds (float64), prompt and output tokens (int32)."""

    seconds: Any
    input_tokens: Any
    output_tokens: Any

    @classmethod
    def of(cls, arrivals: Iterable[Arrival]) -> Arrivals:
        """From single requests in any order."""
        rows = [(each.arrival_seconds, each.input_tokens, each.output_tokens) for each in arrivals]
        table = np.array(rows, dtype=float).reshape(-1, 3)
        return cls.sorted(table[:, 0], table[:, 1], table[:, 2])

    @classmethod
    def sorted(cls, seconds: Any, input_tokens: Any, output_tokens: Any) -> Arrivals:
        """From columns in any order; requests of one moment keep theirs. No request has less than a token of each."""
        seconds = np.asarray(seconds, dtype=np.float64)
        order = None if np.all(seconds[1:] >= seconds[:-1]) else np.argsort(seconds, kind="stable")
        columns = (seconds, np.maximum(1, input_tokens), np.maximum(1, output_tokens))
        first, *tokens = columns if order is None else (column[order] for column in columns)
        return cls(first, *(np.asarray(column).astype(np.int32) for column in tokens))

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, place: int) -> Arrival:
        return Arrival(float(self.seconds[place]), int(self.input_tokens[place]), int(self.output_tokens[place]))

    def __iter__(self) -> Iterator[Arrival]:
        rows = zip(self.seconds.tolist(), self.input_tokens.tolist(), self.output_tokens.tolist(), strict=True)
        return (Arrival(*row) for row in rows)

    def taken(self, chosen: Any) -> Arrivals:
        """Those that a mask or slice chooses."""
        return Arrivals(self.seconds[chosen], self.input_tokens[chosen], self.output_tokens[chosen])


class RequestLog:
    """What was sent and when it was answered; a request is its place in the arrays.

    first_token, finish: seconds, NaN until it happens; a request without a finish has failed. variant: place of the
    variant that served it, -1 before it was routed. marks: counters of the engines' loop (see `engines`).
    """

    def __init__(self, arrivals: Arrivals | Iterable[Arrival]) -> None:
        sent = arrivals if isinstance(arrivals, Arrivals) else Arrivals.of(arrivals)
        count = len(sent)
        self.arrival = sent.seconds
        self.input_tokens = sent.input_tokens
        self.output_tokens = sent.output_tokens
        self.first_token = np.full(count, np.nan)
        self.finish = np.full(count, np.nan)
        self.variant = np.full(count, -1, dtype=np.int32)
        self.first_order = np.zeros(count, dtype=np.int32)
        self.finish_order = np.zeros(count, dtype=np.int32)
        self.marks = np.zeros(MARKS, dtype=np.int64)
        self.failures: list[int] = []

    def __len__(self) -> int:
        return len(self.arrival)

    @property
    def span_seconds(self) -> float:
        """Last arrival; 0 without requests."""
        return float(self.arrival[-1]) if len(self) else 0.0

    @property
    def arrived(self) -> int:
        """How many requests have come so far: the first so many."""
        return int(self.marks[NEXT_ARRIVAL])

    @property
    def first_tokens(self) -> Any:
        """Requests that have a first token, each engine's in order."""
        return self.first_order[: self.marks[FIRST_TOKENS]]

    @property
    def finishes(self) -> Any:
        """Requests that are finished, each engine's in order."""
        return self.finish_order[: self.marks[FINISHES]]

    def time_to_first_token(self, requests: Any) -> Any:
        """Seconds from arrival, of one request or an array of them; NaN if none came."""
        return self.first_token[requests] - self.arrival[requests]

    def inter_token_latency(self, requests: Any) -> Any:
        """Mean seconds per token after the first; 0 for a single token; NaN if it did not finish."""
        # A single token is first and last in the same moment: 0 by any number of gaps.
        gaps = np.maximum(1, self.output_tokens[requests] - 1)
        return (self.finish[requests] - self.first_token[requests]) / gaps
