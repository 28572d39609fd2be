"""One engine of a fleet: its limits, and a handle on its row in the arrays of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference_fleet.engine.step_time import StepTimeModel


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """What limits one engine: seconds of a step, sequences and tokens in it, tokens in the cache; requests and prompt
    tokens in its queue, beyond which it turns requests away (None: it never does).
    """

    step_time: StepTimeModel
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    kv_cache_tokens: int = 400_000
    max_num_queued_reqs: int | None = None
    max_num_queued_tokens: int | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Replica:
    """A replica's life. row: its place in the engines' arrays while it lives; whole: that row's figures (see
    `engines`), a copy of the last ones after its end.
    """

    name: str
    variant: int
    engine: EngineModel
    created: float
    ready_at: float
    row: int
    whole: Any
    draining_since: float | None = None
    ended: float | None = None
