"""Checkpoints that are a config.json and nothing else: vLLM checks a whole configuration against such a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from inference_fleet.engine.model_config import facts_of_config
from inference_fleet.engine.model_facts import ModelFacts

_DENSE: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "hidden_act": "silu",
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
_MIXTURE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "norm_topk_prob": True,
    "max_position_embeddings": 32768,
}
_LATENT = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "kv_lora_rank": 512,
    "q_lora_rank": 128,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
    "num_key_value_heads": 8,
    "num_nextn_predict_layers": 1,
    "max_position_embeddings": 16384,
}
# Six heads and a vocabulary that few devices divide; the same class as the first, which vLLM looks into once.
_ODD = {
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "hidden_size": 192,
    "vocab_size": 30000,
    "num_hidden_layers": 2,
}
# As large as a 70B: nothing of it is loaded.
_LARGE = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}
_INT8_WEIGHTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
_INT8_INPUTS = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
_METHODS: Mapping[str, Mapping[str, Any]] = {
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "compressed": {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "config_groups": {
            "group_0": {"targets": ["Linear"], "weights": _INT8_WEIGHTS, "input_activations": _INT8_INPUTS}
        },
    },
}

# What a variant serves. Repository -> config.json.
CHECKPOINTS: Mapping[str, Mapping[str, Any]] = {
    "org/dense": _DENSE,
    "org/mixture": {**_DENSE, **_MIXTURE},
    "org/latent": {**_DENSE, **_LATENT},
    "org/odd": {**_DENSE, **_ODD, "max_position_embeddings": 8192},
    "org/large": {**_DENSE, **_LARGE},
    **{
        f"org/dense-{name}": {**_DENSE, "torch_dtype": "float16" if name in ("awq", "gptq") else "bfloat16"}
        | {"quantization_config": method}
        for name, method in _METHODS.items()
    },
}
# What proposes tokens for org/dense.
DRAFTS: Mapping[str, Mapping[str, Any]] = {
    "org/small": {**_DENSE, "num_hidden_layers": 1},
    "org/other-words": {**_DENSE, "num_hidden_layers": 1, "vocab_size": 1000},
    "org/head": {
        **_DENSE,
        "architectures": ["LlamaForCausalLMEagle3"],
        "num_hidden_layers": 1,
        "draft_vocab_size": 8000,
    },
}


def write_checkpoints(folder: Path) -> None:
    """One folder for each repository, `folder/org/dense` and so on."""
    for repository, config in {**CHECKPOINTS, **DRAFTS}.items():
        path = folder / repository
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(config), encoding="utf-8")


@cache
def checkpoint_facts(repository: str) -> ModelFacts:
    """What the operator reads out of the config.json."""
    facts = facts_of_config({**CHECKPOINTS, **DRAFTS}[repository])
    assert isinstance(facts, ModelFacts), facts
    return facts
