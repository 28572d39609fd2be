"""Will it fit, and how much? Bytes of one device of a replica, before anything runs."""

from __future__ import annotations

from inference_fleet.engine.cache_layout import CacheLayout, cache_layout
from inference_fleet.engine.case import Case
from inference_fleet.engine.engine_plan import MemoryReport, MemoryVerdict
from inference_fleet.engine.memory_overhead import UNCERTAIN_BYTES, MemoryOverhead, memory_overhead
from inference_fleet.engine.model_catalogue import catalogued
from inference_fleet.engine.model_facts import ModelFacts, with_shape
from inference_fleet.engine.weights import Split, loaded_weights_bytes, rotary_table_bytes

# The shortest sequence that an engine with a fitted length must hold: one block.
_LEAST_TOKENS = 16
# Speculation that waits for the step before it.
_IN_STEP_METHODS = frozenset({"ngram", "suffix", "medusa", "mlp_speculator"})
# Where nothing says how long sequences may be, the cache is counted in sequences of this length.
_USUAL_TOKENS = 8192


def memory_report(case: Case) -> MemoryReport:
    """The verdict with everything it rests on. Unknown where the shape does not say enough, or on a CPU."""
    device = case.accelerator.device_memory_bytes
    budget = device * case.limits.gpu_memory_utilization_percent // 100
    weights, draft, layout = resident_weights_bytes(case), draft_bytes(case), sequence_layout(case)
    if case.facts is None or weights is None or draft is None or layout is None or case.platform == "CPU":
        return MemoryReport(
            verdict="Refused" if weights is not None and weights > budget else "Unknown",
            device_bytes=device,
            budget_bytes=budget,
            weights_bytes=weights,
            draft_model_bytes=draft,
            kv_bytes_per_token=None if layout is None else layout.bytes_per_token(_tokens(case)),
        )
    overhead = memory_overhead(case, case.facts)
    left = budget - weights - draft - overhead.total_bytes
    return _report(case, layout=layout, overhead=overhead, weights=weights, draft=draft, left=left)


def _report(
    case: Case, *, layout: CacheLayout, overhead: MemoryOverhead, weights: int, draft: int, left: int
) -> MemoryReport:
    device = case.accelerator.device_memory_bytes
    most = (case.facts.max_position_embeddings if case.facts else None) or case.limits.max_model_len
    longest = layout.longest_sequence(max(0, left), at_most=most or _USUAL_TOKENS)
    # Without a given length the engine takes what fits.
    length = case.limits.max_model_len or max(_LEAST_TOKENS, longest)
    replicas = case.processes // case.model_parallel_size
    concurrency = max(0, left) / layout.sequence_bytes(length) * replicas
    return MemoryReport(
        verdict=_verdict(left, needed=layout.sequence_bytes(case.limits.max_model_len or _LEAST_TOKENS)),
        device_bytes=device,
        budget_bytes=device * case.limits.gpu_memory_utilization_percent // 100,
        weights_bytes=weights,
        activation_bytes=overhead.activation_bytes,
        cuda_graph_bytes=overhead.cuda_graph_bytes,
        runtime_bytes=overhead.runtime_bytes,
        draft_model_bytes=draft,
        lora_bytes=0,
        kv_cache_bytes=max(0, left),
        kv_bytes_per_token=layout.bytes_per_token(length),
        kv_cache_tokens=int(concurrency * length),
        concurrency_at_max_model_len=round(concurrency, 2),
        largest_max_model_len=longest,
    )


def _verdict(left: int, *, needed: int) -> MemoryVerdict:
    if left + UNCERTAIN_BYTES < needed:
        return "Refused"
    return "Tight" if left - UNCERTAIN_BYTES < needed else "Fits"


def _tokens(case: Case) -> int:
    known = case.facts.max_position_embeddings if case.facts else None
    return case.limits.max_model_len or known or _USUAL_TOKENS


def safe_max_model_len(case: Case, report: MemoryReport) -> int:
    """The longest sequence that fits even if the estimate is off by what it may be; 0 if none does or none is known."""
    layout = sequence_layout(case)
    if layout is None or report.kv_cache_bytes is None or report.largest_max_model_len is None:
        return 0
    return layout.longest_sequence(report.kv_cache_bytes - UNCERTAIN_BYTES, at_most=report.largest_max_model_len)


def weights_bytes(case: Case) -> int | None:
    """What a step reads: the model's weights on the fullest device; None if they are not known."""
    return loaded_weights_bytes(
        case.facts, dtype=case.engine.dtype, online_method=_online_method(case), split=_split(case)
    )


def resident_weights_bytes(case: Case) -> int | None:
    """What stays on the fullest device once the model is loaded: its weights and its rotary tables."""
    weights = weights_bytes(case)
    return None if weights is None else weights + rotary_table_bytes(case.facts, dtype=case.engine.dtype)


def _online_method(case: Case) -> str | None:
    method = case.version.quantization.get(case.engine.quantization.method) if case.engine.quantization else None
    return method.method if method is not None and method.online else None


def _split(case: Case) -> Split:
    parallel = case.engine.parallelism
    spread = parallel is not None and parallel.enable_expert_parallel
    stages = case.model_parallel_size // case.tensor_parallel_size
    return Split(
        tensor=case.tensor_parallel_size,
        pipeline=stages,
        expert=case.processes // stages if spread else case.tensor_parallel_size,
    )


def sequence_layout(case: Case) -> CacheLayout | None:
    """What a sequence takes on one device, the draft's part included; None if it is not known."""
    layout = _layout(case, case.facts, prediction_layers=_prediction_layers(case))
    draft = _layout(case, draft_facts(case))
    return layout.beside(draft) if layout is not None and draft is not None else layout


def _layout(case: Case, facts: ModelFacts | None, *, prediction_layers: int = 0) -> CacheLayout | None:
    return cache_layout(
        facts,
        dtype=case.engine.dtype,
        cache_type=case.engine.kv_cache.kv_cache_dtype if case.engine.kv_cache else None,
        tensor=case.tensor_parallel_size,
        pipeline=case.model_parallel_size // case.tensor_parallel_size,
        in_flight_tokens=_steps_in_flight(case) * case.limits.max_num_batched_tokens,
        states=_states(case),
        prediction_layers=prediction_layers,
    )


def _prediction_layers(case: Case) -> int:
    """Of a checkpoint that predicts several tokens itself: one, which is run again for each further token."""
    speculative = case.engine.speculative
    return 1 if speculative and speculative.model is None and speculative.method.endswith("mtp") else 0


def _steps_in_flight(case: Case) -> int:
    """A step for each stage, and one that is prepared while another runs (VllmConfig.max_concurrent_batches)."""
    batching, speculative = case.engine.batching, case.engine.speculative
    ahead = batching.async_scheduling if batching else None
    if ahead is None:
        ahead = speculative is None or speculative.method not in _IN_STEP_METHODS
    return case.model_parallel_size // case.tensor_parallel_size + (1 if ahead else 0)


def _states(case: Case) -> int:
    """Of one sequence: the present one, the one that a cached prefix may need, one for each guessed token."""
    cache, speculative = case.engine.kv_cache, case.engine.speculative
    cached = 0 if cache and cache.enable_prefix_caching is False else 1
    return 1 + cached + ((speculative.num_speculative_tokens if speculative else None) or 0)


def draft_facts(case: Case) -> ModelFacts | None:
    """What is known of the draft; None without one."""
    speculative = case.engine.speculative
    if speculative is None or speculative.model is None:
        return None
    return with_shape(catalogued(speculative.model), speculative.model.shape)


def draft_bytes(case: Case) -> int | None:
    """The draft's weights on one device: 0 without a draft of its own, None if it has an unknown one."""
    speculative = case.engine.speculative
    if speculative is None:
        return 0
    if speculative.model is None:
        # A prediction layer is about as large as one of the model's own.
        whole, layers = weights_bytes(case), case.facts.num_hidden_layers if case.facts else None
        return whole // layers * _prediction_layers(case) if whole is not None and layers else 0
    devices = speculative.draft_tensor_parallel_size or case.tensor_parallel_size
    return loaded_weights_bytes(draft_facts(case), dtype=case.engine.dtype, split=Split(tensor=devices))
