"""Right or refused: each rule with what it takes and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line
from inference_fleet.engine.engine_plan import EngineResult

CLASS = "h100"
LLAMA_8B = {
    "numHiddenLayers": 32,
    "hiddenSize": 4096,
    "numAttentionHeads": 32,
    "numKeyValueHeads": 8,
    "headDim": 128,
    "maxPositionEmbeddings": 131072,
    "parameters": 8_030_261_248,
    "torchDtype": "bfloat16",
}
HUB = {"repository": "org/model"}


def check(
    *, accelerator: dict[str, Any] | None = None, shape: dict[str, Any] | None = None, **vllm: Any
) -> EngineResult:
    model = {"huggingFace": HUB, **({"shape": shape} if shape else {})}
    intent = make_intent(model=model, engine={"vllm": vllm})
    return check_variant(intent, make_accelerator(**(accelerator or {})), accelerator_name=CLASS)


def depths(*ranges: tuple[int, int, int]) -> dict[str, Any]:
    rows = [{"minSeqs": low, "maxSeqs": high, "numSpeculativeTokens": depth} for low, high, depth in ranges]
    return {"method": "ngram", "numSpeculativeTokens": 4, "numSpeculativeTokensPerBatchSize": rows}


def refusals(result: EngineResult) -> list[tuple[str, str]]:
    assert (result.plan is None) == bool(result.refusals)
    return [(refusal.path, refusal.reason) for refusal in result.refusals]


def only(result: EngineResult) -> Refusal:
    assert len(result.refusals) == 1, result.refusals
    return result.refusals[0]


def test_a_plain_variant_gets_a_plan_whose_arguments_the_release_takes() -> None:
    result = check(shape=LLAMA_8B)

    assert refusals(result) == []
    assert result.warnings == ()
    assert result.plan is not None
    assert result.plan.image == "vllm/vllm-openai:v0.33.0"
    assert result.plan.devices_per_replica == 1
    assert result.plan.effective.max_model_len == 131072
    assert result.plan.shape_source == "spec"
    assert isinstance(parse_command_line("0.33.0", result.plan.args), ParsedCommandLine)


def test_an_unknown_release_is_the_only_finding() -> None:
    assert refusals(check(version="0.9.1", trustRemoteCode=True)) == [("engine.vllm.version", Reason.UNKNOWN_VERSION)]


def test_an_unknown_length_and_an_unread_patch_are_said_and_taken() -> None:
    result = check(version="0.33.9")

    expected = [Reason.VERSION_NOT_REVIEWED, Reason.LENGTH_UNKNOWN, Reason.SHAPE_UNKNOWN]
    assert [advice.reason for advice in result.warnings] == expected
    assert result.plan is not None
    assert result.plan.effective.max_model_len is None


@pytest.mark.parametrize(
    ("stored", "architecture", "wanted", "computed"),
    [
        ("bfloat16", "9.0", "float16", "bfloat16"),
        ("float16", "9.0", "bfloat16", "float16"),
        ("bfloat16", "9.0", "bfloat16", None),
        ("float32", "9.0", "float16", None),  # vLLM takes the type that the device prefers
        ("bfloat16", "7.5", "bfloat16", "float16"),  # no bfloat16 before 8.0: it computes in float16
        ("bfloat16", "7.5", "float16", None),
    ],
)
def test_a_16_bit_cache_is_of_the_type_that_the_checkpoint_computes_in(
    stored: str, architecture: str, wanted: str, computed: str | None
) -> None:
    model = {"huggingFace": {"repository": "org/model"}, "shape": {"torchDtype": stored}}
    intent = make_intent(model=model, engine={"vllm": {"version": "0.33.0", "kvCache": {"kvCacheDtype": wanted}}})
    found = check_variant(intent, make_accelerator(architecture=architecture), accelerator_name="class").refusals

    words = "" if computed is None else f"{wanted} must be the type that the model computes in, which is {computed}."
    assert [refusal.message for refusal in found] == ([words] if words else [])


@pytest.mark.parametrize(
    ("vllm", "path", "reason"),
    [
        ({"trustRemoteCode": True}, "trustRemoteCode", Reason.NOT_SUPPORTED_YET),
        ({"dtype": "int8"}, "dtype", Reason.UNSUPPORTED_SETTING),
        ({"maxModelLen": 200000}, "maxModelLen", Reason.OUT_OF_RANGE),
        ({"quantization": {"method": "gguf"}}, "quantization.method", Reason.UNSUPPORTED_SETTING),
        ({"quantization": {"method": "nvfp4_per_token"}}, "quantization.method", Reason.UNSUPPORTED_ON_ACCELERATOR),
        ({"quantization": {"method": "fbgemm_fp8"}}, "quantization.method", Reason.DEPRECATED),
        ({"quantization": {"method": "mxfp8"}, "dtype": "float32"}, "dtype", Reason.CONFLICTING_SETTINGS),
        ({"kvCache": {"kvCacheDtype": "int2"}}, "kvCache.kvCacheDtype", Reason.UNSUPPORTED_SETTING),
        (
            {"kvCache": {"kvCacheDtype": "bfloat16"}, "dtype": "float16"},
            "kvCache.kvCacheDtype",
            Reason.CONFLICTING_SETTINGS,
        ),
        (
            {"batching": {"maxNumSeqs": 512, "enableChunkedPrefill": False}},
            "batching.enableChunkedPrefill",
            Reason.CONFLICTING_SETTINGS,
        ),
        ({"batching": {"maxNumActiveSeqs": 2000}}, "batching.maxNumActiveSeqs", Reason.CONFLICTING_SETTINGS),
        (
            {"maxModelLen": 4096, "batching": {"longPrefillTokenThreshold": 5000}},
            "batching.longPrefillTokenThreshold",
            Reason.CONFLICTING_SETTINGS,
        ),
        ({"batching": {"schedulingPolicy": "lottery"}}, "batching.schedulingPolicy", Reason.UNSUPPORTED_SETTING),
        ({"speculative": {"method": "medusa"}}, "speculative.method", Reason.UNSUPPORTED_SETTING),
        ({"speculative": {"method": "custom_class"}}, "speculative.method", Reason.UNSUPPORTED_SETTING),
        ({"speculative": {"method": "suffix"}}, "speculative.method", Reason.UNSUPPORTED_SETTING),
        ({"speculative": {"method": "ngram"}}, "speculative.numSpeculativeTokens", Reason.CONFLICTING_SETTINGS),
        (
            {
                "speculative": {
                    "method": "eagle3",
                    "numSpeculativeTokens": 3,
                    "model": {"s3": {"uri": "s3://bucket/draft"}},
                }
            },
            "speculative.model.s3",
            Reason.NOT_SUPPORTED_YET,
        ),
        (
            {
                "parallelism": {"tensorParallelSize": 4},
                "speculative": {
                    "method": "eagle3",
                    "numSpeculativeTokens": 3,
                    "draftTensorParallelSize": 2,
                    "model": {"huggingFace": {"repository": "org/draft"}},
                },
            },
            "speculative.draftTensorParallelSize",
            Reason.CONFLICTING_SETTINGS,
        ),
        (
            {"speculative": depths((2, 8, 2))},
            "speculative.numSpeculativeTokensPerBatchSize",
            Reason.CONFLICTING_SETTINGS,
        ),
        (
            {"speculative": depths((1, 8, 5))},
            "speculative.numSpeculativeTokensPerBatchSize",
            Reason.CONFLICTING_SETTINGS,
        ),
        (
            {"batching": {"asyncScheduling": True}, "speculative": {"method": "ngram", "numSpeculativeTokens": 3}},
            "batching.asyncScheduling",
            Reason.CONFLICTING_SETTINGS,
        ),
        (
            {"parallelism": {"tensorParallelSize": 2, "enableExpertParallel": True}},
            "parallelism.enableExpertParallel",
            Reason.CONFLICTING_SETTINGS,
        ),
        ({"parallelism": {"dataParallelSize": 2}}, "parallelism.dataParallelSize", Reason.CONFLICTING_SETTINGS),
        ({"parallelism": {"tensorParallelSize": 16}}, "parallelism", Reason.TOO_MANY_DEVICES),
        ({"parallelism": {"tensorParallelSize": 3}}, "parallelism.tensorParallelSize", Reason.CONFLICTING_SETTINGS),
        ({"extraArgs": ["--max-num-seqs=4"]}, "extraArgs[0]", Reason.FLAG_NOT_ALLOWED),
        ({"extraArgs": ["--seed=1", "--middleware=x"]}, "extraArgs[1]", Reason.FLAG_NOT_ALLOWED),
        ({"extraArgs": ["--sead=1"]}, "extraArgs[0]", Reason.UNSUPPORTED_FLAG),
        ({"extraArgs": ["--trust-remote"]}, "extraArgs[0]", Reason.UNSUPPORTED_FLAG),
        ({"extraArgs": ["--seed=one"]}, "extraArgs[0]", Reason.OUT_OF_RANGE),
        ({"extraArgs": ["--seed"]}, "extraArgs[0]", Reason.OUT_OF_RANGE),
        ({"extraArgs": ["--numa-bind=true"]}, "extraArgs[0]", Reason.OUT_OF_RANGE),
        ({"extraArgs": ["--seed=1", "--seed=2"]}, "extraArgs[1]", Reason.CONFLICTING_SETTINGS),
        ({"extraArgs": ["--seed.deep=1"]}, "extraArgs[0]", Reason.UNSUPPORTED_FLAG),
        ({"extraArgs": ["--compilation-config={"]}, "extraArgs[0]", Reason.OUT_OF_RANGE),
    ],
)
def test_what_cannot_work_is_refused_at_its_field(vllm: dict[str, Any], path: str, reason: Reason) -> None:
    assert refusals(check(shape=LLAMA_8B, **vllm)) == [(f"engine.vllm.{path}", reason)]


@pytest.mark.parametrize(
    "vllm",
    [
        {"quantization": {"method": "fp8_per_tensor"}, "kvCache": {"kvCacheDtype": "fp8"}},
        {"quantization": {"method": "fbgemm_fp8"}, "extraArgs": ["--allow-deprecated-quantization"]},
        {
            "version": "0.32.0",
            "speculative": {
                "method": "medusa",
                "numSpeculativeTokens": 3,
                "model": {"huggingFace": {"repository": "org/draft"}},
            },
        },
        {"speculative": {"method": "suffix"}, "image": "registry.example.com/vllm-with-arctic:1"},
        {"quantization": {"method": "mxfp8"}, "dtype": "float16"},
        {"parallelism": {"tensorParallelSize": 2, "pipelineParallelSize": 2}},
        {"extraArgs": ["--compilation-config.mode=3", "--compilation-config.cudagraph_mode=FULL"]},
        {"extraArgs": ["--no-scheduler-reserve-full-isl", "--tool-call-parser=hermes", "--enable-auto-tool-choice"]},
        {"maxModelLen": 4096, "batching": {"maxNumBatchedTokens": 4096, "enableChunkedPrefill": False}},
    ],
)
def test_what_works_is_taken_and_its_arguments_too(vllm: dict[str, Any]) -> None:
    result = check(shape=LLAMA_8B, **vllm)

    assert refusals(result) == []
    assert result.plan is not None
    parsed = parse_command_line(result.plan.version, result.plan.args)
    assert isinstance(parsed, ParsedCommandLine), parsed


def test_a_removed_method_names_its_successor() -> None:
    assert "eagle3" in (only(check(speculative={"method": "medusa"})).suggestion or "")
    assert "compressed-tensors" in (only(check(quantization={"method": "gguf"})).suggestion or "")


def test_an_old_device_is_told_what_works_on_it() -> None:
    refusal = only(check(accelerator={"architecture": "7.0"}, quantization={"method": "fp8_per_tensor"}))

    assert refusal.message == ("fp8_per_tensor needs compute capability 7.5 or newer; AcceleratorClass h100 has 7.0.")
    assert "gptq" in (refusal.suggestion or "")
    assert "fp8_per_tensor" not in (refusal.suggestion or "")


def test_a_platform_that_cannot_run_a_method_says_why() -> None:
    cpu = {"platform": "CPU", "architecture": "x86_64", "devices": None}
    refusal = only(check(accelerator=cpu, quantization={"method": "fp8_per_tensor"}))

    assert (refusal.reason, "kernels" in refusal.message) == (Reason.UNSUPPORTED_ON_ACCELERATOR, True)


def test_a_platform_without_an_image_wants_one_named() -> None:
    xpu = {"platform": "XPU", "architecture": "bmg-g21"}

    assert only(check(accelerator=xpu)).path == "engine.vllm.image"
    assert refusals(check(accelerator=xpu, image="registry.example/vllm:1")) == []


def test_a_checkpoint_that_is_quantized_already_keeps_its_method() -> None:
    shape = {**LLAMA_8B, "quantizationMethod": "gptq"}

    assert refusals(check(shape=shape, quantization={"method": "gptq_marlin"})) == []
    assert only(check(shape=shape, quantization={"method": "awq"})).reason == Reason.CONFLICTING_SETTINGS


def test_replicas_on_cpu_ask_for_no_devices() -> None:
    cpu = {"platform": "CPU", "architecture": "x86_64", "devices": None}
    result = check(accelerator=cpu, parallelism={"tensorParallelSize": 2})

    assert result.plan is not None
    assert result.plan.devices_per_replica == 0
    assert result.plan.image == "vllm/vllm-openai-cpu:v0.33.0"


def test_weights_that_cannot_fit_are_refused_and_fit_when_they_are_spread_or_quantized() -> None:
    shape = {**LLAMA_8B, "parameters": 70_000_000_000}

    assert only(check(shape=shape, maxModelLen=2048)).reason == Reason.DOES_NOT_FIT
    assert refusals(check(shape=shape, maxModelLen=2048, parallelism={"tensorParallelSize": 2})) == []
    assert refusals(check(shape=shape, maxModelLen=2048, quantization={"method": "fp8_per_tensor"})) == []


def test_the_memory_of_a_known_model_is_reported() -> None:
    plan = check(shape=LLAMA_8B, parallelism={"tensorParallelSize": 2}).plan

    assert plan is not None
    assert plan.memory.verdict == "Fits"
    # Half of two bytes for each, and the rotary table of 131,072 positions, which is not split.
    assert plan.memory.weights_bytes == LLAMA_8B["parameters"] + 131072 * 128 * 2
    assert plan.memory.kv_bytes_per_token == 131072 // 2
    assert plan.memory.budget_bytes == 81079 * 2**20 * 92 // 100
    assert plan.kv_cache_tokens == plan.memory.kv_cache_tokens is not None


def test_every_message_is_a_sentence_and_names_a_way_out() -> None:
    result = check(
        version="0.33.0",
        dtype="int8",
        trustRemoteCode=True,
        quantization={"method": "hqq"},
        parallelism={"tensorParallelSize": 16},
        extraArgs=["--swap-space=4", "--host=x"],
    )

    assert len(result.refusals) == 6
    for refusal in result.refusals:
        assert refusal.message.endswith("."), refusal
