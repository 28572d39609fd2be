"""A variant may bring other weights of the same model: the same tokens, the same length."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import World
from inference_fleet.planning.acceptance import Acceptance, accept

MODEL = "spec.variants[1].model"
LENGTH = "spec.variants[1].engine.vllm.maxModelLen"


def judged(variant: dict[str, Any], **spec: Any) -> Acceptance:
    world = World(
        variants=[
            {"name": "l4", "acceleratorClassName": "nvidia-l4"},
            {"name": "other", "acceleratorClassName": "nvidia-l4", **variant},
        ],
        **spec,
    )
    snapshot = world.snapshot()
    return accept(snapshot.deployment["spec"], snapshot)


def weights(repository: str, **shape: Any) -> dict[str, Any]:
    return {"huggingFace": {"repository": repository}, **({"shape": shape} if shape else {})}


def refused(acceptance: Acceptance) -> dict[str, str]:
    return {refusal.path: refusal.message for refusal in acceptance.all_refusals}


def test_a_distilled_checkpoint_of_the_same_family_is_taken_without_a_remark() -> None:
    acceptance = judged({"model": weights("meta-llama/Llama-3.2-1B-Instruct")})
    assert refused(acceptance) == {}
    assert MODEL not in {advice.path for advice in acceptance.all_warnings}


def test_another_vocabulary_is_refused_and_its_sibling_goes_on() -> None:
    acceptance = judged({"model": weights("Qwen/Qwen3-8B")})
    assert refused(acceptance) == {
        MODEL: "these weights have a vocabulary of 151936 tokens, spec.model one of 128256: it is another model."
    }
    assert acceptance.accepted
    assert [variant.engine is None for variant in acceptance.variants] == [False, True]


def test_rows_that_only_fill_a_vocabulary_up_are_no_difference() -> None:
    acceptance = judged({"model": weights("Qwen/Qwen2.5-0.5B-Instruct")}, model=weights("Qwen/Qwen2.5-7B-Instruct"))
    assert refused(acceptance) == {}


@pytest.mark.parametrize(
    ("variant", "vllm", "path"),
    [
        ({"engine": {"vllm": {"maxModelLen": 4096}}}, {"maxModelLen": 8192}, LENGTH),
        ({}, {}, MODEL),
    ],
)
def test_another_length_of_context_is_refused(variant: dict[str, Any], vllm: dict[str, Any], path: str) -> None:
    own = weights("example/llama-short", vocabSize=128256, maxPositionEmbeddings=4096)
    acceptance = judged({"model": own, **variant}, engine={"vllm": {"version": "0.33.0", **vllm}})
    assert set(refused(acceptance)) == {path}
    assert "4096 tokens of context" in refused(acceptance)[path]


def test_a_length_set_for_all_is_the_same_for_all() -> None:
    own = weights("example/llama-short", vocabSize=128256, maxPositionEmbeddings=4096)
    assert refused(judged({"model": own}, engine={"vllm": {"version": "0.33.0", "maxModelLen": 4096}})) == {}


def test_what_is_not_known_is_said_and_not_refused() -> None:
    acceptance = judged({"model": weights("example/unknown")}, engine={"vllm": {"version": "0.33.0"}})
    assert refused(acceptance) == {}
    (advice,) = [advice for advice in acceptance.all_warnings if advice.path == MODEL and "compared" in advice.message]
    assert "its vocabulary and its length of context cannot be compared" in advice.message
    assert advice.variant == "other"


def test_a_variant_with_the_common_weights_is_not_looked_at() -> None:
    acceptance = judged({"engine": {"vllm": {"maxModelLen": 4096}}})
    assert refused(acceptance) == {}
