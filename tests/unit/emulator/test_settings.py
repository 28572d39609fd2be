"""From options to an engine: defaults, sizes, and starts that fail as vLLM's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_fleet.emulator.scheduler import SchedulingPolicy, Speculation
from inference_fleet.emulator.settings import EngineSettings, StartFailure, engine_settings
from inference_fleet.emulator.switches import Switches


def started(switches: Switches | None = None, **options: Any) -> EngineSettings:
    settings = engine_settings(options, version="0.33.0", switches=switches or Switches())
    assert isinstance(settings, EngineSettings), settings
    return settings


def failed(switches: Switches | None = None, **options: Any) -> StartFailure:
    failure = engine_settings(options, version="0.33.0", switches=switches or Switches())
    assert isinstance(failure, StartFailure)
    return failure


def test_bare_command_line_takes_vllms_defaults() -> None:
    settings = started(model="m")
    assert (settings.limits.max_num_seqs, settings.limits.max_num_batched_tokens) == (256, 2048)
    assert (settings.host, settings.port, settings.shutdown_timeout_seconds) == ("0.0.0.0", 8000, 0.0)
    assert settings.served_model_names == ("m",)
    assert settings.limits.policy is SchedulingPolicy.FCFS


def test_first_served_name_is_the_metrics_label() -> None:
    assert started(model="m", served_model_name=["a", "b"]).page.model_name == "a"


def test_cache_size_comes_from_the_switch_then_blocks_then_bytes() -> None:
    everything = {"num_gpu_blocks_override": 1000, "kv_cache_memory_bytes": 2**30}
    assert started(Switches(kv_cache_tokens=20_000), **everything).limits.num_blocks == 1250
    assert started(**everything).limits.num_blocks == 1000
    # 1 GiB of 131,072 bytes a token.
    assert started(kv_cache_memory_bytes=2**30).limits.num_blocks == 8192 // 16


def test_model_longer_than_its_cache_fails_and_names_the_length_that_fits() -> None:
    failure = failed(Switches(kv_cache_tokens=4096), max_model_len=8192)
    assert "max seq len (8192)" in failure.lines[0]
    assert "estimated maximum model length is 4096" in failure.lines[0]
    assert failure.lines[-1].startswith("RuntimeError: Engine core initialization failed")


@pytest.mark.parametrize("auto", ["auto", "-1", -1])
def test_automatic_length_shrinks_to_the_cache(auto: object) -> None:
    assert started(Switches(kv_cache_tokens=4096), max_model_len=auto).max_model_len == 4096


def test_length_of_a_checkpoint_on_disk_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 640}')
    assert started(model=str(tmp_path)).max_model_len == 640
    (tmp_path / "config.json").write_text("not json")
    assert started(model=str(tmp_path)).max_model_len == 8192


def test_a_folder_must_hold_a_model(tmp_path: Path) -> None:
    assert "local directory specified" in failed(model=str(tmp_path)).lines[1]
    assert "Repo id must be in the form" in failed(model=str(tmp_path / "missing")).lines[0]
    assert started(model="s3://bucket/model", load_format="runai_streamer").model == "s3://bucket/model"


def test_out_of_memory_at_start_says_what_vllm_says() -> None:
    failure = failed(Switches(out_of_memory=1))
    assert "CUDA out of memory" in failure.lines[0]
    assert "Engine core initialization failed" in failure.lines[1]


def test_batch_smaller_than_its_sequences_fails() -> None:
    assert "must be at least max_num_seqs (64)" in failed(max_num_seqs=64, max_num_batched_tokens=32).lines[0]


def test_without_chunking_the_batch_must_hold_the_longest_prompt() -> None:
    assert "chunked prefill is off" in failed(enable_chunked_prefill=False, max_num_batched_tokens=4096).lines[0]
    assert started(enable_chunked_prefill=False).limits.max_num_batched_tokens == 8192


@pytest.mark.parametrize(
    "options",
    [
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}},
        {"speculative_config": '{"method": "ngram", "num_speculative_tokens": 4}'},
        {"spec_tokens": 4},
    ],
)
def test_speculation_is_read_in_each_form(options: dict[str, Any]) -> None:
    settings = started(Switches(acceptance_rate=0.5), **options)
    assert settings.limits.speculation == Speculation(num_tokens=4, acceptance_rate=0.5)
    assert settings.page.num_speculative_tokens == 4


def test_switches_set_the_step_model_one_by_one() -> None:
    step_time = started(Switches(step_base_seconds=0.5, step_per_prefill_token_seconds=0.0)).step_time
    assert step_time.step_seconds(prefill_tokens=1000, decoding_sequences=1) == pytest.approx(0.5 + 0.00018)
