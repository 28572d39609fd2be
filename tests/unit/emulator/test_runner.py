"""The runner on a virtual clock: tokens leave when the step model says so, and faults come when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import pytest

from builders.engine import make_scheduler, make_sequence, make_settings
from inference_fleet.emulator.runner import EngineRunner, Faults
from inference_fleet.emulator.sequence import FinishReason
from inference_fleet.emulator.telemetry import Telemetry


class Caller:
    """A sink that notes what came when."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, int, FinishReason | None]] = []
        self.ended = asyncio.Event()

    def __call__(self, tokens: int, finished: FinishReason | None) -> None:
        self.heard.append((round(asyncio.get_running_loop().time(), 6), tokens, finished))
        if finished is not None:
            self.ended.set()

    @property
    def times(self) -> list[float]:
        return [at for at, _, _ in self.heard]


@pytest.fixture
async def start_runner() -> AsyncIterator[Callable[..., EngineRunner]]:
    tasks: list[asyncio.Task[None]] = []

    def start(faults: Faults | None = None, on_crash: Callable[[], None] = lambda: None) -> EngineRunner:
        runner = EngineRunner(
            make_scheduler(), Telemetry(make_settings().page), faults=faults or Faults(), on_crash=on_crash
        )
        tasks.append(asyncio.create_task(runner.run()))
        return runner

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.looptime(start=0)
async def test_tokens_leave_when_the_step_model_says(start_runner: Callable[..., EngineRunner]) -> None:
    runner, caller = start_runner(), Caller()
    runner.submit(make_sequence(prompt=4, output=3, at=runner.now()), caller)
    await caller.ended.wait()
    # 10 ms + 4 prompt tokens of 1 ms, then 10 + 2 ms twice.
    assert caller.times == [0.014, 0.026, 0.038]
    assert [tokens for _, tokens, _ in caller.heard] == [1, 1, 1]
    assert caller.heard[-1][2] is FinishReason.LENGTH


@pytest.mark.looptime(start=0)
async def test_an_idle_engine_starts_its_next_step_when_the_request_comes(
    start_runner: Callable[..., EngineRunner],
) -> None:
    runner = start_runner()
    for at in (5.0, 9.5):
        await asyncio.sleep(at - runner.now())
        caller = Caller()
        runner.submit(make_sequence(prompt=4, output=1, at=at), caller)
        await caller.ended.wait()
        assert caller.times == [at + 0.014]


@pytest.mark.looptime(start=0)
async def test_request_that_comes_during_a_step_joins_the_next_one(start_runner: Callable[..., EngineRunner]) -> None:
    runner, first, second = start_runner(), Caller(), Caller()
    runner.submit(make_sequence(prompt=4, output=2, at=0.0), first)
    await asyncio.sleep(0.005)
    runner.submit(make_sequence(prompt=4, output=1, at=0.005), second)
    await second.ended.wait()
    # The second step starts at 14 ms with one decode and a prefill of 4: 10 + 2 + 4 ms.
    assert second.times == [0.030]


@pytest.mark.looptime(start=0)
async def test_hanging_engine_keeps_its_requests_and_writes_nothing(start_runner: Callable[..., EngineRunner]) -> None:
    runner = start_runner(Faults(hang_after_requests=1))
    short, long = Caller(), Caller()
    runner.submit(make_sequence(output=1), short)
    runner.submit(make_sequence(output=50), long)
    await asyncio.sleep(100.0)
    assert short.ended.is_set()
    assert len(long.heard) == 1
    assert runner.in_flight == 1
    assert runner.hung
    assert not runner.dead


@pytest.mark.looptime(start=0)
async def test_crash_ends_every_request_with_an_error(start_runner: Callable[..., EngineRunner]) -> None:
    crashed: list[float] = []
    runner = start_runner(Faults(crash_after_requests=1), on_crash=lambda: crashed.append(1.0))
    short, long = Caller(), Caller()
    runner.submit(make_sequence(output=1), short)
    runner.submit(make_sequence(output=50), long)
    await long.ended.wait()
    assert crashed == [1.0]
    assert short.heard[-1][2] is FinishReason.LENGTH
    assert long.heard[-1][1:] == (0, FinishReason.ERROR)
    assert (runner.dead, runner.in_flight) == (True, 0)


@pytest.mark.looptime(start=0)
async def test_slow_start_stretches_the_first_steps_only(start_runner: Callable[..., EngineRunner]) -> None:
    runner, caller = start_runner(Faults(slow_start_seconds=0.05, slow_start_factor=3.0)), Caller()
    runner.submit(make_sequence(prompt=4, output=4), caller)
    await caller.ended.wait()
    # 3 x 14 ms, then a step begun at 42 ms of 3 x 12 ms, then two of 12 ms.
    assert caller.times == [0.042, 0.078, 0.090, 0.102]


@pytest.mark.looptime(start=0)
async def test_aborted_request_hears_nothing_more(start_runner: Callable[..., EngineRunner]) -> None:
    runner, caller = start_runner(), Caller()
    sequence = make_sequence(output=50)
    runner.submit(sequence, caller)
    await asyncio.sleep(0.03)
    runner.abort(sequence)
    heard = len(caller.heard)
    await asyncio.sleep(1.0)
    assert len(caller.heard) == heard
    assert runner.in_flight == 0


async def test_lateness_does_not_add_up(start_runner: Callable[..., EngineRunner]) -> None:
    # On the real clock: the machine stops for 60 ms while the engine has 12 ms steps; the steps that were due
    # meanwhile follow at once, and the last token is as early as if nothing had happened.
    runner, caller = start_runner(), Caller()
    started_at = runner.now()

    def stopping(tokens: int, finished: FinishReason | None) -> None:
        caller(tokens, finished)
        if len(caller.heard) == 2:
            time.sleep(0.06)

    runner.submit(make_sequence(prompt=4, output=20, at=started_at), stopping)
    await caller.ended.wait()
    modelled = 0.014 + 19 * 0.012
    assert caller.times[-1] - started_at < modelled + 0.05
    assert caller.times[-1] - started_at >= modelled
