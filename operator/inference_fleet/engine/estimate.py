"""How fast a replica will roughly be, and what limits it: a roofline from the device's published figures.

A decoding step reads the weights and the cache of its sequences, or computes their tokens, whichever takes longer. No
engine reaches it exactly: seven of ten published measurements lie within `ERROR_PERCENT` (docs/explanation/speed.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from inference_fleet.engine.case import Case
from inference_fleet.engine.engine_plan import ESTIMATE_PROMPT_TOKENS, Bound, Estimate, MemoryReport
from inference_fleet.engine.memory import draft_bytes, sequence_layout, weights_bytes
from inference_fleet.engine.step_prior import (
    CONTEXT_TOKENS,
    EXCHANGE_SECONDS,
    GIGA,
    PREFILL_UTILIZATION,
    READ_FACTOR,
    STEP_OVERHEAD_SECONDS,
    TERA,
    active_parameters,
    dense_teraflops,
)
from inference_fleet.engine.weights import parameters_of

ERROR_PERCENT = 50
_OPERATIONS_PER_PARAMETER = 2
# Guesses a step that people begin with.
_USUAL_DEPTH = 3


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Seconds on one device: reading all weights, reading a sequence's cache, computing a token; fixed per step.

    touched: share of the weights that a step reads whatever its tokens; chosen: share of the rest that one token does.
    guess_seconds: of a draft's step, 0 where guesses come from the prompt.
    """

    weights_seconds: float
    cache_seconds: float
    token_seconds: float
    fixed_seconds: float
    guess_seconds: float
    touched: float
    chosen: float

    def read_seconds(self, sequences: int, *, tokens_each: int = 1) -> float:
        """Of a decoding step: the more tokens, the more of the experts."""
        experts = 1 - (1 - self.chosen) ** (sequences * tokens_each)
        weights = self.weights_seconds * (self.touched + (1 - self.touched) * experts)
        return weights + sequences * self.cache_seconds

    def compute_seconds(self, tokens: int) -> float:
        """Of so many tokens, prompt or answer."""
        return tokens * self.token_seconds

    def step_seconds(self, sequences: int, *, tokens_each: int = 1) -> float:
        """Of a decoding step; with several tokens of each sequence where guesses are verified."""
        read = self.read_seconds(sequences, tokens_each=tokens_each)
        return self.fixed_seconds + max(read, self.compute_seconds(sequences * tokens_each))

    def accepted_to_pay(self, sequences: int, *, depth: int) -> float:
        """Guesses that must come true in a step, on average, so that it yields as much a second as without them."""
        verified = self.step_seconds(sequences, tokens_each=depth + 1) + depth * self.guess_seconds
        return verified / self.step_seconds(sequences) - 1


def roofline(case: Case) -> Roofline | None:
    """None without the device's bandwidth and peak, or the model's size."""
    performance = case.accelerator.performance
    bandwidth = performance.memory_bandwidth_gigabytes_per_second if performance else None
    teraflops, weights, active = dense_teraflops(case), weights_bytes(case), active_parameters(case)
    if not bandwidth or not teraflops or weights is None or active is None or case.facts is None:
        return None
    layout = sequence_layout(case)
    parameters = parameters_of(case.facts) or active
    experts = min(1.0, (case.facts.expert_parameters or 0) / parameters)
    chosen = (case.facts.num_experts_per_tok or 1) / (case.facts.num_local_experts or 1)
    return Roofline(
        weights_seconds=weights / (bandwidth * GIGA) * READ_FACTOR,
        cache_seconds=layout.sequence_bytes(CONTEXT_TOKENS) / (bandwidth * GIGA) if layout else 0.0,
        token_seconds=_OPERATIONS_PER_PARAMETER
        * active
        / case.model_parallel_size
        / (teraflops * TERA * PREFILL_UTILIZATION),
        fixed_seconds=STEP_OVERHEAD_SECONDS + (EXCHANGE_SECONDS if case.model_parallel_size > 1 else 0.0),
        guess_seconds=(draft_bytes(case) or 0) / (bandwidth * GIGA) * READ_FACTOR,
        touched=1 - experts,
        chosen=min(1.0, chosen),
    )


def estimate(case: Case, memory: MemoryReport) -> Estimate | None:
    """The estimate for the sequences that the settings allow and the cache holds; None if too little is known."""
    roof = roofline(case)
    if roof is None:
        return None
    sequences = full_sequences(case, memory)
    one, full = roof.step_seconds(1), roof.step_seconds(sequences)
    replicas = case.processes // case.model_parallel_size
    speculative = case.engine.speculative
    depth = (speculative.num_speculative_tokens if speculative else None) or _USUAL_DEPTH
    steps = math.ceil(ESTIMATE_PROMPT_TOKENS / case.limits.max_num_batched_tokens)
    prompt = max(roof.compute_seconds(ESTIMATE_PROMPT_TOKENS), steps * roof.weights_seconds)
    return Estimate(
        bound_by=_bound(case, roof, sequences=sequences),
        time_to_first_token_seconds=steps * roof.fixed_seconds + prompt,
        inter_token_latency_at_one_seconds=one,
        inter_token_latency_at_full_seconds=full,
        tokens_per_second_at_one=1 / one,
        tokens_per_second_at_full=sequences * replicas / full,
        full_sequences=sequences * replicas,
        error_percent=ERROR_PERCENT,
        speculative_tokens=depth,
        accepted_to_pay_at_one=roof.accepted_to_pay(1, depth=depth),
        accepted_to_pay_at_full=roof.accepted_to_pay(sequences, depth=depth),
    )


def full_sequences(case: Case, memory: MemoryReport) -> int:
    """Sequences that decode at once on one copy of the weights: by the settings, or by what the cache holds."""
    allowed = case.limits.max_num_seqs
    layout = sequence_layout(case)
    if layout is None or memory.kv_cache_bytes is None:
        return allowed
    length = min(CONTEXT_TOKENS, case.limits.max_model_len or CONTEXT_TOKENS)
    return max(1, min(allowed, memory.kv_cache_bytes // max(1, layout.sequence_bytes(length))))


def _bound(case: Case, roof: Roofline, *, sequences: int) -> Bound:
    if sequences < case.limits.max_num_seqs:
        return "KVCapacity"
    return "Compute" if roof.compute_seconds(sequences) > roof.read_seconds(sequences) else "Bandwidth"
