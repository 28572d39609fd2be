"""The operator's picture of vLLM's command line, held against the parser of the installed vLLM."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builders.intents import TYPE_CACHE_AND_BATCHING, make_accelerator, make_intent
from inference_fleet.cli.engine_description import ProbeFailure, difference, probe
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line
from inference_fleet.sandbox.real_engine import RealEngine, find_real_engine

VERSION = "0.32.0"
SCRIPTS = Path(__file__).parents[2] / "scripts"
SPECS: dict[str, dict[str, Any]] = {
    "nothing said": {},
    "everything said": {
        **TYPE_CACHE_AND_BATCHING,
        "speculative": {"method": "ngram", "numSpeculativeTokens": 4, "promptLookupMax": 4},
        "parallelism": {
            "tensorParallelSize": 2,
            "pipelineParallelSize": 2,
            "dataParallelSize": 2,
            "enableExpertParallel": True,
        },
        "enforceEager": True,
        "optimizationLevel": 1,
        "extraArgs": ["--seed=7", "--no-enable-log-requests", "--compilation-config.mode=3", "--stream-interval=2"],
    },
}
# Beyond what the operator writes: both parsers must take these, or both refuse them.
OTHERS = [
    ["m", "--max-num-se=3"],
    ["m", "--max_num_seqs=3"],
    ["m", "-tp", "2"],
    ["m", "another"],
    ["--api-key", "a", "b"],
    ["--no-enforce-eager=1"],
    ["--max-num-seqs=x"],
    ["--max-model-len=8k"],
    ["--max-model-len=auto"],
    ["--dtype=int8"],
    ["--kv-cache-dtype=int2"],
    ["--swap-space=4"],
    ["--disable-chunked-prefill"],
    ["--speculative-config={"],
    ["--max-lora-rank=7"],
    ["--max-num=3"],
    ["-O3"],
]


def arguments(vllm: dict[str, Any]) -> list[str]:
    mixture = {"huggingFace": {"repository": "Qwen/Qwen3-30B-A3B"}}
    intent = make_intent(model=mixture, engine={"vllm": {"version": VERSION, **vllm}})
    plan = check_variant(intent, make_accelerator(), accelerator_name="h100").plan
    assert plan is not None
    return list(plan.args)


@pytest.fixture(scope="module")
def answer() -> Mapping[str, Any]:
    engine: RealEngine | None = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    found = probe(str(engine.python), parse=[*(arguments(spec) for spec in SPECS.values()), *OTHERS])
    assert not isinstance(found, ProbeFailure), found.message
    return found


def test_the_data_has_every_flag_spelling_and_choice_of_the_installed_release(answer: Mapping[str, Any]) -> None:
    found = difference(answer)

    assert found.version == VERSION
    assert found.empty, found


def test_the_release_script_writes_the_data_file_again(
    answer: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("engine_release", SCRIPTS / "engine_release.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (script.DATA / "vllm-0.32.json").read_text(encoding="utf-8")

    assert script.text(script.release(answer, former=json.loads(written))) == written


def test_vllm_takes_what_the_operator_writes_and_reads_it_as_the_operator_does(answer: Mapping[str, Any]) -> None:
    for (name, spec), parsed in zip(SPECS.items(), answer["parsed"], strict=False):
        assert "values" in parsed, (name, parsed)
        ours = parse_command_line(VERSION, arguments(spec))
        assert isinstance(ours, ParsedCommandLine)
        for key, value in parsed["values"].items():
            if key != "compilation_config":
                assert _plain(ours.values[key]) == _plain(value), (name, key)


def test_what_one_parser_refuses_the_other_refuses_too(answer: Mapping[str, Any]) -> None:
    for words, parsed in zip(OTHERS, answer["parsed"][len(SPECS) :], strict=True):
        ours = parse_command_line(VERSION, words)
        assert isinstance(ours, ParsedCommandLine) == ("values" in parsed), (words, ours, parsed)


def _plain(value: object) -> object:
    # vLLM keeps `auto` as -1.
    return -1 if value == "auto" else value
