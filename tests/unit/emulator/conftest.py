from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from builders.engine import make_settings
from inference_fleet.emulator.runner import EngineRunner, Faults
from inference_fleet.emulator.scheduler import Scheduler
from inference_fleet.emulator.server import EngineServer
from inference_fleet.emulator.telemetry import Telemetry


@dataclass
class Engine:
    """An emulated engine in this process, behind a real socket of this machine."""

    client: TestClient[web.Request, web.Application]
    server: EngineServer
    runner: EngineRunner
    crashed: asyncio.Event

    async def page(self) -> str:
        return await (await self.client.get("/metrics")).text()

    async def complete(self, **body: Any) -> tuple[int, Any]:
        body = {"prompt": [1, 2, 3, 4], "max_tokens": 3, "ignore_eos": True} | body
        async with self.client.post("/v1/completions", json=body) as response:
            return response.status, await response.json()


@pytest.fixture
async def start_engine() -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(*, faults: Faults | None = None, **options: Any) -> Engine:
            settings = make_settings(**options)
            telemetry = Telemetry(settings.page)
            crashed = asyncio.Event()
            runner = EngineRunner(
                Scheduler(settings.limits, settings.step_time),
                telemetry,
                faults=faults or Faults(),
                on_crash=crashed.set,
            )
            server = EngineServer(settings, runner, telemetry)
            test_server = TestServer(server.application())
            await test_server.start_server()
            client: TestClient[web.Request, web.Application] = TestClient(test_server)
            stack.push_async_callback(client.close)
            stepping = asyncio.create_task(runner.run())

            async def stop() -> None:
                stepping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await stepping

            stack.push_async_callback(stop)
            return Engine(client, server, runner, crashed)

        yield start
