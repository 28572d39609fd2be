"""A built-in load: people talk to a model, few at first, many in the middle, few at the end.

Conversations begin as a Poisson process whose rate rises, stays and falls; each has a geometric number of turns with
a pause between them, and each turn's prompt carries the conversation so far. Seeded: the same seed is the same load.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from inference_fleet.load.trace import Trace, TraceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationLoad:
    """Shape of the load. Rates are requests per second; lengths are tokens."""

    duration_seconds: float
    base_requests_per_second: float
    peak_requests_per_second: float
    # Shares of the duration: flat start, rise, peak, fall (None: as long as the rise); the rest is flat.
    quiet_share: float = 0.10
    rise_share: float = 0.22
    peak_share: float = 0.26
    fall_share: float | None = None
    mean_turns: float = 2.5
    pause_seconds: float = 6.0
    question_tokens: int = 60
    answer_tokens: int = 40
    longest_prompt_tokens: int = 600
    longest_answer_tokens: int = 160

    def rate(self, at_seconds: float) -> float:
        """Requests per second wanted at a moment."""
        share = at_seconds / self.duration_seconds
        base, peak = self.base_requests_per_second, self.peak_requests_per_second
        rise_end = self.quiet_share + self.rise_share
        peak_end = rise_end + self.peak_share
        fall_share = self.rise_share if self.fall_share is None else self.fall_share
        if share < self.quiet_share or share >= peak_end + fall_share:
            return base
        if share < rise_end:
            return base + (peak - base) * (share - self.quiet_share) / self.rise_share
        if share < peak_end:
            return peak
        return peak - (peak - base) * (share - peak_end) / fall_share


def conversation_trace(load: ConversationLoad, *, seed: int) -> Trace:
    """The requests of a seeded load, in the order of their arrival."""
    chance = random.Random(seed)  # noqa: S311 - a load, not a secret
    requests: list[TraceRequest] = []
    at = 0.0
    ceiling = max(load.base_requests_per_second, load.peak_requests_per_second) / load.mean_turns
    while True:
        # Thinning: candidates at the highest rate, kept in proportion to the rate at their moment.
        at += chance.expovariate(ceiling)
        if at >= load.duration_seconds:
            break
        # A conversation's later turns come when the rate has moved on; starting it earlier by half its mean
        # length keeps the requests' rate near the wanted one.
        middle = min(load.duration_seconds, at + load.pause_seconds * (load.mean_turns - 1) / 2)
        if chance.random() * ceiling <= load.rate(middle) / load.mean_turns:
            requests.extend(_turns(load, chance, started_at=at))
    requests.sort(key=lambda request: (request.arrival_seconds, request.input_tokens, request.output_tokens))
    return Trace(f"conversations-seed-{seed}", tuple(requests))


def _turns(load: ConversationLoad, chance: random.Random, *, started_at: float) -> list[TraceRequest]:
    turns: list[TraceRequest] = []
    at = started_at
    history = 0
    while at < load.duration_seconds:
        question = _length(chance, load.question_tokens, load.longest_prompt_tokens)
        answer = _length(chance, load.answer_tokens, load.longest_answer_tokens)
        prompt = min(load.longest_prompt_tokens, history + question)
        turns.append(TraceRequest(round(at, 3), prompt, answer))
        history += question + answer
        if chance.random() < 1.0 / load.mean_turns:
            break
        at += chance.expovariate(1.0 / load.pause_seconds)
    return turns


def _length(chance: random.Random, mean: int, longest: int) -> int:
    """Log-normal with the wanted mean and a coefficient of variation of 0.66, at least 4."""
    sigma = 0.6
    drawn = chance.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)
    return max(4, min(longest, round(drawn)))
