"""How requests are put together: vLLM's hard rules on sequences and tokens of a step."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.flag_values import BadValue, read_value

_PATH = "engine.vllm.batching"


def tokens_per_step(case: Case) -> Iterator[Finding]:
    """Every running sequence takes one token of a step; without chunked prefill a whole prompt must fit into one."""
    limits = case.limits
    if limits.max_num_batched_tokens < limits.max_num_seqs:
        message = f"{limits.max_num_batched_tokens} tokens are fewer than maxNumSeqs {limits.max_num_seqs}."
        way_out = "Every running sequence takes one token of a step: raise it, or lower maxNumSeqs."
        yield Refusal(f"{_PATH}.maxNumBatchedTokens", Reason.CONFLICTING_SETTINGS, message, way_out)
    batching = case.engine.batching
    if batching is None or batching.enable_chunked_prefill is not False:
        return
    if limits.max_model_len is None or limits.max_num_batched_tokens < limits.max_model_len:
        length = limits.max_model_len or "an unknown maxModelLen"
        message = f"without it a step of {limits.max_num_batched_tokens} tokens must hold a whole prompt of {length}."
        way_out = "Set maxNumBatchedTokens to at least maxModelLen, or leave chunked prefill on."
        yield Refusal(f"{_PATH}.enableChunkedPrefill", Reason.CONFLICTING_SETTINGS, message, way_out)


def bounds(case: Case) -> Iterator[Finding]:
    """Limits that must not exceed other limits."""
    batching, limits = case.engine.batching, case.limits
    if batching is None:
        return
    if batching.max_num_active_seqs and batching.max_num_active_seqs > limits.max_num_seqs:
        message = f"{batching.max_num_active_seqs} exceeds maxNumSeqs {limits.max_num_seqs}."
        yield Refusal(f"{_PATH}.maxNumActiveSeqs", Reason.CONFLICTING_SETTINGS, message, "Lower it.")
    threshold = batching.long_prefill_token_threshold
    if threshold and limits.max_model_len and threshold > limits.max_model_len:
        message = f"{threshold} exceeds maxModelLen {limits.max_model_len}."
        yield Refusal(f"{_PATH}.longPrefillTokenThreshold", Reason.CONFLICTING_SETTINGS, message, "Lower it.")


def scheduling_policy(case: Case) -> Iterator[Finding]:
    """A policy that the release knows."""
    policy = case.engine.batching.scheduling_policy if case.engine.batching else None
    if policy is None:
        return
    value = read_value(case.version.flag("scheduling_policy"), policy)
    if isinstance(value, BadValue):
        yield Refusal(f"{_PATH}.schedulingPolicy", Reason.UNSUPPORTED_SETTING, f"{value.message}.")
