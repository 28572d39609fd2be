"""Settings that start, and may cost what they were meant to save."""

from __future__ import annotations

from collections.abc import Iterator

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Advice
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.checks.speculation import offered
from inference_fleet.engine.estimate import Roofline, full_sequences, roofline
from inference_fleet.engine.memory import memory_report

_METHOD_PATH = "engine.vllm.quantization.method"
_DEPTH_PATH = "engine.vllm.speculative"
# From here on devices multiply fp8; older ones unpack it to 16 bits first (vLLM's Marlin kernels).
_FP8_CAPABILITY = 89
# Methods that keep activations in 16 bits, so that every multiplication is one of 16 bits.
_WEIGHT_ONLY = ("awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "moe_wna16", "experts_int8")
_WEIGHT_ONLY_ONLINE = ("int8_per_channel_weight_only",)
_USUAL_DEPTH = 4
# Without figures of the device: many sequences at once leave little idle.
_MANY_SEQUENCES = 128


def weight_only(case: Case) -> Iterator[Finding]:
    """Small weights read faster; where multiplying is the limit they are no faster, and unpacking costs."""
    own = case.facts.quantization_method if case.facts else None
    method = case.engine.quantization.method if case.engine.quantization else own
    if method is None:
        return
    capability = case.capability
    if method.startswith("fp8") and capability is not None and capability < _FP8_CAPABILITY:
        message = (
            f"{method} runs weight-only on compute capability {case.accelerator.architecture}: it saves memory,"
            " and time where reading weights is the limit, but multiplies in 16 bits."
        )
        yield Advice(_METHOD_PATH, Reason.SAVES_MEMORY_ONLY, message)
        return
    roof = roofline(case)
    if method not in (*_WEIGHT_ONLY, *_WEIGHT_ONLY_ONLINE) or roof is None:
        return
    sequences = full_sequences(case, memory_report(case))
    if roof.compute_seconds(sequences) > roof.read_seconds(sequences):
        message = (
            f"{method} keeps activations in 16 bits: at {sequences} running sequences multiplying is the limit, and"
            " unpacked weights make that no faster."
        )
        way_out = "Fine where memory is meant; for throughput take a method that multiplies in 8 bits, such as fp8."
        yield Advice(_METHOD_PATH, Reason.MAY_COST_THROUGHPUT, message, way_out)


def speculation_at_full_batch(case: Case) -> Iterator[Finding]:
    """Guessed tokens are computed like others: free while the device waits for memory, dear once it does not."""
    speculative = offered(case)
    if speculative is None or speculative.num_speculative_tokens_per_batch_size:
        return
    roof = roofline(case)
    sequences = case.limits.max_num_seqs
    if roof is not None:
        sequences = full_sequences(case, memory_report(case))
    depth = speculative.num_speculative_tokens or _USUAL_DEPTH
    if not _costs(roof, sequences=sequences, depth=depth):
        return
    message = (
        f"at {sequences} running sequences {speculative.method} speculation with {depth} tokens usually costs"
        " throughput: a step then computes more than it reads."
    )
    way_out = "Set speculative.numSpeculativeTokensPerBatchSize with fewer tokens for large batches, or maxNumSeqs."
    yield Advice(_DEPTH_PATH, Reason.MAY_COST_THROUGHPUT, message, way_out)


def _costs(roof: Roofline | None, *, sequences: int, depth: int) -> bool:
    if roof is None:
        return sequences >= _MANY_SEQUENCES
    return roof.compute_seconds(sequences * (depth + 1)) > roof.read_seconds(sequences, tokens_each=depth + 1)
