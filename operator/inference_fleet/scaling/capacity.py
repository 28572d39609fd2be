"""How many requests one replica carries while the objectives hold."""

from __future__ import annotations

import math
from typing import Final

from inference_fleet.scaling.types import Limits, VariantLimits

# Without a measured mix: a chat's prompt is a few times as long as its answer (Azure 2023: 1155 and 211 tokens).
DEFAULT_PROMPT_PER_GENERATED: Final = 5.0
# Share of a replica's concurrency that is planned with; the rest absorbs uneven balancing and arrivals within a tick.
TARGET_UTILIZATION: Final = 0.75


def concurrent_requests(variant: VariantLimits, limits: Limits, *, prompt_per_generated: float | None) -> int:
    """The largest number of running requests whose predicted token pace meets the tightest objective, at least 1.

    In a steady state a step decodes n sequences and prefills n x (prompt per generated) tokens, so
    step(n) = b0 + n (b1 r + b2) <= threshold. Example: b0 15 ms, b1 50 us, b2 30 us, r 5, threshold 75 ms
    -> n <= 60 ms / 0.28 ms = 214; with maxNumSeqs 128 -> 128.
    """
    mix = DEFAULT_PROMPT_PER_GENERATED if prompt_per_generated is None else prompt_per_generated
    thresholds = [o.threshold_seconds for o in limits.objectives if o.metric == "InterTokenLatency"]
    bound = variant.max_num_seqs
    if thresholds:
        model = variant.step_time
        per_sequence = model.per_prefill_token_seconds * mix + model.per_decoding_sequence_seconds
        room = min(thresholds) - model.base_seconds
        bound = min(bound, math.floor(room / per_sequence) if per_sequence > 0 and room > 0 else 1)
    return max(1, bound)


def planned_requests(variant: VariantLimits, limits: Limits, *, prompt_per_generated: float | None) -> float:
    """What one replica is planned to carry: its concurrency less the headroom."""
    return concurrent_requests(variant, limits, prompt_per_generated=prompt_per_generated) * TARGET_UTILIZATION
