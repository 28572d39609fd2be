"""The estimate beside published measurements, and the advice that follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from builders.published_steps import middle, with_prefill, with_step
from inference_fleet.api.conditions import Reason
from inference_fleet.engine.catalogue import built_in_accelerators
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EngineResult, Estimate
from inference_fleet.engine.estimate import ERROR_PERCENT

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_2_70B = "meta-llama/Llama-2-70b-hf"
A100, H100, L40S = "nvidia-a100-80gb", "nvidia-h100-80gb", "nvidia-l40s"


def check(model: str, name: str, **vllm: Any) -> EngineResult:
    accelerator = make_accelerator(**{"devices": None, **built_in_accelerators()[name]["spec"]})
    intent = make_intent(model={"huggingFace": {"repository": model}}, engine={"vllm": {"maxModelLen": 2048, **vllm}})
    return check_variant(intent, accelerator, accelerator_name=name)


def estimate(model: str, name: str, **vllm: Any) -> Estimate:
    plan = check(model, name, **vllm).plan
    assert plan is not None
    assert plan.estimate is not None
    return plan.estimate


def advice(model: str, name: str, **vllm: Any) -> list[str]:
    return [each.reason for each in check(model, name, **vllm).warnings]


def test_seven_of_ten_published_steps_lie_within_the_stated_error() -> None:
    steps = with_step()

    assert len(steps) == 20
    assert sum(abs(step.step_error) * 100 <= ERROR_PERCENT for step in steps) >= 14
    assert middle([step.step_error for step in steps]) <= 0.35
    # Two fits are faster than the device can read the weights.
    assert [step.row["model"] for step in steps if not step.possible] == [
        "ibm-granite/granite-3.3-8b-instruct",
        "microsoft/phi-4",
    ]


def test_six_of_ten_published_prefill_speeds_lie_within_the_stated_error() -> None:
    steps = with_prefill()

    assert len(steps) == 16
    assert sum(abs(step.prefill_error) * 100 <= ERROR_PERCENT for step in steps) >= 10
    assert middle([step.prefill_error for step in steps]) <= 0.35


def test_guesses_are_nearly_free_alone_and_never_pay_where_computing_is_the_limit() -> None:
    alone = estimate(LLAMA, H100, batching={"maxNumSeqs": 8})
    crowded = estimate(
        LLAMA_2_70B,
        A100,
        parallelism={"tensorParallelSize": 8},
        batching={"maxNumSeqs": 512, "maxNumBatchedTokens": 8192},
    )

    assert alone.speculative_tokens == 3
    assert alone.accepted_to_pay_at_one < 0.1
    assert crowded.bound_by == "Compute"
    assert crowded.accepted_to_pay_at_full > 2.5


def test_a_draft_of_its_own_must_be_right_more_often() -> None:
    def pays(**draft: Any) -> float:
        found = estimate(LLAMA, H100, speculative={"numSpeculativeTokens": 5, **draft})
        assert found.speculative_tokens == 5
        return found.accepted_to_pay_at_one

    model = {"huggingFace": {"repository": "meta-llama/Llama-3.2-1B-Instruct"}}
    # Five steps of an eighth of the weights each: about 0.7 tokens.
    assert pays(method="draft_model", model=model) - pays(method="ngram") == pytest.approx(0.6, abs=0.2)


def test_a_full_batch_is_slower_for_one_and_faster_for_all() -> None:
    found = estimate(LLAMA, H100)

    assert found.error_percent == ERROR_PERCENT
    assert found.inter_token_latency_at_full_seconds > found.inter_token_latency_at_one_seconds
    assert found.tokens_per_second_at_full > 10 * found.tokens_per_second_at_one
    assert 0.02 < found.time_to_first_token_seconds < 0.06


@pytest.mark.parametrize(
    ("model", "name", "vllm", "bound"),
    [
        (LLAMA, H100, {"batching": {"maxNumSeqs": 8}}, "Bandwidth"),
        (LLAMA, L40S, {"batching": {"maxNumSeqs": 256}}, "KVCapacity"),
        (LLAMA_2_70B, A100, {"parallelism": {"tensorParallelSize": 8}, "batching": {"maxNumSeqs": 512}}, "Compute"),
    ],
)
def test_what_limits_a_replica_is_named(model: str, name: str, vllm: dict[str, Any], bound: str) -> None:
    assert estimate(model, name, **vllm).bound_by == bound


def test_fewer_experts_are_read_for_one_sequence_than_for_many() -> None:
    one = estimate("Qwen/Qwen3-30B-A3B", H100, batching={"maxNumSeqs": 1})
    many = estimate("Qwen/Qwen3-30B-A3B", H100, batching={"maxNumSeqs": 64})

    assert one.inter_token_latency_at_full_seconds < many.inter_token_latency_at_full_seconds / 3


def test_without_figures_or_size_nothing_is_estimated() -> None:
    for model, accelerator in ((LLAMA, make_accelerator()), ("org/model", make_accelerator())):
        intent = make_intent(model={"huggingFace": {"repository": model}})
        plan = check_variant(intent, accelerator, accelerator_name="x").plan
        assert plan is not None
        assert plan.estimate is None


def test_speculation_at_a_full_batch_is_advised_against() -> None:
    ngram = {"method": "ngram", "numSpeculativeTokens": 4}
    small = {"batching": {"maxNumSeqs": 4}}

    assert advice(LLAMA, H100, speculative=ngram) == [Reason.MAY_COST_THROUGHPUT]
    assert advice(LLAMA, H100, speculative=ngram, **small) == []


def test_a_depth_that_shrinks_with_the_batch_is_not_advised_against() -> None:
    by_size = [
        {"minSeqs": 1, "maxSeqs": 16, "numSpeculativeTokens": 4},
        {"minSeqs": 17, "maxSeqs": 1024, "numSpeculativeTokens": 0},
    ]
    speculative = {"method": "ngram", "numSpeculativeTokens": 4, "numSpeculativeTokensPerBatchSize": by_size}

    assert advice(LLAMA, H100, speculative=speculative) == []


def test_fp8_on_an_older_device_is_said_to_save_memory_only() -> None:
    fp8 = {"method": "fp8_per_tensor"}

    assert advice(LLAMA, A100, quantization=fp8) == [Reason.SAVES_MEMORY_ONLY]
    assert advice(LLAMA, H100, quantization=fp8) == []


def test_weight_only_is_advised_against_where_multiplying_is_the_limit() -> None:
    model, many = "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", {"maxNumSeqs": 512}
    split = {"tensorParallelSize": 4}

    assert advice(model, A100, batching=many, parallelism=split) == [Reason.MAY_COST_THROUGHPUT]
    assert advice(model, A100, batching={"maxNumSeqs": 16}, parallelism=split) == []
