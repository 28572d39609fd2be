"""What is certain about device memory before anything runs: the budget, the least of the weights, the cache per token.

What only a run or a fitted model tells (activations, graphs, the cache that is left) is not guessed here: the verdict
stays Unknown unless the weights alone cannot fit.
"""

from __future__ import annotations

from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.engine.case import Case
from inference_fleet.engine.engine_plan import MemoryReport

_TYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
# The least a parameter can take where weights are quantized while loading: mxfp4 has 4 bits and a scale per 32.
_LEAST_BYTES_ONLINE = {"mxfp4": 0.53, "nvfp4_per_token": 0.53, "online": 0.53}
_LEAST_BYTES_ONLINE_OTHERS = 1.0
_CACHE_TYPE_BYTES = {"auto": 2, "float16": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


def memory_report(case: Case) -> MemoryReport:
    """Bytes of one device of a replica."""
    device = case.accelerator.device_memory_bytes
    budget = device * case.limits.gpu_memory_utilization_percent // 100
    weights = least_weights_bytes(case)
    return MemoryReport(
        verdict="Refused" if weights is not None and weights > budget else "Unknown",
        device_bytes=device,
        budget_bytes=budget,
        weights_bytes=weights,
        kv_bytes_per_token=cache_bytes_per_token(case),
    )


def least_weights_bytes(case: Case) -> int | None:
    """The least that the weights take on one device; None if neither their size nor their number is known."""
    shape = case.shape
    if shape is None:
        return None
    stored = _stored_bytes(shape)
    quantization = case.engine.quantization
    method = case.version.quantization.get(quantization.method) if quantization else None
    if method is not None and method.online and shape.quantization_method is None:
        least = _LEAST_BYTES_ONLINE.get(method.method, _LEAST_BYTES_ONLINE_OTHERS)
        parameters = shape.parameters or (stored // _stored_type_bytes(shape) if stored else None)
        stored = int(parameters * least) if parameters else None
    return stored // case.model_parallel_size if stored else None


def _stored_bytes(shape: ModelShape) -> int | None:
    if shape.weights_bytes:
        return shape.weights_bytes
    # Bytes of a quantized checkpoint do not follow from the number of its parameters.
    if shape.parameters and shape.quantization_method is None:
        return shape.parameters * _stored_type_bytes(shape)
    return None


def _stored_type_bytes(shape: ModelShape) -> int:
    return _TYPE_BYTES.get(shape.torch_dtype or "", 2)


def cache_bytes_per_token(case: Case) -> int | None:
    """What full attention keeps of a token on one device (vLLM's AttentionSpec); None if the shape does not say.

    Layers with a window or a state instead keep less: this is the most.
    """
    shape = case.shape
    cache_type = (case.engine.kv_cache.kv_cache_dtype if case.engine.kv_cache else None) or "auto"
    size = _CACHE_TYPE_BYTES.get(cache_type)
    if shape is None or shape.num_hidden_layers is None or size is None:
        return None
    if cache_type == "auto" and case.engine.dtype in ("float32", "float"):
        size = _TYPE_BYTES["float32"]
    stages = case.model_parallel_size // case.tensor_parallel_size
    layers = -(-shape.num_hidden_layers // stages)
    if shape.kv_lora_rank:
        # Latent attention: one vector for all heads, the same on every device.
        return layers * (shape.kv_lora_rank + (shape.qk_rope_head_dim or 0)) * size
    heads = shape.num_key_value_heads or shape.num_attention_heads
    width = shape.head_dim or (
        shape.hidden_size // shape.num_attention_heads if shape.hidden_size and shape.num_attention_heads else None
    )
    if heads is None or width is None:
        return None
    return layers * 2 * max(1, heads // case.tensor_parallel_size) * width * size
