"""Will it fit: verdicts with their ways out, and what must never go the wrong way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.intents import make_accelerator, make_intent
from inference_fleet.api.conditions import Reason
from inference_fleet.engine.cache_layout import CacheLayout, cache_layout
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EngineResult, MemoryReport
from inference_fleet.engine.model_catalogue import find_model, known_models
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.weights import Split, loaded_weights_bytes

GIBIBYTE = 2**30
L4 = {"architecture": "8.9", "deviceMemory": "22563Mi", "devicesPerNode": 4}
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
UNQUANTIZED = [row["repository"] for row in known_models() if "quantizationMethod" not in row]
ORDER = {"Refused": 0, "Tight": 1, "Fits": 2}


def check(model: str, *, accelerator: dict[str, Any] | None = None, **vllm: Any) -> EngineResult:
    intent = make_intent(model={"huggingFace": {"repository": model}}, engine={"vllm": vllm})
    return check_variant(intent, make_accelerator(**(accelerator or {})), accelerator_name="l4")


def memory(model: str, **vllm: Any) -> MemoryReport:
    plan = check(model, **vllm).plan
    assert plan is not None
    return plan.memory


def layout(facts: ModelFacts | None, **settings: Any) -> CacheLayout:
    default: dict[str, Any] = {"dtype": None, "cache_type": None, "tensor": 1, "pipeline": 1}
    found = cache_layout(facts, **(default | {"in_flight_tokens": 8192} | settings))
    assert found is not None
    return found


def test_a_catalogued_model_gets_numbers_that_add_up() -> None:
    report = memory(LLAMA, maxModelLen=8192)

    assert (report.verdict, report.kv_bytes_per_token) == ("Fits", 131072)
    parts = (report.weights_bytes, report.kv_cache_bytes, report.activation_bytes)
    rest = (report.cuda_graph_bytes, report.runtime_bytes, report.draft_model_bytes, report.lora_bytes)
    assert sum(part or 0 for part in parts + rest) == report.budget_bytes
    assert report.kv_cache_tokens == pytest.approx((report.kv_cache_bytes or 0) / 131072, abs=1)
    assert report.concurrency_at_max_model_len == pytest.approx((report.kv_cache_tokens or 0) / 8192, abs=0.01)
    assert report.largest_max_model_len == 131072


def test_a_length_that_does_not_fit_is_refused_with_the_numbers_and_the_way_out() -> None:
    result = check(LLAMA, accelerator=L4, maxModelLen=131072)
    (refusal,) = result.refusals

    assert (refusal.path, refusal.reason) == ("engine.vllm.maxModelLen", Reason.DOES_NOT_FIT)
    assert "131072 tokens need 16.0 GiB" in refusal.message
    assert "weights (15.0 GiB)" in refusal.message
    assert refusal.suggestion is not None
    assert "maxModelLen" in refusal.suggestion
    assert "tensorParallelSize 2" in refusal.suggestion or "quantization" in refusal.suggestion


def test_the_length_that_is_named_as_fitting_is_taken() -> None:
    (refusal,) = check(LLAMA, accelerator=L4, maxModelLen=131072).refusals
    length = int((refusal.suggestion or "").split("maxModelLen ")[1].split(";")[0])

    assert memory(LLAMA, accelerator=L4, maxModelLen=length).verdict == "Fits"


def test_without_a_named_length_the_engine_takes_what_fits() -> None:
    result = check(LLAMA, accelerator=L4)

    assert result.refusals == ()
    assert result.plan is not None
    assert result.plan.effective.max_model_len is None
    assert "--max-model-len=auto" in result.plan.args
    assert Reason.LENGTH_UNKNOWN in [advice.reason for advice in result.warnings]


def test_weights_that_leave_no_room_are_refused_by_the_devices() -> None:
    (refusal,) = check("meta-llama/Llama-3.3-70B-Instruct", accelerator=L4, maxModelLen=4096).refusals

    assert refusal.path == "engine.vllm.parallelism.tensorParallelSize"
    assert refusal.suggestion is not None


def test_an_unknown_shape_is_said_and_not_refused() -> None:
    result = check("org/model", accelerator=L4, maxModelLen=131072)

    assert result.refusals == ()
    assert [advice.reason for advice in result.warnings] == [Reason.SHAPE_UNKNOWN]
    assert result.plan is not None
    assert (result.plan.memory.verdict, result.plan.kv_cache_tokens) == ("Unknown", None)


def test_a_draft_takes_its_share_and_an_unknown_one_leaves_the_verdict_open() -> None:
    def draft(name: str) -> dict[str, Any]:
        model = {"huggingFace": {"repository": name}}
        return {"method": "draft_model", "numSpeculativeTokens": 3, "model": model}

    alone = memory(LLAMA, maxModelLen=8192)
    beside = memory(LLAMA, maxModelLen=8192, speculative=draft("meta-llama/Llama-3.2-1B-Instruct"))
    assert beside.draft_model_bytes == pytest.approx(2.3 * GIBIBYTE, rel=0.05)
    assert (beside.kv_cache_tokens or 0) < (alone.kv_cache_tokens or 0)

    unknown = check(LLAMA, maxModelLen=8192, speculative=draft("org/draft"))
    assert unknown.plan is not None
    assert unknown.plan.memory.verdict == "Unknown"
    assert unknown.warnings[0].path == "engine.vllm.speculative.model"
    assert unknown.warnings[0].reason == Reason.SHAPE_UNKNOWN


def test_on_a_cpu_only_weights_are_judged() -> None:
    cpu = {"platform": "CPU", "architecture": "x86_64", "devices": None, "deviceMemory": "8Gi"}

    assert [refusal.reason for refusal in check(LLAMA, accelerator=cpu).refusals] == [Reason.DOES_NOT_FIT]
    plan = check(LLAMA, accelerator={**cpu, "deviceMemory": "64Gi"}).plan
    assert plan is not None
    assert plan.memory.verdict == "Unknown"


@pytest.mark.parametrize(
    ("model", "tokens", "kibibytes"),
    [
        # Layers paid for times 2 x heads x width x 2 bytes: Gemma 3 27B pays for 10 full layers and 60 windowed ones.
        ("google/gemma-3-27b-it", 8192, 70 * 8),
        ("meta-llama/Llama-3.1-8B-Instruct", 8192, 128),
        # Latent attention: 61 layers of 576 numbers.
        ("deepseek-ai/DeepSeek-V3", 8192, 61 * 576 * 2 / 1024),
    ],
)
def test_a_token_takes_what_its_layers_keep(model: str, tokens: int, kibibytes: float) -> None:
    assert layout(find_model(model)).sequence_bytes(tokens) == pytest.approx(tokens * kibibytes * 1024, rel=0.002)


def test_windows_and_states_stop_growing() -> None:
    windowed, hybrid = layout(find_model("openai/gpt-oss-20b")), layout(find_model("Qwen/Qwen3.5-9B"))

    grown = windowed.sequence_bytes(131072) - windowed.sequence_bytes(65536)
    assert grown == 65536 * windowed.full_bytes
    assert hybrid.state_bytes > 0
    assert hybrid.full_bytes == 8 * 2 * 4 * 256 * 2


def test_a_latent_cache_is_the_same_on_every_device() -> None:
    facts = find_model("deepseek-ai/DeepSeek-V3")

    assert layout(facts, tensor=8).full_bytes == layout(facts).full_bytes


def test_experts_that_are_spread_take_less_of_a_device() -> None:
    facts = find_model("Qwen/Qwen3-30B-A3B")
    together = loaded_weights_bytes(facts, dtype=None, split=Split(tensor=1, expert=1)) or 0
    spread = loaded_weights_bytes(facts, dtype=None, split=Split(tensor=1, expert=8)) or 0

    assert together / 8 < spread < together / 4


@given(
    name=st.sampled_from(UNQUANTIZED),
    length=st.integers(16, 65536),
    more=st.integers(0, 65536),
    percent=st.integers(50, 98),
    device_gibibytes=st.sampled_from([16, 24, 48, 80, 141, 180]),
)
def test_longer_sequences_and_smaller_shares_never_fit_better(
    name: str, length: int, more: int, percent: int, device_gibibytes: int
) -> None:
    def verdict(tokens: int, share: int) -> int:
        facts = find_model(name)
        assert facts is not None
        long = facts.model_copy(update={"max_position_embeddings": 1_000_000})
        vllm = {"maxModelLen": tokens, "kvCache": {"gpuMemoryUtilizationPercent": share}}
        accelerator = make_accelerator(deviceMemory=f"{device_gibibytes}Gi")
        result = check_variant(make_intent(engine={"vllm": vllm}), accelerator, accelerator_name="x", shape=long)
        assert all(refusal.reason == Reason.DOES_NOT_FIT for refusal in result.refusals)
        return 0 if result.plan is None else ORDER[result.plan.memory.verdict]

    assert verdict(length + more, percent) <= verdict(length, percent)
    assert verdict(length, percent) <= verdict(length, percent + 1)


@given(name=st.sampled_from(UNQUANTIZED), tensor=st.sampled_from([1, 2, 4]), tokens=st.integers(1, 300_000))
def test_more_devices_and_smaller_numbers_never_take_more_of_a_device(name: str, tensor: int, tokens: int) -> None:
    facts = find_model(name)
    one, two = layout(facts, tensor=tensor), layout(facts, tensor=tensor * 2)
    small = layout(facts, tensor=tensor, cache_type="fp8")

    assert two.sequence_bytes(tokens) <= one.sequence_bytes(tokens) <= one.sequence_bytes(tokens + 1)
    assert small.sequence_bytes(tokens) <= one.sequence_bytes(tokens)
    whole = loaded_weights_bytes(facts, dtype=None, split=Split(tensor=tensor)) or 0
    half = loaded_weights_bytes(facts, dtype=None, split=Split(tensor=tensor * 2)) or 0
    online = loaded_weights_bytes(facts, dtype=None, online_method="fp8_per_tensor", split=Split(tensor=tensor)) or 0
    assert half < whole
    assert online < whole


@given(name=st.sampled_from(UNQUANTIZED), available=st.integers(0, 2**38))
def test_the_longest_sequence_fits_and_a_longer_one_does_not(name: str, available: int) -> None:
    found = layout(find_model(name))
    longest = found.longest_sequence(available, at_most=131072)

    assert longest == 0 or found.sequence_bytes(longest) <= available
    assert longest == 131072 or found.sequence_bytes(longest + 1) > available


def test_a_checkpoint_that_predicts_tokens_itself_takes_a_layer_more_and_a_state_for_each() -> None:
    def taken(**speculative: Any) -> MemoryReport:
        split = {"tensorParallelSize": 2}
        more = {"speculative": speculative} if speculative else {}
        return memory("Qwen/Qwen3.5-27B", maxModelLen=262144, parallelism=split, **more)

    alone, two, three = taken(), *(taken(method="mtp", numSpeculativeTokens=count) for count in (2, 3))

    assert two.draft_model_bytes == pytest.approx((alone.weights_bytes or 0) / 64, rel=0.05)
    # Seventeen layers of attention instead of sixteen: a sixteenth more, and states on top of that.
    assert (two.kv_bytes_per_token or 0) > (alone.kv_bytes_per_token or 0) * 17 / 16
    assert (three.kv_bytes_per_token or 0) > (two.kv_bytes_per_token or 0)


def test_steps_that_run_ahead_keep_more_of_a_window() -> None:
    def held(**batching: Any) -> int:
        return memory("openai/gpt-oss-20b", maxModelLen=131072, batching=batching).kv_bytes_per_token or 0

    assert held(asyncScheduling=False) < held() == held(asyncScheduling=True)


def test_without_a_cached_prefix_one_state_is_enough() -> None:
    facts = find_model("Qwen/Qwen3.5-9B")

    assert layout(facts, states=2).state_bytes == 2 * layout(facts, states=1).state_bytes
    cached, plain = (
        memory("Qwen/Qwen3.5-9B", maxModelLen=8192, kvCache={"enablePrefixCaching": wanted}) for wanted in (True, False)
    )
    assert (plain.kv_bytes_per_token or 0) < (cached.kv_bytes_per_token or 0)
