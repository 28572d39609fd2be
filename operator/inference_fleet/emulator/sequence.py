"""One generation as the emulated scheduler sees it: how much is computed, how much is written, when what happened."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class FinishReason(enum.StrEnum):
    """Why a sequence ended; the values of vLLM's label `finished_reason`."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"
    REPETITION = "repetition"


@dataclass(slots=True, eq=False, kw_only=True)
class Sequence:
    """A request's one output sequence.

    Times are seconds on the caller's clock. `computed_tokens` counts tokens whose keys and values are in the cache;
    a preemption sets it back to 0 and keeps `output_tokens`, which are then computed again as if they were prompt.
    """

    prompt_tokens: int
    # How many tokens it will write in all, and what it then says: an emulated model knows its own ending.
    output_limit: int
    ends_with: FinishReason
    arrived_at: float
    # What the caller asked for (`max_tokens`), and how many sequences of its request there are (`n`).
    requested_tokens: int | None = None
    requested_n: int = 1
    # Smaller goes first under the priority policy.
    priority: int = 0

    computed_tokens: int = 0
    output_tokens: int = 0
    blocks: int = 0
    preemptions: int = 0
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    finished: FinishReason | None = None

    @property
    def tokens(self) -> int:
        """Prompt and output so far."""
        return self.prompt_tokens + self.output_tokens

    @property
    def pending_tokens(self) -> int:
        """Tokens that must pass through the model before it can write the next one; 1 while decoding."""
        return self.tokens - self.computed_tokens

    @property
    def is_decoding(self) -> bool:
        return self.output_tokens > 0 and self.pending_tokens == 1
