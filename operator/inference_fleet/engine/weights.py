"""How many bytes a model's weights take on the fullest device of a replica."""

from __future__ import annotations

from dataclasses import dataclass

from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.parameter_count import counted_parameters

_TYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}
_HALF_BYTES = 2
# Bits of methods whose name leaves no choice (vLLM's quantization configurations).
_BITS_BY_METHOD = {"fp8": 8, "fbgemm_fp8": 8, "mxfp8": 8, "mxfp4": 4, "gpt_oss_mxfp4": 4, "awq": 4, "auto_awq": 4}
# Formats with a scale of one byte for so many weights.
_BYTE_SCALES = {"mxfp4": 32, "gpt_oss_mxfp4": 32, "mxfp8": 32}
_NVFP4_GROUP = 16
_SCALE_BITS = 16
# The kernels of mxfp4 fill an expert's width up (gpt-oss: 2880 becomes 3072).
_MXFP4_WIDTH = 256
# Weights quantized while loading, bytes a parameter: mxfp4 and nvfp4 with a scale for each 32 or 16.
_ONLINE_BYTES = {"mxfp4": 0.53125, "nvfp4_per_token": 0.5625, "mxfp8": 1.03125}
_ONLINE_BYTES_OTHERS = 1.0


@dataclass(frozen=True, kw_only=True)
class Split:
    """How weights are spread: devices a layer is split over, stages, devices the experts are spread over."""

    tensor: int = 1
    pipeline: int = 1
    expert: int = 1


def activation_type_bytes(dtype: str | None) -> int:
    """Bytes of a number as the engine computes with it. `auto` halves float32 checkpoints too."""
    return _TYPE_BYTES.get(dtype or "", _HALF_BYTES)


def loaded_weights_bytes(
    facts: ModelFacts | None, *, dtype: str | None, online_method: str | None = None, split: Split | None = None
) -> int | None:
    """The weights on the fullest device, after they are loaded; None if neither size nor number is known.

    online_method: quantization while loading, of an unquantized checkpoint.
    """
    split = split or Split()
    if facts is None:
        return None
    type_bytes = activation_type_bytes(dtype)
    parameters = parameters_of(facts)
    if facts.quantization_method is not None:
        total = facts.weights_bytes or _quantized_bytes(facts, type_bytes=type_bytes)
    elif parameters is None:
        total = None
    elif online_method is not None:
        body = parameters - facts.embedding_parameters
        total = int(body * _ONLINE_BYTES.get(online_method, _ONLINE_BYTES_OTHERS))
        total += facts.embedding_parameters * type_bytes
    else:
        total = parameters * type_bytes
    return None if total is None else _fullest(facts, total=total, type_bytes=type_bytes, split=split)


def rotary_table_bytes(facts: ModelFacts | None, *, dtype: str | None) -> int:
    """Sines and cosines of all positions, whole on each device and logged as weights; 0 if unknown.

    Gemma 3 12B: (8 + 1) x 131,072 positions of 256 numbers are 0.56 GiB (vLLM's linear_scaling_rope.py).
    """
    if facts is None:
        return 0
    positions = facts.rotary_table_positions or facts.max_position_embeddings or 0
    width = facts.qk_rope_head_dim or facts.key_value_width or 0
    return positions * width * activation_type_bytes(dtype)


def parameters_of(facts: ModelFacts) -> int | None:
    """Their number; else from the size of an unquantized checkpoint's files; else counted from the shape."""
    if facts.parameters is None and facts.weights_bytes and facts.quantization_method is None:
        return facts.weights_bytes // _TYPE_BYTES.get(facts.torch_dtype or "", _HALF_BYTES)
    return counted_parameters(facts) if facts.parameters is None else facts.parameters


def _quantized_bytes(facts: ModelFacts, *, type_bytes: int) -> int | None:
    method = facts.quantization_method or ""
    bits = facts.quantization_bits or _BITS_BY_METHOD.get(method)
    parameters = parameters_of(facts)
    if parameters is None or bits is None:
        return None
    per_weight = bits / 8
    group = facts.quantization_group_size
    if method in _BYTE_SCALES:
        per_weight += 1 / _BYTE_SCALES[method]
    elif group and group <= _NVFP4_GROUP:
        per_weight += 1 / group
    elif group:
        # A scale in 16 bits and a zero point as wide as a weight, for each group.
        per_weight += (_SCALE_BITS + bits) / 8 / group
    quantized = parameters - facts.embedding_parameters
    if facts.quantized_experts_only:
        experts = facts.expert_parameters
        if experts is None:
            return None
        quantized = experts
    others = parameters - quantized
    width = facts.moe_intermediate_size
    if method in _BYTE_SCALES and width:
        per_weight *= -(-width // _MXFP4_WIDTH) * _MXFP4_WIDTH / width
    return int(quantized * per_weight + others * type_bytes)


def _fullest(facts: ModelFacts, *, total: int, type_bytes: int, split: Split) -> int:
    """Embeddings stand on the first or last stage, experts may be spread further than the rest."""
    embeddings = min(total, facts.embedding_parameters * type_bytes)
    body = total - embeddings
    experts = 0
    parameters = parameters_of(facts)
    if split.expert > split.tensor and facts.expert_parameters and parameters:
        experts = int(body * min(1.0, facts.expert_parameters / (parameters - facts.embedding_parameters)))
    on_device = (body - experts) / split.tensor + experts / max(split.expert, split.tensor)
    if split.pipeline > 1:
        layers = facts.num_hidden_layers or split.pipeline
        on_device *= -(-layers // split.pipeline) / layers
        if not facts.tie_word_embeddings:
            embeddings //= 2
    return int(on_device + embeddings / split.tensor)
