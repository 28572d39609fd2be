"""The way out of a refusal is one: a spec with the proposed change is accepted, whatever the model and the device."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.api.intent import overlay
from inference_fleet.engine.catalogue import built_in_accelerators
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EngineResult
from inference_fleet.engine.model_catalogue import known_models

MODELS = [row["repository"] for row in known_models()]
DEVICES = [name for name, each in built_in_accelerators().items() if each["spec"]["platform"] != "CPU"]


def check(model: str, device: str, vllm: dict[str, Any]) -> EngineResult:
    accelerator = make_accelerator(**{"devices": None, **built_in_accelerators()[device]["spec"]})
    intent = make_intent(model={"huggingFace": {"repository": model}}, engine={"vllm": vllm})
    return check_variant(intent, accelerator, accelerator_name=device)


def change_of(words: str) -> dict[str, Any]:
    """`quantization fp8_per_tensor with kvCacheDtype fp8` and the like, as a user would write it into the spec."""
    laid: dict[str, Any] = {}
    for part in words.split(" with "):
        name, value = part.split(" ")
        if name == "maxModelLen":
            laid = overlay(laid, {name: int(value)})
        elif name == "gpuMemoryUtilizationPercent":
            laid = overlay(laid, {"kvCache": {name: int(value)}})
        elif name == "kvCacheDtype":
            laid = overlay(laid, {"kvCache": {name: value}})
        elif name == "quantization":
            laid = overlay(laid, {name: {"method": value}})
        else:
            assert name == "tensorParallelSize", words
            laid = overlay(laid, {"parallelism": {name: int(value)}})
    return laid


specs = st.fixed_dictionaries(
    {
        "maxModelLen": st.none() | st.integers(16, 262_144),
        "kvCache": st.fixed_dictionaries({"gpuMemoryUtilizationPercent": st.none() | st.integers(50, 98)}),
        "parallelism": st.fixed_dictionaries({"tensorParallelSize": st.none() | st.sampled_from([1, 2, 4, 8])}),
        "enforceEager": st.none() | st.booleans(),
    }
)


@given(model=st.sampled_from(MODELS), device=st.sampled_from(DEVICES), vllm=specs)
@settings(max_examples=400)
def test_with_the_proposed_change_a_spec_that_did_not_fit_is_accepted(
    model: str, device: str, vllm: dict[str, Any]
) -> None:
    result = check(model, device, vllm)
    only_memory = {refusal.reason for refusal in result.refusals} == {Reason.DOES_NOT_FIT}
    fix = result.memory.cheapest_fix if result.memory else None
    if not only_memory or fix is None:
        return

    changed = check(model, device, overlay(vllm, change_of(fix)))

    assert changed.refusals == (), fix
    assert changed.plan is not None
    assert changed.plan.memory.verdict in ("Fits", "Tight")


@given(model=st.sampled_from(MODELS), device=st.sampled_from(DEVICES), vllm=specs)
def test_the_largest_length_that_is_named_is_not_refused(model: str, device: str, vllm: dict[str, Any]) -> None:
    result = check(model, device, vllm)
    memory = result.plan.memory if result.plan else result.memory
    if memory is None or not memory.largest_max_model_len:
        return

    refusals = check(model, device, {**vllm, "maxModelLen": memory.largest_max_model_len}).refusals

    assert Reason.DOES_NOT_FIT not in [refusal.reason for refusal in refusals]


@pytest.mark.parametrize(
    ("model", "vllm", "fix"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", {"maxModelLen": 131072}, "maxModelLen"),
        # No length helps: two bytes a parameter leave no room.
        ("Qwen/Qwen3-14B", {"maxModelLen": 8192}, "quantization fp8_per_tensor"),
        ("meta-llama/Llama-3.3-70B-Instruct", {"maxModelLen": 8192}, "tensorParallelSize 8"),
    ],
)
def test_the_cheapest_change_comes_first(model: str, vllm: dict[str, Any], fix: str) -> None:
    result = check(model, "nvidia-l4", vllm)

    assert result.memory is not None
    assert (result.memory.cheapest_fix or "").startswith(fix)
