"""The command line is taken and refused as the release's own parser does it."""

from __future__ import annotations

import pytest

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line
from inference_fleet.engine.versions import known_versions

RELEASES = known_versions()


def values(version: str, *argv: str) -> dict[str, object]:
    parsed = parse_command_line(version, argv)
    assert isinstance(parsed, ParsedCommandLine), parsed
    return parsed.values


def objection(version: str, *argv: str) -> str:
    refusal = parse_command_line(version, argv)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.UNSUPPORTED_FLAG
    return refusal.text()


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["org/model", "--port=8001"], {"model_tag": "org/model", "port": 8001}),
        (["--max-num-seqs", "64"], {"max_num_seqs": 64}),
        (["--max_num_seqs=64"], {"max_num_seqs": 64}),
        (["--max-num-se=64"], {"max_num_seqs": 64}),
        (["-tp", "2", "-q", "awq"], {"tensor_parallel_size": 2, "quantization": "awq"}),
        (["--max-model-len=8k"], {"max_model_len": 8000}),
        (["--max-num-batched-tokens=8K"], {"max_num_batched_tokens": 8192}),
        (["--max-model-len=auto"], {"max_model_len": "auto"}),
        (["--max-model-len=-1"], {"max_model_len": "auto"}),
        (["--enforce-eager"], {"enforce_eager": True}),
        (["--no-enable-prefix-caching"], {"enable_prefix_caching": False}),
        (["--served-model-name", "a", "b"], {"served_model_name": ["a", "b"]}),
        (["--served-model-name=a", "b"], {"served_model_name": ["a"], "model_tag": "b"}),
        (["--middleware=a", "--middleware=b"], {"middleware": ["a", "b"]}),
        (["-O3"], {"optimization_level": "3"}),
        (["--gpu-memory-utilization=0.9"], {"gpu_memory_utilization": 0.9}),
        (
            ['--speculative-config={"method":"ngram","num_speculative_tokens":3}'],
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}},
        ),
        (["--compilation-config.mode=3"], {"compilation_config": {"mode": 3}}),
        (
            ["--compilation-config={}", "--compilation-config.pass_config.fuse_norm_quant", "true"],
            {"compilation_config": {"pass_config": {"fuse_norm_quant": True}}},
        ),
        (["--hf-overrides=a.function"], {"hf_overrides": "a.function"}),
    ],
)
def test_what_the_parser_takes(version: str, argv: list[str], expected: dict[str, object]) -> None:
    assert values(version, *argv) == expected


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--swap-space=4"], "unrecognized arguments: --swap-space=4"),
        (["model", "another"], "unrecognized arguments: another"),
        (["--shutdwn-timeout=3"], "Did you mean --shutdown-timeout?"),
        (["--max-num-seqs=many"], "'many' is not a whole number"),
        (["--max-num-seqs"], "expected one argument"),
        (["--max-num-batched-tokens=1.5K"], "not a whole number"),
        (["--gpu-memory-utilization=most"], "'most' is not a number"),
        (["--dtype=int8"], "'int8' is not one of auto, bfloat16"),
        (["--enforce-eager=true"], "ignored explicit argument 'true'"),
        (["--speculative-config={oops"], "is not JSON"),
        (["--max-num=3"], "ambiguous option"),
        (["--quantization=gguf"], "Unknown quantization method: gguf"),
        (["--kv-cache-dtype=int2"], "int2"),
        (['--speculative-config={"method":"guess"}'], "Unknown speculative method: guess"),
        (['--speculative-config={"disable_by_batch_size":4}'], "unexpected keyword argument 'disable_by_batch_size'"),
    ],
)
def test_what_the_parser_or_the_configuration_refuses(version: str, argv: list[str], words: str) -> None:
    assert words in objection(version, *argv)


def test_each_release_has_its_own_flags_and_words() -> None:
    assert values("0.33.0", "--disable-chunked-prefill") == {"enable_chunked_prefill": False}
    assert "unrecognized" in objection("0.32.0", "--disable-chunked-prefill")
    assert values("0.33.0", "--kv-cache-dtype=octave_k3v4") == {"kv_cache_dtype": "octave_k3v4"}
    assert "octave_k3v4" in objection("0.32.0", "--kv-cache-dtype=octave_k3v4")
    medusa = '--speculative-config={"method":"medusa"}'
    assert "speculative_config" in values("0.32.0", medusa)
    assert "medusa" in objection("0.33.0", medusa)


def test_an_unknown_release_is_refused_before_its_arguments() -> None:
    refusal = parse_command_line("0.1.0", ["--anything"])

    assert isinstance(refusal, Refusal)
    assert refusal.reason == Reason.UNKNOWN_VERSION
