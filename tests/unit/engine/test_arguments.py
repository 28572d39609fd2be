"""From what the user said to the argument list: every typed field, in every release, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from builders.intents import TYPE_CACHE_AND_BATCHING, make_accelerator, make_intent
from inference_fleet.api.vllm_engine import VllmSettings
from inference_fleet.engine.arguments import engine_arguments, engine_environment
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions

EVERYTHING: dict[str, Any] = {
    **TYPE_CACHE_AND_BATCHING,
    "speculative": {
        "method": "draft_model",
        "numSpeculativeTokens": 4,
        "numSpeculativeTokensPerBatchSize": [
            {"minSeqs": 1, "maxSeqs": 8, "numSpeculativeTokens": 4},
            {"minSeqs": 9, "maxSeqs": 256, "numSpeculativeTokens": 0},
        ],
        "draftTensorParallelSize": 1,
        "model": {"huggingFace": {"repository": "org/draft", "revision": "abc"}},
    },
    "parallelism": {
        "tensorParallelSize": 2,
        "pipelineParallelSize": 2,
        "dataParallelSize": 1,
        "enableExpertParallel": False,
    },
    "enforceEager": False,
    "optimizationLevel": 1,
    "extraArgs": ["--seed=7", "--no-enable-log-requests"],
}
# What the argument list says of them, by vLLM's own names.
EXPECTED = {
    "model": "org/model",
    "revision": "0e9e39f2",
    "served_model_name": ["chat", "chat-large"],
    "host": "0.0.0.0",
    "port": 8000,
    "shutdown_timeout": 300,
    "dtype": "bfloat16",
    "max_model_len": 8192,
    "quantization": "fp8_per_tensor",
    "kv_cache_dtype": "fp8",
    "gpu_memory_utilization": 0.9,
    "enable_prefix_caching": False,
    "block_size": 32,
    "max_num_seqs": 256,
    "max_num_active_seqs": 128,
    "max_num_batched_tokens": 8192,
    "enable_chunked_prefill": True,
    "long_prefill_token_threshold": 4096,
    "max_num_queued_reqs": 512,
    "max_num_queued_tokens": 500000,
    "scheduling_policy": "priority",
    "async_scheduling": False,
    "speculative_config": {
        "method": "draft_model",
        "model": "org/draft",
        "revision": "abc",
        "num_speculative_tokens": 4,
        "num_speculative_tokens_per_batch_size": [[1, 8, 4], [9, 256, 0]],
        "draft_tensor_parallel_size": 1,
    },
    "tensor_parallel_size": 2,
    "pipeline_parallel_size": 2,
    "data_parallel_size": 1,
    "enable_expert_parallel": False,
    "enforce_eager": False,
    "optimization_level": "1",
    "seed": 7,
    "enable_log_requests": False,
}


def arguments(**spec: Any) -> tuple[str, ...]:
    intent = make_intent(**spec)
    version = engine_version(intent.engine.version)
    assert isinstance(version, EngineVersion)
    limits = effective_limits(intent.engine, version=version, accelerator=make_accelerator(), shape=intent.model.shape)
    return engine_arguments(intent, limits=limits)


def everything(version: str) -> tuple[str, ...]:
    return arguments(
        engine={"vllm": {"version": version, **EVERYTHING}},
        model={"huggingFace": {"repository": "org/model", "revision": "0e9e39f2"}},
        servedModelNames=["chat", "chat-large"],
        drain={"timeoutSeconds": 300},
    )


def read(version: str, argv: tuple[str, ...]) -> dict[str, object]:
    parsed = parse_command_line(version, argv)
    assert isinstance(parsed, ParsedCommandLine), parsed
    return parsed.values


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Paths of a model's own fields; nested models are walked, checkpoints and lists are leaves."""
    for field in model.model_fields.values():
        name = f"{prefix}{field.alias}"
        nested = [kind for kind in getattr(field.annotation, "__args__", ()) if isinstance(kind, type)]
        inner = next((kind for kind in nested if issubclass(kind, BaseModel) and kind.__name__ != "Checkpoint"), None)
        yield from leaves(inner, f"{name}.") if inner else [name]


@pytest.mark.parametrize("version", known_versions())
def test_every_typed_field_reaches_the_command_line_and_the_release_takes_it(version: str) -> None:
    found = read(version, everything(version))

    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


def test_the_test_above_says_every_field_there_is() -> None:
    said = {path for path in leaves(VllmSettings) if _said(path)}
    # An n-gram's window cannot stand beside a draft; image and trustRemoteCode are no flags.
    elsewhere = {"speculative.promptLookupMax", "speculative.promptLookupMin", "image", "trustRemoteCode"}

    assert set(leaves(VllmSettings)) - said == elsewhere


def _said(path: str) -> bool:
    node: Any = EVERYTHING
    for part in path.split("."):
        if part not in node:
            return False
        node = node[part]
    return True


@pytest.mark.parametrize("version", known_versions())
def test_the_windows_of_an_ngram_reach_the_command_line(version: str) -> None:
    ngram = {"method": "ngram", "numSpeculativeTokens": 4, "promptLookupMax": 4, "promptLookupMin": 2}
    found = read(version, arguments(engine={"vllm": {"version": version, "speculative": ngram}}))

    assert found["speculative_config"] == {
        "method": "ngram",
        "num_speculative_tokens": 4,
        "prompt_lookup_max": 4,
        "prompt_lookup_min": 2,
    }


def test_the_same_intent_gives_the_same_list() -> None:
    assert everything("0.33.0") == everything("0.33.0")


def test_the_four_limits_are_passed_where_nothing_is_said_and_the_length_is_left_to_the_engine() -> None:
    found = read("0.33.0", arguments())

    assert found["max_model_len"] == "auto"
    assert found["max_num_seqs"] == 1024
    assert found["max_num_batched_tokens"] == 8192
    assert found["gpu_memory_utilization"] == 0.92


def test_the_length_comes_from_the_shape_where_the_spec_says_none() -> None:
    model = {"huggingFace": {"repository": "org/model"}, "shape": {"maxPositionEmbeddings": 4096}}

    assert "--max-model-len=4096" in arguments(model=model)


def test_the_default_sequences_give_way_to_fewer_tokens() -> None:
    found = arguments(engine={"vllm": {"batching": {"maxNumBatchedTokens": 512}}})

    assert "--max-num-seqs=512" in found


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ({"huggingFace": {"repository": "org/model"}}, "org/model"),
        ({"persistentVolumeClaim": {"claimName": "w"}}, "/models/target"),
        ({"persistentVolumeClaim": {"claimName": "w", "path": "a/b"}}, "/models/target/a/b"),
        ({"image": {"reference": f"r/x@sha256:{'0' * 64}", "path": "m"}}, "/models/target/m"),
        ({"s3": {"uri": "s3://bucket/model"}}, "s3://bucket/model"),
    ],
)
def test_the_model_is_named_as_both_entry_points_take_it(model: dict[str, Any], path: str) -> None:
    found = arguments(model=model)

    assert found[0] == f"--model={path}"
    assert ("--load-format=runai_streamer" in found) == ("s3" in model)


def test_weights_on_a_volume_are_never_looked_up_on_the_hub() -> None:
    offline = ("HF_HUB_OFFLINE", "1")

    assert offline in engine_environment(make_intent(model={"persistentVolumeClaim": {"claimName": "w"}}))
    assert offline not in engine_environment(make_intent())


def test_links_in_requests_may_lead_nowhere() -> None:
    assert read("0.33.0", arguments())["allowed_media_domains"] == ["media.invalid"]


def test_what_is_not_said_is_not_passed() -> None:
    flags = {word.partition("=")[0] for word in arguments() if word.startswith("--")}

    assert flags == {
        "--model",
        "--served-model-name",
        "--host",
        "--port",
        "--shutdown-timeout",
        "--disable-access-log-for-endpoints",
        "--allowed-media-domains",
        "--max-model-len",
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--gpu-memory-utilization",
    }
