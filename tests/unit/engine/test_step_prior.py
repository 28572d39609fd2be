"""The prior of a step's time: near published fits where figures are known, the general one where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.engine.catalogue import built_in_accelerators
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.step_time import DEFAULT_STEP_TIME, StepTimeModel

LLAMA_8B = {
    "numHiddenLayers": 32,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "headDim": 128,
    "maxPositionEmbeddings": 8192,
    "parameters": 8_030_261_248,
}
LLAMA_70B = {**LLAMA_8B, "numHiddenLayers": 80, "numAttentionHeads": 64, "parameters": 70_553_706_496}


def prior(name: str, *, shape: dict[str, Any] | None, **vllm: Any) -> StepTimeModel:
    model = {"huggingFace": {"repository": "org/model"}, **({"shape": shape} if shape else {})}
    accelerator = make_accelerator(**{"devices": None, **built_in_accelerators()[name]["spec"]})
    plan = check_variant(make_intent(model=model, engine={"vllm": vllm}), accelerator, accelerator_name=name).plan
    assert plan is not None
    return plan.step_time


@pytest.mark.parametrize(
    ("name", "shape", "devices", "published_seconds", "within"),
    [
        ("nvidia-h100-80gb", LLAMA_8B, 1, 0.00647, 0.1),
        ("nvidia-h100-80gb", LLAMA_8B, 1, 0.00747, 0.1),
        ("nvidia-l40s", LLAMA_8B, 1, 0.0226, 0.05),
        ("nvidia-a100-80gb", LLAMA_8B, 1, 0.0164, 0.4),
        ("nvidia-h100-80gb", LLAMA_70B, 4, 0.0126, 0.25),
    ],
)
def test_a_step_takes_about_what_was_published(
    name: str, shape: dict[str, Any], devices: int, published_seconds: float, within: float
) -> None:
    model = prior(name, shape=shape, parallelism={"tensorParallelSize": devices})

    assert model.base_seconds == pytest.approx(published_seconds, rel=within)


def test_prefill_of_a_large_model_takes_about_what_was_published() -> None:
    model = prior("nvidia-h100-80gb", shape=LLAMA_70B, parallelism={"tensorParallelSize": 4})

    assert model.per_prefill_token_seconds == pytest.approx(76.4e-6, rel=0.1)


def test_quantized_weights_and_a_smaller_cache_make_a_step_shorter() -> None:
    plain = prior("nvidia-h100-80gb", shape=LLAMA_8B)
    small = prior(
        "nvidia-h100-80gb",
        shape=LLAMA_8B,
        quantization={"method": "fp8_per_tensor"},
        kvCache={"kvCacheDtype": "fp8"},
    )

    assert small.base_seconds < plain.base_seconds
    assert small.per_prefill_token_seconds < plain.per_prefill_token_seconds
    assert small.per_decoding_sequence_seconds == pytest.approx(plain.per_decoding_sequence_seconds / 2)


def test_only_the_chosen_experts_count_in_prefill() -> None:
    experts = {**LLAMA_8B, "numLocalExperts": 8, "numExpertsPerTok": 2}

    dense, mixture = (prior("nvidia-h100-80gb", shape=shape) for shape in (LLAMA_8B, experts))
    assert mixture.per_prefill_token_seconds == pytest.approx(dense.per_prefill_token_seconds / 4)
    assert mixture.base_seconds == dense.base_seconds


@pytest.mark.parametrize(("name", "shape"), [("nvidia-h100-80gb", None), ("cpu", LLAMA_8B)])
def test_without_figures_or_size_it_is_the_general_one(name: str, shape: dict[str, Any] | None) -> None:
    assert prior(name, shape=shape) == DEFAULT_STEP_TIME
