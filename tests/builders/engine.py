"""Builders of an emulated engine with small, round numbers."""

from __future__ import annotations

from typing import Any

from inference_fleet.emulator.scheduler import Scheduler, SchedulerLimits
from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.emulator.settings import EngineSettings, engine_settings
from inference_fleet.emulator.switches import Switches
from inference_fleet.engine.step_time import StepTimeModel

# 10 ms a step, 1 ms a prompt token, 2 ms a decoding sequence: sums that a reader checks in the head.
ROUND_STEP_TIME = StepTimeModel(
    base_seconds=0.010, per_prefill_token_seconds=0.001, per_decoding_sequence_seconds=0.002
)


def make_sequence(*, prompt: int = 4, output: int = 3, at: float = 0.0, **more: Any) -> Sequence:
    return Sequence(
        prompt_tokens=prompt,
        output_limit=output,
        ends_with=more.pop("ends_with", FinishReason.LENGTH),
        arrived_at=at,
        requested_tokens=output,
        **more,
    )


def make_scheduler(**limits: Any) -> Scheduler:
    defaults: dict[str, Any] = {"max_num_seqs": 4, "max_num_batched_tokens": 64, "num_blocks": 100, "block_size": 4}
    return Scheduler(SchedulerLimits(**(defaults | limits)), ROUND_STEP_TIME)


def run_until_idle(scheduler: Scheduler, *, now: float = 0.0, max_steps: int = 10_000) -> float:
    """Step until nothing is left; the time at the end."""
    for _ in range(max_steps):
        step = scheduler.start_step(now=now)
        if step is None:
            return now
        scheduler.finish_step(step)
        now = step.ends_at
    raise AssertionError(f"still busy after {max_steps} steps")


def make_settings(*, switches: Switches | None = None, version: str = "0.33.0", **options: Any) -> EngineSettings:
    """Settings of a fast engine: 1 ms a step."""
    fast = switches or Switches(
        step_base_seconds=0.001, step_per_prefill_token_seconds=0.0, step_per_decoding_sequence_seconds=0.0
    )
    defaults: dict[str, Any] = {"model_tag": "tiny", "max_model_len": 512, "max_num_seqs": 8}
    settings = engine_settings(defaults | options, version=version, switches=fast)
    assert isinstance(settings, EngineSettings), settings
    return settings
