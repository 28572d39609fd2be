"""The `/metrics` page: equal in form to recorded pages of real engines, and consistent in itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from builders.metrics_page import samples, skeleton, value
from inference_fleet.emulator.telemetry import token_buckets

_PAGES = Path(__file__).parents[2] / "data" / "vllm-metrics"
_SPECULATION = {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}}
# Families that appear only after an operation the emulator does not have (a sleep that was tried).
_NOT_EMULATED = "vllm:sleep_mode_operation"
_OWN = "inference_fleet_emulator_"

Start = Callable[..., Awaitable[Any]]


@pytest.mark.parametrize(
    ("recorded", "version", "options"),
    [
        ("0.32.0-cpu", "0.32.0", {}),
        ("0.32.0-cpu-ngram-lora", "0.32.0", {"enable_lora": True, "max_model_len": 2048, **_SPECULATION}),
        ("0.33.0-cpu-ngram", "0.33.0", _SPECULATION),
    ],
)
async def test_page_has_the_families_types_labels_values_and_buckets_of_the_real_engine(
    start_engine: Start, recorded: str, version: str, options: dict[str, Any]
) -> None:
    engine = await start_engine(version=version, **options)
    await engine.complete()
    await engine.client.get("/v1/models")
    have = {name: entry for name, entry in skeleton(await engine.page()).items() if not name.startswith(_OWN)}
    want = json.loads((_PAGES / f"{recorded}.json").read_text(encoding="utf-8"))
    want = {name: entry for name, entry in want.items() if not name.startswith(_NOT_EMULATED)}
    assert sorted(have) == sorted(want)
    for name, entry in want.items():
        assert have[name] == entry, name


def test_length_buckets_end_at_the_models_length() -> None:
    assert token_buckets(512) == (1, 2, 5, 10, 20, 50, 100, 200, 500)
    assert token_buckets(10) == (1, 2, 5, 10)
    assert token_buckets(1) == (1,)


async def test_after_n_requests_counters_histograms_and_gauges_agree(start_engine: Start) -> None:
    engine = await start_engine(max_num_seqs=3, max_num_batched_tokens=16)
    prompts, outputs = (3, 20, 7, 40, 1), (5, 1, 9, 2, 4)
    results = await asyncio.gather(
        *(
            engine.complete(prompt=[1] * prompt, max_tokens=output, stream=False)
            for prompt, output in zip(prompts, outputs, strict=True)
        )
    )
    assert [status for status, _ in results] == [200] * 5
    page = await engine.page()
    by_name = samples(page)

    def total(name: str) -> float:
        return sum(by_name[name].values())

    assert total("vllm:prompt_tokens_total") == total("vllm:request_prompt_tokens_sum") == sum(prompts)
    assert total("vllm:prompt_tokens_by_source_total") == total("vllm:request_prefill_kv_computed_tokens_sum") == 71
    assert total("vllm:generation_tokens_total") == total("vllm:request_generation_tokens_sum") == sum(outputs)
    assert total("vllm:iteration_tokens_total_sum") == sum(prompts) + sum(outputs)
    assert total("vllm:inter_token_latency_seconds_count") == sum(outputs) - 5
    assert value(page, "vllm:request_success_total", finished_reason="length") == 5
    for histogram in (
        "time_to_first_token_seconds",
        "e2e_request_latency_seconds",
        "request_queue_time_seconds",
        "request_prefill_time_seconds",
        "request_decode_time_seconds",
        "request_inference_time_seconds",
        "request_time_per_output_token_seconds",
        "request_prompt_tokens",
        "request_params_n",
        "request_params_max_tokens",
        "request_num_preemptions",
    ):
        assert total(f"vllm:{histogram}_count") == 5, histogram
    decode, first = total("vllm:request_decode_time_seconds_sum"), total("vllm:time_to_first_token_seconds_sum")
    assert decode == pytest.approx(total("vllm:inter_token_latency_seconds_sum"))
    assert total("vllm:e2e_request_latency_seconds_sum") == pytest.approx(first + decode)
    assert total("vllm:request_inference_time_seconds_sum") == pytest.approx(
        total("vllm:request_prefill_time_seconds_sum") + decode
    )
    assert total("vllm:e2e_request_latency_seconds_sum") == pytest.approx(
        total("vllm:request_queue_time_seconds_sum") + total("vllm:request_inference_time_seconds_sum")
    )
    for gauge in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert total(f"vllm:{gauge}") == 0, gauge
    assert total("inference_fleet_emulator_request_overrun_ratio_count") == 5
    # A step that only moves a long prompt on brings no token and is no iteration.
    assert total("inference_fleet_emulator_step_lag_seconds_count") >= total("vllm:iteration_tokens_total_count")


async def test_gauges_show_the_batch_and_the_queue_while_they_last(start_engine: Start) -> None:
    engine = await start_engine(max_num_seqs=2)
    tasks = [asyncio.create_task(engine.complete(max_tokens=200)) for _ in range(5)]
    async with asyncio.timeout(5):
        while True:
            page = await engine.page()
            if value(page, "vllm:num_requests_waiting") == 3:
                break
    assert value(page, "vllm:num_requests_running") == 2
    assert value(page, "vllm:num_requests_waiting_by_reason", reason="capacity") == 3
    assert 0 < value(page, "vllm:kv_cache_usage_perc") < 1
    await asyncio.gather(*tasks)


async def test_speculation_counters_agree(start_engine: Start) -> None:
    engine = await start_engine(**_SPECULATION)
    await engine.complete(max_tokens=100)
    by_name = samples(await engine.page())

    def total(name: str) -> float:
        return sum(by_name[f"vllm:spec_decode_num_{name}_total"].values())

    assert total("accepted_tokens") == total("accepted_tokens_per_pos")
    # Every decode step wrote 1 token and the accepted ones; the first token of the 100 came from the prefill.
    assert total("drafts") + total("accepted_tokens") in (99, 98)
    assert 0 < total("accepted_tokens") < total("draft_tokens") <= 3 * total("drafts")


async def test_preemptions_are_counted(start_engine: Start) -> None:
    # 8 blocks of 16 for two requests of 16 + 80 tokens: 6 blocks each at their end.
    engine = await start_engine(num_gpu_blocks_override=8, max_model_len=128)
    await asyncio.gather(*(engine.complete(prompt=[1] * 16, max_tokens=80) for _ in range(2)))
    by_name = samples(await engine.page())
    assert sum(by_name["vllm:num_preemptions_total"].values()) == 1
    assert sum(by_name["vllm:request_num_preemptions_sum"].values()) == 1
