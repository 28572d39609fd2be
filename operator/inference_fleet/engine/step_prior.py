"""How long a step will probably take, before anything was measured: from the device's published figures and the shape.

A step reads all weights once, computes the prompt tokens in it and reads the cache of its running sequences. The
factors are the middle of published fits (Llama 3.1 8B on one H100: 6.5 and 7.5 ms a step, here 6.8; on one L40S: 22.6
ms, here 21.9; on one A100 80 GB: 16.4 ms, here 10.2; Llama 3.3 70B on four H100: 12.6 ms, here 15.6; its prefill:
76 us a token, here 71). Single fits of one model on one card differ by half: a prior, to be replaced by measurement.
"""

from __future__ import annotations

from inference_fleet.engine.case import Case
from inference_fleet.engine.memory import sequence_layout, weights_bytes
from inference_fleet.engine.parameter_count import counted_active_parameters
from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel
from inference_fleet.engine.weights import parameters_of

# Reading does not quite reach the datasheet's bandwidth; starting a step costs the same for every model.
READ_FACTOR = 1.1
STEP_OVERHEAD_SECONDS = 0.0015
# Reductions between devices, once there are several.
EXCHANGE_SECONDS = 0.0025
# Share of the dense peak that prefill reaches.
PREFILL_UTILIZATION = 0.5
# Prompt and answer so far of a running chat request, tokens (Azure 2023 conversations: 1155 and half of 211).
CONTEXT_TOKENS = 1260
GIGA = 1e9
TERA = 1e12


def step_time_prior(case: Case) -> StepTimeModel:
    """The model of this variant, or the general one where the device's figures or the model's size are not known."""
    performance = case.accelerator.performance
    bandwidth = performance.memory_bandwidth_gigabytes_per_second if performance else None
    teraflops = dense_teraflops(case)
    weights, parameters = weights_bytes(case), active_parameters(case)
    if not bandwidth or not teraflops or weights is None or parameters is None:
        return DEFAULT_STEP_TIME
    exchange = EXCHANGE_SECONDS if case.model_parallel_size > 1 else 0.0
    layout = sequence_layout(case)
    return StepTimeModel(
        base_seconds=weights / (bandwidth * GIGA) * READ_FACTOR + STEP_OVERHEAD_SECONDS + exchange,
        per_prefill_token_seconds=2 * parameters / case.model_parallel_size / (teraflops * TERA * PREFILL_UTILIZATION),
        per_decoding_sequence_seconds=(
            DEFAULT_STEP_TIME.per_decoding_sequence_seconds
            if layout is None
            else layout.sequence_bytes(CONTEXT_TOKENS) / (bandwidth * GIGA)
        ),
    )


def dense_teraflops(case: Case) -> int | None:
    """Peak of the device in the type that the weights are multiplied in."""
    performance = case.accelerator.performance
    peaks = (performance.dense_teraflops if performance else None) or {}
    own = case.facts.quantization_method if case.facts else None
    method = (case.engine.quantization.method if case.engine.quantization else own) or ""
    if method.startswith("fp8") and "fp8" in peaks:
        return peaks["fp8"]
    return peaks.get("bfloat16") or peaks.get("float16")


def active_parameters(case: Case) -> float | None:
    """Parameters that one token goes through; of a mixture of experts the chosen share. None: not known."""
    facts = case.facts
    parameters = parameters_of(facts) if facts else None
    if facts is None or parameters is None:
        return None
    if facts.active_parameters is not None:
        return float(facts.active_parameters)
    return float(counted_active_parameters(facts, parameters=parameters))
