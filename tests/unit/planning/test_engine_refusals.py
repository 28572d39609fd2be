"""What the engine's checks refuse, as a cluster's user sees it: where it was said, for whom, and what goes on."""

from __future__ import annotations

from typing import Any

import pytest

from builders.world import SPEC, World

FIRST = SPEC["variants"][0]


def second(**vllm: Any) -> dict[str, Any]:
    return {**FIRST, "name": "second", "engine": {"vllm": vllm}}


@pytest.mark.parametrize(
    ("override", "path", "reason"),
    [
        ({"quantization": {"method": "gguf"}}, "quantization.method", "UnsupportedSetting"),
        ({"maxModelLen": 10_000_000}, "maxModelLen", "OutOfRange"),
        ({"speculative": {"method": "guess"}}, "speculative.method", "UnsupportedSetting"),
        ({"extraArgs": ["--stream-interval=0"]}, "extraArgs[0]", "OutOfRange"),
        ({"version": "0.9.0"}, "version", "UnknownVersion"),
    ],
)
def test_a_variants_own_mistake_is_refused_at_its_place_and_its_sibling_serves(
    override: dict[str, Any], path: str, reason: str
) -> None:
    model = {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}}
    world = World(model=model, variants=[FIRST, second(**override)])
    world.settle()

    assert world.holds("Accepted") == ("True", "SomeVariantsRefused")
    assert world.holds("Ready") == ("True", "Serving")
    first, refused = world.status["variants"]
    assert not first.get("refusals")
    assert (f"spec.variants[1].engine.vllm.{path}", reason, "second") in [
        (refusal["path"], refusal["reason"], refusal["variant"]) for refusal in refused["refusals"]
    ]
    assert len(world.counts()) == 1


def test_a_common_mistake_refuses_the_object_at_the_common_field() -> None:
    engine = {"vllm": {**SPEC["engine"]["vllm"], "quantization": {"method": "gguf"}}}
    world = World(engine=engine)
    world.settle()

    assert world.holds("Accepted")[0] == "False"
    condition = world.condition("Accepted")
    assert condition is not None
    assert "spec.engine.vllm.quantization.method" in condition["message"]
    assert world.counts() == {}


def test_a_common_mistake_that_a_variant_undoes_is_not_that_variants() -> None:
    engine = {"vllm": {**SPEC["engine"]["vllm"], "quantization": {"method": "gguf"}}}
    world = World(engine=engine, variants=[FIRST, second(quantization={"method": "none"})])
    world.settle()

    assert world.holds("Accepted") == ("True", "SomeVariantsRefused")
    first, healthy = world.status["variants"]
    assert [refusal["path"] for refusal in first["refusals"]] == ["spec.engine.vllm.quantization.method"]
    assert not healthy.get("refusals")


def test_a_warning_is_an_event_once_and_stays_in_status() -> None:
    engine = {"vllm": {**SPEC["engine"]["vllm"], "version": "0.33.9"}}
    world = World(engine=engine)
    world.settle()
    world.settle()

    told = [event for event in world.events if event.reason == "VersionNotReviewed"]
    assert len(told) == 1
    assert "VersionNotReviewed" in [warning["reason"] for warning in world.status["warnings"]]
