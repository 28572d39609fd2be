"""config.json as facts: the usual names, the odd families, and files that are something else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.engine.model_catalogue import find_model
from inference_fleet.engine.model_config import facts_of_config
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.weights import loaded_weights_bytes, parameters_of, rotary_table_bytes

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def facts(**config: Any) -> ModelFacts:
    found = facts_of_config({**LLAMA, **config})
    assert isinstance(found, ModelFacts), found
    return found


def test_a_plain_model_reads_as_the_catalogue_has_it() -> None:
    known = find_model("meta-llama/Llama-3.1-8B-Instruct")
    assert known is not None
    read = facts()

    assert (read.architecture, read.key_value_width) == (known.architecture, known.key_value_width)
    assert parameters_of(read) == pytest.approx(known.parameters, rel=0.001)
    assert (read.full_attention_layers, read.windowed_layers) == (32, 0)


def test_other_families_names_are_understood() -> None:
    config = {"n_layer": 12, "n_embd": 768, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}
    found = facts_of_config(config)

    assert isinstance(found, ModelFacts)
    assert (found.num_hidden_layers, found.hidden_size, found.max_position_embeddings) == (12, 768, 1024)


def test_the_language_part_of_a_multimodal_model_counts() -> None:
    found = facts_of_config({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": LLAMA})

    assert isinstance(found, ModelFacts)
    assert (found.architecture, found.num_hidden_layers) == ("Gemma3ForConditionalGeneration", 32)


def test_windows_count_only_where_they_are_used() -> None:
    assert facts(sliding_window=4096).windowed_layers == 32
    assert facts(sliding_window=4096, use_sliding_window=False).windowed_layers == 0
    kinds = ["sliding_attention", "full_attention"] * 16
    alternating = facts(sliding_window=128, layer_types=kinds)
    assert (alternating.full_attention_layers, alternating.windowed_layers) == (16, 16)
    assert facts(sliding_window=128, layer_types=["full_attention"] * 32).windowed_layers == 0


def test_a_hybrid_s_state_is_counted() -> None:
    known = find_model("Qwen/Qwen3-Next-80B-A3B-Instruct")
    assert known is not None
    heads = {"linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_conv_kernel_dim": 4}
    widths = {"linear_key_head_dim": 128, "linear_value_head_dim": 128}
    found = facts(full_attention_interval=4, **heads, **widths)

    assert (found.full_attention_layers, found.state_layers) == (8, 24)
    assert found.state_elements_per_layer == known.state_elements_per_layer


def test_mamba_layers_are_told_from_experts() -> None:
    known = find_model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    assert known is not None
    assert known.layer_pattern is not None
    mamba = {"mamba_num_heads": 64, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4}
    found = facts(num_hidden_layers=len(known.layer_pattern), hybrid_override_pattern=known.layer_pattern, **mamba)

    assert found.full_attention_layers == known.full_attention_layers
    assert found.state_elements_per_layer == known.state_elements_per_layer


def test_latent_attention_and_shared_experts_are_read() -> None:
    latent = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128}
    experts = {"n_routed_experts": 256, "n_shared_experts": 1, "moe_intermediate_size": 2048}
    found = facts(**latent, **experts, num_experts_per_tok=8, first_k_dense_replace=3)

    assert (found.kv_lora_rank, found.key_value_width, found.shared_expert_width) == (512, 192, 2048)
    assert found.expert_layers == 29


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "rope_local_base_freq": 10000}, 9 * 131072),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 4 * 131072),
        (
            {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8}, "sliding_attention": {}}},
            9 * 131072,
        ),
        # Stretched within max_position_embeddings: no longer table.
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, None),
        ({"rope_scaling": {"rope_type": "linear", "factor": "8"}}, None),
        ({}, None),
    ],
)
def test_a_longer_rotary_table_is_read(config: dict[str, Any], positions: int | None) -> None:
    found = facts(max_position_embeddings=131072, **config)

    assert found.rotary_table_positions == positions
    width = found.key_value_width or 0
    assert rotary_table_bytes(found, dtype=None) == (positions or 131072) * width * 2


@pytest.mark.parametrize(
    ("config", "method", "bits", "group"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "awq", 4, 128),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8", None, None),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"num_bits": 4, "group_size": 32}}},
            },
            "compressed-tensors",
            4,
            32,
        ),
    ],
)
def test_how_a_checkpoint_is_quantized_is_read(
    config: dict[str, Any], method: str, bits: int | None, group: int | None
) -> None:
    found = facts(quantization_config=config)

    assert (found.quantization_method, found.quantization_bits, found.quantization_group_size) == (method, bits, group)
    plain = loaded_weights_bytes(facts(), dtype=None)
    small = loaded_weights_bytes(found, dtype=None)
    assert plain is not None
    assert small is not None
    assert small < plain * 0.6


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "not a JSON object"),
        ({"model_type": "clip"}, "num_hidden_layers"),
        ({**LLAMA, "num_hidden_layers": "many"}, "numHiddenLayers"),
        ({**LLAMA, "num_key_value_heads": 64}, "numKeyValueHeads"),
    ],
)
def test_a_file_of_another_kind_is_named_as_such(config: object, words: str) -> None:
    found = facts_of_config(config)

    assert isinstance(found, str)
    assert words in found


@given(
    key=st.sampled_from([*LLAMA, "layer_types", "quantization_config", "text_config", "sliding_window", "bits"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=4,
    ),
)
def test_whatever_stands_in_the_file_is_read_or_named(key: str, value: object) -> None:
    assert isinstance(facts_of_config({**LLAMA, key: value}), ModelFacts | str)
