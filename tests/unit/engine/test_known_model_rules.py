"""Rules that need to know the model: how far it can be split, what may draft for it, where its weights run."""

from __future__ import annotations

from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EngineResult

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
V100 = {"architecture": "7.0", "deviceMemory": "32Gi"}


def check(model: str, *, accelerator: dict[str, Any] | None = None, **vllm: Any) -> EngineResult:
    intent = make_intent(model={"huggingFace": {"repository": model}}, engine={"vllm": {"maxModelLen": 2048, **vllm}})
    return check_variant(intent, make_accelerator(**(accelerator or {})), accelerator_name="class")


def messages(result: EngineResult, path: str) -> list[str]:
    return [refusal.message for refusal in result.refusals if refusal.path == path]


@pytest.mark.parametrize(
    ("model", "devices", "words"),
    [
        ("Qwen/Qwen3-14B", 5, "vocabulary of 151936"),
        ("microsoft/phi-4", 4, "10 key-value heads"),
        ("Qwen/Qwen3-14B", 3, "40 attention heads"),
    ],
)
def test_a_model_is_split_only_as_its_matrices_allow(model: str, devices: int, words: str) -> None:
    found = messages(
        check(model, parallelism={"tensorParallelSize": devices}), "engine.vllm.parallelism.tensorParallelSize"
    )

    assert any(words in message for message in found), found


@pytest.mark.parametrize(
    ("model", "devices"),
    [("Qwen/Qwen3-14B", 8), ("microsoft/phi-4", 2), ("Qwen/Qwen3-8B", 4), ("Qwen/Qwen2.5-1.5B-Instruct", 4)],
)
def test_a_split_that_vllm_can_make_is_taken(model: str, devices: int) -> None:
    result = check(model, parallelism={"tensorParallelSize": devices})

    assert messages(result, "engine.vllm.parallelism.tensorParallelSize") == []


def test_a_draft_needs_the_vocabulary_of_its_target() -> None:
    def draft(name: str) -> dict[str, Any]:
        model = {"huggingFace": {"repository": name}}
        return {"method": "draft_model", "numSpeculativeTokens": 3, "model": model}

    path = "engine.vllm.speculative.model"
    (message,) = messages(check(LLAMA, speculative=draft("Qwen/Qwen3-0.6B")), path)
    assert "151936" in message
    assert "128256" in message
    assert messages(check(LLAMA, speculative=draft("meta-llama/Llama-3.2-1B-Instruct")), path) == []
    assert messages(check(LLAMA, speculative=draft("org/draft")), path) == []


def test_a_depth_by_batch_size_is_said_to_be_ignored_with_data_parallelism() -> None:
    depths = [{"minSeqs": 1, "maxSeqs": 1024, "numSpeculativeTokens": 2}]
    speculative = {"method": "ngram", "numSpeculativeTokens": 2, "numSpeculativeTokensPerBatchSize": depths}

    def advice(**parallelism: int) -> list[str]:
        result = check(LLAMA, speculative=speculative, parallelism=parallelism)
        return [each.reason for each in result.warnings]

    assert advice(dataParallelSize=2) == [Reason.IGNORED]
    assert advice(tensorParallelSize=2) == []


@pytest.mark.parametrize("model", ["Qwen/Qwen3-32B-FP8", "Qwen/Qwen3-8B-AWQ"])
def test_a_quantized_checkpoint_is_refused_where_its_method_does_not_run(model: str) -> None:
    (message,) = messages(check(model, accelerator=V100), "model")

    assert "needs compute capability 7.5 or newer; AcceleratorClass class has 7.0" in message
    assert messages(check(model), "model") == []


def shaped(architecture: str) -> dict[str, Any]:
    shape = {"architecture": architecture, "vocabSize": 128256, "numAttentionHeads": 12}
    return {"huggingFace": {"repository": "org/draft"}, "shape": shape}


@pytest.mark.parametrize(
    ("model", "speculative", "path", "words"),
    [
        (LLAMA, {"method": "mtp"}, "method", "no layers in LlamaForCausalLM"),
        (LLAMA, {"method": "mtp", "model": shaped("LlamaForCausalLM")}, "model", "LlamaForCausalLM has no layers"),
        (LLAMA, {"method": "eagle", "model": shaped("LlamaForCausalLMEagle3")}, "model", "no draft for eagle"),
        (LLAMA, {"method": "dflash", "model": shaped("LlamaForCausalLM")}, "model", "no draft for dflash"),
        ("zai-org/GLM-4.5-Air", {"method": "mtp"}, None, ""),
        (LLAMA, {"method": "mtp", "model": shaped("Gemma4AssistantForCausalLM")}, None, ""),
        (LLAMA, {"method": "eagle3", "model": shaped("LlamaForCausalLM")}, None, ""),
        (LLAMA, {"method": "eagle", "model": shaped("LlamaForCausalLM")}, None, ""),
    ],
)
def test_a_draft_is_one_that_was_made_for_the_method(
    model: str, speculative: dict[str, Any], path: str | None, words: str
) -> None:
    result = check(model, speculative={"numSpeculativeTokens": 3, **speculative}, parallelism={"tensorParallelSize": 4})
    found = [refusal for refusal in result.refusals if refusal.path.startswith("engine.vllm.speculative")]

    assert [refusal.path for refusal in found] == ([f"engine.vllm.speculative.{path}"] if path else [])
    assert all(words in refusal.message for refusal in found)


@pytest.mark.parametrize(("devices", "said", "refused"), [(8, None, True), (8, 1, False), (4, None, False)])
def test_a_drafts_heads_are_split_as_the_models_are(devices: int, said: int | None, refused: bool) -> None:
    speculative = {"method": "eagle3", "numSpeculativeTokens": 3, "model": shaped("LlamaForCausalLM")}
    speculative |= {"draftTensorParallelSize": said} if said else {}
    result = check(LLAMA, speculative=speculative, parallelism={"tensorParallelSize": devices})

    found = messages(result, "engine.vllm.speculative.draftTensorParallelSize")
    assert found == ([f"the draft's 12 attention heads cannot be split over {devices} devices."] if refused else [])


@pytest.mark.parametrize(
    ("model", "method", "words"),
    [
        (LLAMA, "awq", "loads checkpoints that are quantized; this one is not"),
        (LLAMA, "online", "online alone does not say how"),
        ("Qwen/Qwen3-8B-AWQ", "fp8_per_tensor", "is not how this checkpoint is quantized: awq"),
        (LLAMA, "fp8", None),
        (LLAMA, "fp8_per_tensor", None),
        ("Qwen/Qwen3-8B-AWQ", "awq_marlin", None),
        ("Qwen/Qwen3-8B-AWQ", "moe_wna16", None),
    ],
)
def test_a_method_reads_only_the_checkpoints_it_is_made_for(model: str, method: str, words: str | None) -> None:
    found = messages(check(model, quantization={"method": method}), "engine.vllm.quantization.method")

    assert len(found) == (words is not None)
    assert all(words is not None and words in message for message in found)


def test_a_quantized_checkpoint_computes_in_types_of_its_method() -> None:
    (message,) = messages(check("Qwen/Qwen3-8B-AWQ", dtype="float32"), "engine.vllm.dtype")

    assert message == "float32 does not go with quantization awq, which computes in float16 or bfloat16."


@pytest.mark.parametrize(("kind", "refused"), [("nvfp4", True), ("nvfp4_ds_mla", False), ("fp8", False)])
def test_a_latent_cache_has_types_of_its_own(kind: str, refused: bool) -> None:
    found = messages(
        check("deepseek-ai/DeepSeek-V3", kvCache={"kvCacheDtype": kind}), "engine.vllm.kvCache.kvCacheDtype"
    )

    assert bool(found) == refused
