"""Values of further flags: by type, by the words and bounds of the release, and by what objects may hold."""

from __future__ import annotations

from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions


def refused(*arguments: str, **vllm: Any) -> tuple[Refusal, ...]:
    model = {"huggingFace": {"repository": "Qwen/Qwen3-30B-A3B"}}
    intent = make_intent(model=model, engine={"vllm": {"extraArgs": list(arguments), **vllm}})
    return check_variant(intent, make_accelerator(), accelerator_name="h100").refusals


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--stream-interval=0", "the value of --stream-interval must be at least 1."),
        ("--watermark=1", "the value of --watermark must be less than 1."),
        ("--watermark=nan", "the value of --watermark must be at least 0."),
        ("--kv-cache-metrics-sample=0", "the value of --kv-cache-metrics-sample must be more than 0."),
        ("--kv-cache-metrics-sample=2", "the value of --kv-cache-metrics-sample must be at most 1."),
        ("--config-format=gguf", "the value of --config-format is not one of auto, hf, mistral."),
        ("--compilation-config.mode=4", "--compilation-config.mode is not one of 0, 1, 2, 3."),
        ("--compilation-config=[]", "the value of --compilation-config is not an object."),
        ("--quantization-config={}", "the value of --quantization-config says nothing."),
        (
            '--eplb-config={"window_size":0}',
            "--eplb-config.window_size is less than 1.",
        ),
        ('--limit-mm-per-prompt={"image":true}', "--limit-mm-per-prompt.image is not an integer."),
    ],
)
def test_a_value_out_of_what_the_release_takes_is_refused(argument: str, message: str) -> None:
    needed = {"quantization": {"method": "fp8_per_tensor"}} if "quantization" in argument else {}
    found = [refusal.message for refusal in refused(argument, **needed) if refusal.reason == Reason.OUT_OF_RANGE]

    assert found == [message]


def test_a_misspelt_word_of_many_gets_the_nearest_ones() -> None:
    (refusal,) = refused("--tool-call-parser=qwen3coder")

    assert "near it are qwen3_coder" in refusal.message


# Objects can name files, Python code and places to write to: only members that do not are taken.
@pytest.mark.parametrize(
    "argument",
    [
        '--structured-outputs-config={"reasoning_parser_plugin":"/models/evil.py"}',
        "--structured-outputs-config.reasoning_parser_plugin=/models/evil.py",
        '--compilation-config={"inductor_passes":{"post_grad_custom_pre_pass":"os.system"}}',
        '--compilation-config={"debug_dump_path":"/models"}',
        '--compilation-config={"backend":"package.module"}',
        '--mm-processor-kwargs={"trust_remote_code":true}',
        "--generation-config=/models/other",
        '--kernel-config={"x":1}',
    ],
)
def test_an_object_does_not_load_code_or_touch_files(argument: str) -> None:
    assert refused(argument)


@pytest.mark.parametrize(
    ("arguments", "vllm"),
    [
        (("--enable-eplb",), {"parallelism": {"dataParallelSize": 2, "enableExpertParallel": True}}),
        (("--eplb-config={}", "--enable-eplb"), {"parallelism": {"dataParallelSize": 2, "enableExpertParallel": True}}),
        (
            ("--per-request-spec-decode-metrics=summary",),
            {"speculative": {"method": "ngram", "numSpeculativeTokens": 3}},
        ),
        (("--collect-detailed-traces=all", "--otlp-traces-endpoint=http://traces:4317"), {}),
    ],
)
def test_a_flag_that_works_only_beside_something_is_refused_without_it(
    arguments: tuple[str, ...], vllm: dict[str, Any]
) -> None:
    assert refused(*arguments, **vllm) == ()
    assert [refusal.reason for refusal in refused(arguments[0])] == [Reason.CONFLICTING_SETTINGS]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--seed 3", "--seed and its value are one word here. Write --seed=VALUE."),
        ("--sed 3", "vLLM 0.33.0 has no flag --sed. Did you mean --seed?"),
        ("--api-kex sk-123", "vLLM 0.33.0 has no flag --api-kex. Did you mean --api-key?"),
    ],
)
def test_a_flag_and_its_value_with_a_space_between_are_told_apart(argument: str, words: str) -> None:
    (refusal,) = refused(argument)

    assert f"{refusal.message} {refusal.suggestion}" == words


@pytest.mark.parametrize("argument", ["--no-enable-eplb", "--per-request-spec-decode-metrics=none"])
def test_switching_it_off_needs_nothing(argument: str) -> None:
    assert refused(argument) == ()


@pytest.mark.parametrize("version", known_versions())
def test_every_allowed_object_says_what_it_may_hold(version: str) -> None:
    release = engine_version(version)
    assert isinstance(release, EngineVersion)
    without = [flag.flag for flag in release.flags.values() if flag.mark == "allowed" and flag.kind == "json"]

    assert [name for name in without if release.flags[name[2:].replace("-", "_")].schema is None] == []
