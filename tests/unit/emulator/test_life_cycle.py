"""Birth and death: signals while starting, drain, abort, engine death, and the process's exit statuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from builders.engine import make_scheduler, make_sequence, make_settings
from inference_fleet.emulator import life_cycle
from inference_fleet.emulator.__main__ import engine_arguments
from inference_fleet.emulator.runner import EngineRunner, Faults
from inference_fleet.emulator.sequence import FinishReason
from inference_fleet.emulator.server import EngineServer, Phase
from inference_fleet.emulator.switches import PREFIX, Switches
from inference_fleet.emulator.telemetry import Telemetry


class Site:
    """Notes when the listener was closed."""

    stopped_at: float | None = None

    async def stop(self) -> None:
        self.stopped_at = asyncio.get_running_loop().time()


class Stage:
    """A running engine without a socket, and its life cycle as a task on the virtual clock."""

    def __init__(self, *, shutdown_timeout: float, faults: Faults | None = None) -> None:
        settings = make_settings(shutdown_timeout=int(shutdown_timeout))
        telemetry = Telemetry(settings.page)
        self.crashed = asyncio.Event()
        self.runner = EngineRunner(
            make_scheduler(max_num_seqs=16, num_blocks=5000),
            telemetry,
            faults=faults or Faults(),
            on_crash=self.crashed.set,
        )
        self.server = EngineServer(settings, self.runner, telemetry)
        self.site = Site()
        self.signals = life_cycle.Signals(asyncio.Event())
        self.heard: list[FinishReason | None] = []
        self.stepping = asyncio.create_task(self.runner.run())
        self.life = asyncio.create_task(
            life_cycle.serve_until_over(
                self.signals,
                self.crashed,
                self.server,
                self.runner,
                self.site,
                settings,
                Switches(exit_seconds=2.0),
            )
        )

    def open_request(self, *, output: int) -> None:
        """A stream that stays open until its last token or an error."""
        self.server.open_streams += 1
        self.server.quiet.clear()

        def sink(tokens: int, finished: FinishReason | None) -> None:
            if finished is not None:
                self.heard.append(finished)
                self.hang_up()

        self.runner.submit(make_sequence(output=output, at=self.runner.now()), sink)

    def hang_up(self) -> None:
        self.server.open_streams -= 1
        if not self.server.open_streams:
            self.server.quiet.set()


@pytest.fixture
async def stages() -> AsyncIterator[list[Stage]]:
    made: list[Stage] = []
    yield made
    for stage in made:
        for task in (stage.life, stage.stepping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.looptime(start=0)
async def test_drain_finishes_what_runs_with_the_listener_open(stages: list[Stage]) -> None:
    stage = Stage(shutdown_timeout=60)
    stages.append(stage)
    stage.open_request(output=1001)  # 14 ms + 1000 x 12 ms
    await asyncio.sleep(1.0)
    stage.signals.on_signal()
    await asyncio.sleep(0.1)
    assert stage.server.phase is Phase.DRAINING
    assert await stage.life == 0
    assert stage.heard == [FinishReason.LENGTH]
    assert stage.site.stopped_at is None
    assert asyncio.get_running_loop().time() == pytest.approx(12.014 + 2.0, abs=0.01)


@pytest.mark.looptime(start=0)
async def test_drain_ends_at_its_time_out_and_cuts_what_still_runs(stages: list[Stage]) -> None:
    stage = Stage(shutdown_timeout=5)
    stages.append(stage)
    stage.open_request(output=1001)
    stage.signals.on_signal()
    assert await stage.life == 0
    assert stage.heard == [FinishReason.ERROR]
    assert asyncio.get_running_loop().time() == pytest.approx(5.0 + 2.0, abs=0.05)


@pytest.mark.looptime(start=0)
async def test_abort_closes_the_listener_and_ends_a_few_streams_with_an_error(stages: list[Stage]) -> None:
    stage = Stage(shutdown_timeout=0)
    stages.append(stage)
    stage.open_request(output=1001)
    await asyncio.sleep(0.1)
    stage.signals.on_signal()
    assert await stage.life == 0
    assert stage.heard == [FinishReason.ERROR]
    assert stage.site.stopped_at == pytest.approx(0.1, abs=0.01)


@pytest.mark.looptime(start=0)
async def test_abort_with_many_streams_hangs_until_the_callers_hang_up(stages: list[Stage]) -> None:
    stage = Stage(shutdown_timeout=0)
    stages.append(stage)
    for _ in range(8):
        stage.open_request(output=1001)
    stage.signals.on_signal()
    await asyncio.sleep(300.0)
    assert not stage.life.done()  # with 7 streams it would be over after 2 s
    assert stage.heard == []
    for _ in range(8):
        stage.hang_up()
    assert await stage.life == 0


@pytest.mark.looptime(start=0)
async def test_dead_engine_closes_its_listener_and_leaves_with_1(stages: list[Stage]) -> None:
    stage = Stage(shutdown_timeout=60, faults=Faults(crash_after_requests=1))
    stages.append(stage)
    stage.open_request(output=1)
    stage.open_request(output=1001)
    assert await stage.life == 1
    assert stage.heard == [FinishReason.LENGTH, FinishReason.ERROR]
    assert stage.server.phase is Phase.DEAD
    assert stage.site.stopped_at == pytest.approx(0.018 + 1.5, abs=0.01)
    assert asyncio.get_running_loop().time() == pytest.approx(0.018 + 3.5, abs=0.01)


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize(("at", "ended"), [(1.9, True), (2.1, False), (19.0, False)])
async def test_signal_while_starting_is_heeded_before_the_engine_is_spawned_and_lost_after(
    at: float, ended: bool
) -> None:
    signals = life_cycle.Signals(asyncio.Event())
    asyncio.get_running_loop().call_later(at, signals.on_signal)
    assert await life_cycle.initialise(signals, 20.0) is ended
    assert asyncio.get_running_loop().time() == pytest.approx(at if ended else 20.0)
    assert signals.terminated.is_set() is ended


@pytest.mark.parametrize(
    "words",
    [
        ["vllm", "serve", "m", "--port", "1"],
        ["serve", "m", "--port", "1"],
        ["/usr/bin/python3", "-m", "vllm.entrypoints.launchers.api_server.entry", "m", "--port", "1"],
        ["m", "--port", "1"],
    ],
)
def test_every_way_to_start_vllm_means_the_same(words: list[str]) -> None:
    assert engine_arguments(words) == ("m", "--port", "1")


# --- the real process -------------------------------------------------------------------------------------------


def start_process(*arguments: str, **switches: str) -> subprocess.Popen[str]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    environment |= {PREFIX + name: text for name, text in switches.items()}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.Popen(
        [sys.executable, "-m", "inference_fleet.emulator", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_out_of_memory_leaves_with_1_and_vllms_messages() -> None:
    process = start_process("m", OUT_OF_MEMORY="1")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "CUDA out of memory" in errors
    assert errors.strip().splitlines()[-1].startswith("RuntimeError: Engine core initialization failed")


def test_misspelt_switch_leaves_with_2() -> None:
    process = start_process("m", COLD_STRAT="1")
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "no such switch" in errors) == (2, True)


def test_command_line_that_the_version_refuses_leaves_with_2_and_names_the_flag() -> None:
    process = start_process("m", "--swap-space=4")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "--swap-space" in errors


async def test_process_serves_drains_on_sigterm_and_leaves_with_0(unused_tcp_port: int) -> None:
    process = start_process(
        "vllm",
        "serve",
        "m",
        "--host=127.0.0.1",
        f"--port={unused_tcp_port}",
        "--shutdown-timeout=30",
        COLD_START_SECONDS="0.1",
        EXIT_SECONDS="0",
        STEP_BASE_SECONDS="0.01",
    )
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    assert "serves m" in line
    body = {"prompt": "x", "max_tokens": 30, "ignore_eos": True, "stream": True}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as session,
        session.post("/v1/completions", json=body) as response,
    ):
        await response.content.readany()
        process.send_signal(signal.SIGTERM)
        text = await response.text()
    assert text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"length"' in text
    _, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, errors) == (0, "")
