"""config.json of catalogued models, as far as vLLM needs it to build them: their facts in the family's own names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_fleet.engine.model_catalogue import find_model

_KINDS = {"S": "sliding_attention", "C": "chunked_attention", "F": "full_attention", "L": "linear_attention"}
_NAMES = {
    "numHiddenLayers": "num_hidden_layers",
    "hiddenSize": "hidden_size",
    "intermediateSize": "intermediate_size",
    "numAttentionHeads": "num_attention_heads",
    "numKeyValueHeads": "num_key_value_heads",
    "headDim": "head_dim",
    "vocabSize": "vocab_size",
    "maxPositionEmbeddings": "max_position_embeddings",
    "tieWordEmbeddings": "tie_word_embeddings",
    "kvLoraRank": "kv_lora_rank",
    "qkRopeHeadDim": "qk_rope_head_dim",
    "numLocalExperts": "num_local_experts",
    "numExpertsPerTok": "num_experts_per_tok",
    "moeIntermediateSize": "moe_intermediate_size",
    "slidingWindow": "sliding_window",
    "globalHeadDim": "global_head_dim",
    "numGlobalKeyValueHeads": "num_global_key_value_heads",
    "stateDtype": "mamba_ssm_dtype",
}
# Repository -> model_type and what its family wants beside or in place of the facts; None leaves a fact out, or is the
# file's own null. Where vLLM
# serves a vision model whose tower needs packages that a CPU build lacks, its language part is built alone.
_FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "meta-llama/Llama-3.1-8B-Instruct": ("llama", {}),
    "01-ai/Yi-34B": ("llama", {}),
    "HuggingFaceTB/SmolLM3-3B": ("smollm3", {"pad_token_id": 0, "no_rope_layer_interval": 4}),
    "Qwen/Qwen2.5-7B-Instruct": ("qwen2", {}),
    "Qwen/Qwen1.5-MoE-A2.7B": ("qwen2_moe", {"num_experts": 60, "num_local_experts": None}),
    "Qwen/Qwen3-8B": ("qwen3", {}),
    "Qwen/Qwen3-30B-A3B": ("qwen3_moe", {"num_experts": 128, "num_local_experts": None}),
    "Qwen/Qwen3-Next-80B-A3B-Instruct": (
        "qwen3_next",
        {
            "num_experts": 512,
            "num_local_experts": None,
            "linear_num_value_heads": 32,
            "linear_num_key_heads": 16,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_conv_kernel_dim": 4,
        },
    ),
    "mistralai/Mistral-7B-Instruct-v0.3": ("mistral", {"sliding_window": None}),
    "mistralai/Mixtral-8x7B-Instruct-v0.1": ("mixtral", {"sliding_window": None}),
    "google/gemma-7b": ("gemma", {}),
    "google/gemma-2-9b-it": ("gemma2", {"query_pre_attn_scalar": 256}),
    "google/gemma-3-1b-it": ("gemma3_text", {"query_pre_attn_scalar": 256}),
    "google/gemma-3-27b-it": ("gemma3_text", {"architectures": ["Gemma3ForCausalLM"]}),
    "google/gemma-4-26B-A4B-it": ("gemma4_text", {"architectures": ["Gemma4ForCausalLM"], "attention_k_eq_v": True}),
    "microsoft/phi-2": ("phi", {}),
    "microsoft/Phi-3-mini-4k-instruct": ("phi3", {"pad_token_id": 0}),
    "deepseek-ai/DeepSeek-V2-Lite-Chat": (
        "deepseek_v2",
        {"n_routed_experts": 64, "num_local_experts": None, "q_lora_rank": None},
    ),
    "deepseek-ai/DeepSeek-V3": (
        "deepseek_v3",
        {"n_routed_experts": 256, "num_local_experts": None, "q_lora_rank": 1536},
    ),
    "moonshotai/Kimi-K2-Instruct": (
        "deepseek_v3",
        {"n_routed_experts": 384, "num_local_experts": None, "q_lora_rank": 1536},
    ),
    "openai/gpt-oss-20b": ("gpt_oss", {}),
    "zai-org/GLM-4-9B-0414": ("glm4", {"pad_token_id": 0}),
    "zai-org/GLM-4.5-Air": ("glm4_moe", {"n_routed_experts": 128, "num_local_experts": None}),
    "zai-org/GLM-4.7-Flash": (
        "glm4_moe_lite",
        {
            "n_routed_experts": 64,
            "num_local_experts": None,
            "q_lora_rank": 768,
            "v_head_dim": 256,
            "first_k_dense_replace": 1,
        },
    ),
    "ibm-granite/granite-3.3-8b-instruct": ("granite", {}),
    "tiiuae/falcon-7b": ("falcon", {"multi_query": True, "head_dim": None}),
    "allenai/OLMo-2-1124-7B-Instruct": ("olmo2", {}),
    "allenai/Olmo-3.1-32B-Instruct": ("olmo3", {}),
    "CohereForAI/c4ai-command-r-v01": ("cohere", {}),
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": (
        "llama4_text",
        {
            "architectures": ["Llama4ForCausalLM"],
            "attention_chunk_size": 8192,
            "sliding_window": None,
            "intermediate_size_mlp": 16384,
            "intermediate_size": 8192,
        },
    ),
}
CONFIGURED_MODELS = tuple(_FAMILIES)


def model_config(repository: str) -> dict[str, Any]:
    """The file's content."""
    facts = find_model(repository)
    assert facts is not None, repository
    model_type, extra = _FAMILIES[repository]
    known = facts.model_dump(by_alias=True, exclude_none=True)
    config: dict[str, Any] = {name: known[ours] for ours, name in _NAMES.items() if ours in known}
    pattern = facts.layer_pattern or ""
    if pattern:
        config["layer_types"] = [_KINDS[letter] for letter in pattern]
    if facts.kv_lora_rank:
        rope = facts.qk_rope_head_dim or 0
        config |= {"qk_nope_head_dim": (config.pop("head_dim") or 0) - rope, "v_head_dim": 128}
    left_out = {name for name, value in extra.items() if value is None and name in config}
    config |= {"architectures": [facts.architecture], "model_type": model_type, "torch_dtype": "bfloat16", **extra}
    return {name: value for name, value in config.items() if name not in left_out}
