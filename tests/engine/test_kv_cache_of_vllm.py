"""What a sequence takes of the cache: our layout equals vLLM's own specifications, for every family that can be built.

To the byte: full models, every layer, grouped and filled up by vLLM's own functions. Not compared: DeepSeek V3.2 and
GLM 5 (vLLM builds sparse attention on GPUs only), Nemotron (its experts likewise), MiniMax M2 and Qwen 3.5 (their code
needs more than a config.json here); but for the sparse index they share their formulas with families that are.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builders.model_configs import CONFIGURED_MODELS, model_config
from inference_fleet.api.conditions import Reason
from inference_fleet.engine.cache_layout import CacheLayout, cache_layout
from inference_fleet.engine.endings import ending_of
from inference_fleet.engine.model_catalogue import find_model
from inference_fleet.engine.model_config import facts_of_config
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.sandbox.real_engine import find_real_engine

SCRIPT = Path(__file__).parent / "kv_cache_specs.py"
STEP_TOKENS = 2048
# One sequence of the longest length needs more than 512 MiB.
TOO_LARGE = ("meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b", "allenai/Olmo-3.1-32B-Instruct", "Qwen/Qwen3-8B")
# On a GPU its two kinds of layers may share blocks by another layout: its layers are compared one by one as well.
TWO_PAGE_SIZES = "google/gemma-4-26B-A4B-it"


def question(
    name: str, *, asynchronous: bool = True, cache_type: str = "auto", available_memory: int | None = None
) -> dict[str, Any]:
    facts = find_model(name)
    assert facts is not None
    return {
        "name": name,
        "config": model_config(name),
        "max_model_len": min(32768, facts.max_position_embeddings or 0),
        "max_num_batched_tokens": STEP_TOKENS,
        "asynchronous": asynchronous,
        "cache_type": cache_type,
        "available_memory": available_memory,
    }


QUESTIONS = {
    **{name: question(name) for name in CONFIGURED_MODELS},
    "gpt-oss, a step at a time": question("openai/gpt-oss-20b", asynchronous=False),
    "Llama 4, a step at a time": question("meta-llama/Llama-4-Scout-17B-16E-Instruct", asynchronous=False),
    "Llama 3.1, fp8": question("meta-llama/Llama-3.1-8B-Instruct", cache_type="fp8"),
    **{f"{name}, 512 MiB": question(name, available_memory=2**29) for name in TOO_LARGE},
}


@pytest.fixture(scope="module")
def answers() -> Mapping[str, dict[str, Any]]:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    lines = "".join(json.dumps(asked) + "\n" for asked in QUESTIONS.values())
    done = subprocess.run([str(engine.python), str(SCRIPT)], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(QUESTIONS, map(json.loads, done.stdout.splitlines()), strict=True))


def layout(facts: ModelFacts | None, asked: Mapping[str, Any]) -> CacheLayout:
    found = cache_layout(
        facts,
        dtype="bfloat16",
        cache_type=asked["cache_type"],
        tensor=1,
        pipeline=1,
        in_flight_tokens=STEP_TOKENS * (2 if asked["asynchronous"] else 1),
        states=2,
    )
    assert found is not None
    return found


@pytest.mark.timeout(180)
def test_every_family_is_built(answers: Mapping[str, dict[str, Any]]) -> None:
    assert {name: found["error"] for name, found in answers.items() if "error" in found} == {}
    assert len({model_config(name)["architectures"][0] for name in CONFIGURED_MODELS}) == 27


@pytest.mark.timeout(180)
def test_a_sequence_takes_what_vllm_says(answers: Mapping[str, dict[str, Any]]) -> None:
    different = {}
    for name, asked in QUESTIONS.items():
        ours = layout(find_model(asked["name"]), asked).sequence_bytes(asked["max_model_len"])
        if ours != answers[name].get("sequence_bytes"):
            different[name] = (ours, answers[name])

    assert different == {}


@pytest.mark.timeout(180)
def test_the_catalogue_and_the_models_own_file_agree(answers: Mapping[str, dict[str, Any]]) -> None:
    for name, asked in QUESTIONS.items():
        read = facts_of_config(asked["config"])
        assert isinstance(read, ModelFacts), (name, read)
        assert layout(read, asked) == layout(find_model(asked["name"]), asked), name


@pytest.mark.timeout(180)
def test_layers_with_heads_of_two_sizes_are_told_apart(answers: Mapping[str, dict[str, Any]]) -> None:
    asked = QUESTIONS[TWO_PAGE_SIZES]
    ours = layout(find_model(TWO_PAGE_SIZES), asked)
    sizes = {kind: (size, count) for kind, size, count in answers[TWO_PAGE_SIZES]["layers"]}

    assert sizes["FullAttentionSpec"] == (ours.full_bytes // 5, 5)
    assert sizes["SlidingWindowSpec"] == (ours.windowed_bytes // 25, 25)


@pytest.mark.timeout(180)
def test_what_vllm_says_of_too_little_memory_is_understood_and_its_length_is_ours(
    answers: Mapping[str, dict[str, Any]],
) -> None:
    for name in TOO_LARGE:
        asked, found = QUESTIONS[f"{name}, 512 MiB"], answers[f"{name}, 512 MiB"]
        ending = ending_of(str(found.get("refusal")))
        ours = layout(find_model(name), asked)
        # vLLM keeps a block of every group back.
        held = ours.block_tokens * (ours.full_bytes + ours.windowed_bytes)
        longest = ours.longest_sequence(2**29 - held, at_most=asked["max_model_len"])

        assert ending is not None, found
        assert ending.reason == Reason.OUT_OF_DEVICE_MEMORY
        proposed = int(ending.cause.rpartition(" ")[2])
        assert abs(proposed - longest) <= 2 * ours.block_tokens, (name, proposed, longest)
