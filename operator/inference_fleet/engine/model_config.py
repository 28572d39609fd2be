"""A checkpoint's config.json as facts of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from inference_fleet.engine.model_facts import ModelFacts

# Names of one thing in the configurations of different families, the usual one first.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "numHiddenLayers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hiddenSize": ("hidden_size", "n_embd", "d_model"),
    "intermediateSize": ("intermediate_size", "ffn_hidden_size", "n_inner"),
    "numAttentionHeads": ("num_attention_heads", "n_head", "n_heads"),
    "numKeyValueHeads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "headDim": ("head_dim",),
    "vocabSize": ("vocab_size",),
    "maxPositionEmbeddings": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
    "torchDtype": ("torch_dtype", "dtype"),
    "tieWordEmbeddings": ("tie_word_embeddings",),
    "kvLoraRank": ("kv_lora_rank",),
    "qkRopeHeadDim": ("qk_rope_head_dim",),
    "indexHeadDim": ("index_head_dim",),
    "numLocalExperts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "numExpertsPerTok": ("num_experts_per_tok", "num_experts_per_token", "moe_top_k"),
    "moeIntermediateSize": ("moe_intermediate_size",),
    "sharedExpertWidth": ("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"),
    "firstDenseLayers": ("first_k_dense_replace",),
    "moeLayerStep": ("interleave_moe_layer_step", "decoder_sparse_step"),
    "globalHeadDim": ("global_head_dim",),
    "numGlobalKeyValueHeads": ("num_global_key_value_heads",),
}
_LETTERS = {
    "full_attention": "F",
    "attention": "F",
    "sliding_attention": "S",
    "chunked_attention": "C",
    "linear_attention": "L",
    "mamba": "M",
}
_WINDOWED = ("sliding_attention", "chunked_attention")


def facts_of_config(config: object) -> ModelFacts | str:
    """What the file says, or why it says nothing. A multimodal model's language part counts."""
    if not isinstance(config, Mapping):
        return "is not a JSON object"
    inner = config.get("text_config")
    text: Mapping[str, Any] = {**config, **inner} if isinstance(inner, Mapping) else config
    values = {name: _first(text, keys) for name, keys in _NAMES.items()}
    values |= _attention(text, layers=values["numHiddenLayers"]) | _latent(text) | _shared(text) | _state(text)
    if values["globalHeadDim"] is not None and not text.get("attention_k_eq_v"):
        # Only where keys are values have the full layers a number of heads of their own (vLLM's gemma4.py).
        values["numGlobalKeyValueHeads"] = values["numKeyValueHeads"]
    values |= _rotary(text, positions=values["maxPositionEmbeddings"])
    values |= _quantization(config.get("quantization_config") or text.get("quantization_config"))
    architectures = config.get("architectures")
    if isinstance(architectures, Sequence) and architectures and not isinstance(architectures, str):
        values["architecture"] = str(architectures[0])
    if values["numHiddenLayers"] is None or values["hiddenSize"] is None:
        return "names neither num_hidden_layers nor hidden_size: it is not the config.json of a language model"
    # A zero stands for "none" in these files (first_k_dense_replace, sliding_window).
    said = {name: value for name, value in values.items() if value is not None and (value != 0 or value is False)}
    try:
        return ModelFacts.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(str(part) for part in first['loc']) or 'the file'}: {first['msg']}"


def _first(config: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _attention(text: Mapping[str, Any], *, layers: Any) -> dict[str, Any]:
    kinds = text.get("layer_types")
    override = text.get("hybrid_override_pattern")
    found: dict[str, Any] = {}
    windowed = text.get("use_sliding_window") is not False
    if isinstance(override, str):
        found["layerPattern"] = override.replace("-", "E")
    elif isinstance(kinds, Sequence) and not isinstance(kinds, str):
        pattern = "".join(_LETTERS.get(str(kind), "F") for kind in kinds)
        found["layerPattern"] = pattern if set(pattern) != {"F"} else None
        windowed = any(kind in _WINDOWED for kind in kinds)
    elif isinstance(layers, int) and isinstance(step := text.get("full_attention_interval"), int) and step > 0:
        found["layerPattern"] = "".join("F" if (layer + 1) % step == 0 else "L" for layer in range(layers))
    if windowed:
        found["slidingWindow"] = text.get("sliding_window") or text.get("attention_chunk_size")
    return found


def _latent(text: Mapping[str, Any]) -> dict[str, Any]:
    """Heads of latent attention are as wide as their two parts."""
    rope, other = text.get("qk_rope_head_dim"), text.get("qk_nope_head_dim")
    return {"headDim": rope + other} if isinstance(rope, int) and isinstance(other, int) else {}


def _rotary(text: Mapping[str, Any], *, positions: Any) -> dict[str, Any]:
    """Linear scaling makes the table so many times longer; windowed layers of Gemma have one of their own."""
    scaling = text.get("rope_scaling") or text.get("rope_parameters")
    if isinstance(scaling, Mapping) and isinstance(scaling.get("full_attention"), Mapping):
        local, scaling = "sliding_attention" in scaling, scaling["full_attention"]
    else:
        local = text.get("rope_local_base_freq") is not None
    if not isinstance(scaling, Mapping) or not isinstance(positions, int):
        return {}
    factor = scaling.get("factor") if "linear" in (scaling.get("rope_type"), scaling.get("type")) else 1
    if not isinstance(factor, int | float) or factor < 1:
        return {}
    tables = factor + (1 if local else 0)
    return {"rotaryTablePositions": int(positions * tables)} if tables > 1 else {}


def _shared(text: Mapping[str, Any]) -> dict[str, Any]:
    count, width = text.get("n_shared_experts"), text.get("moe_intermediate_size")
    return {"sharedExpertWidth": count * width} if isinstance(count, int) and isinstance(width, int) else {}


def _state(text: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that a layer of gated delta net (Qwen3-Next) or Mamba 2 keeps of a sequence."""
    try:
        if text.get("linear_num_value_heads"):
            keys = text["linear_num_key_heads"] * text["linear_key_head_dim"]
            values = text["linear_num_value_heads"] * text["linear_value_head_dim"]
            convolution = (2 * keys + values) * (text["linear_conv_kernel_dim"] - 1)
            return _state_facts(values * text["linear_key_head_dim"], convolution, kept_as=text.get("mamba_ssm_dtype"))
        if text.get("mamba_num_heads"):
            inner, state = text["mamba_num_heads"] * text["mamba_head_dim"], text["ssm_state_size"]
            convolution = (inner + 2 * text["n_groups"] * state) * (text["conv_kernel"] - 1)
            # Nemotron's default (vLLM: NemotronHForCausalLMConfig).
            kept_as = text.get("mamba_ssm_cache_dtype") or "float32"
            return _state_facts(inner * state, convolution, kept_as=kept_as)
    except (KeyError, TypeError):
        return {}
    return {}


def _state_facts(recurrent: int, convolution: int, *, kept_as: Any) -> dict[str, Any]:
    found = {"stateElementsPerLayer": recurrent + convolution, "stateConvolutionElements": convolution}
    return {**found, "stateDtype": kept_as} if kept_as else found


def _quantization(config: object) -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {}
    weights = _compressed_weights(config)
    left_out = config.get("modules_to_not_convert") or config.get("ignore") or ()
    return {
        "quantizationMethod": config.get("quant_method"),
        "quantizationBits": config.get("bits") or config.get("w_bit") or weights.get("num_bits"),
        "quantizationGroupSize": config.get("group_size") or config.get("q_group_size") or weights.get("group_size"),
        "quantizedExpertsOnly": any("self_attn" in str(name) for name in left_out) or None,
    }


def _compressed_weights(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the first group of compressed-tensors, which all layers but the left-out ones have as a rule."""
    groups = config.get("config_groups")
    if not isinstance(groups, Mapping):
        return {}
    first = next((group for group in groups.values() if isinstance(group, Mapping)), {})
    weights = first.get("weights")
    return weights if isinstance(weights, Mapping) else {}
