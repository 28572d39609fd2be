"""What the operator, the emulator and the scaler assume about vLLM, asked of vLLM itself.

One start, one scenario, recorded; each test holds one rule about the recording, in any order.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from builders.metrics_page import skeleton, value
from builders.real_engine_process import MODEL_NAME, ServingEngine, log_end, serving
from inference_fleet.sandbox.real_engine import find_real_engine

MAX_NUM_SEQS = 8
SHUTDOWN_TIMEOUT_SECONDS = 60
PROMPT = "hello"  # one token per byte: 5
STREAMED_TOKENS = 20
DRAINED_TOKENS = 480
ARGUMENTS = (
    *("--max-model-len", "512", "--max-num-seqs", str(MAX_NUM_SEQS), "--max-num-batched-tokens", "512"),
    *("--gpu-memory-utilization", "0.5", "--enforce-eager", "--shutdown-timeout", str(SHUTDOWN_TIMEOUT_SECONDS)),
)


@dataclass(frozen=True)
class Recording:
    """What one real engine answered, from its first request to its end."""

    ready_after_seconds: float
    version: str
    models: list[str]
    streamed: list[dict[str, Any]]
    chat: dict[str, Any]
    too_long_status: int
    metrics: str
    drained: list[dict[str, Any]]
    while_draining: tuple[int, str]
    health_while_draining: int
    exit_status: int


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    with serving(engine, folder=tmp_path_factory.mktemp("engine"), arguments=ARGUMENTS) as server:
        return asyncio.run(scenario(server))


async def scenario(server: ServingEngine) -> Recording:
    async with aiohttp.ClientSession(server.url, timeout=aiohttp.ClientTimeout(total=120)) as client:
        async with client.get("/version") as answer:
            version = (await answer.json())["version"]
        async with client.get("/v1/models") as answer:
            models = [model["id"] for model in (await answer.json())["data"]]
        streamed = [chunk async for chunk in stream(client, max_tokens=STREAMED_TOKENS)]
        messages = [{"role": "user", "content": PROMPT}]
        body = {"model": MODEL_NAME, "messages": messages, "max_tokens": 4, "ignore_eos": True}
        async with client.post("/v1/chat/completions", json=body) as answer:
            chat = await answer.json()
        async with client.post("/v1/completions", json={"model": MODEL_NAME, "prompt": "x" * 2000}) as answer:
            too_long_status = answer.status
        async with client.get("/metrics") as answer:
            metrics = await answer.text()
        drained: list[dict[str, Any]] = []
        refused: tuple[int, str] | None = None
        health = 0
        async for chunk in stream(client, max_tokens=DRAINED_TOKENS):
            drained.append(chunk)
            if len(drained) == 1:
                server.process.send_signal(signal.SIGTERM)
            if refused is None:
                refused, health = await ask_while_draining(client)
    exit_status = await asyncio.to_thread(server.process.wait, SHUTDOWN_TIMEOUT_SECONDS)
    assert refused is not None, f"the engine accepted requests to the end:\n{log_end(server.log)}"
    return Recording(
        server.ready_after_seconds,
        version,
        models,
        streamed,
        chat,
        too_long_status,
        metrics,
        drained,
        refused,
        health,
        exit_status,
    )


async def ask_while_draining(client: aiohttp.ClientSession) -> tuple[tuple[int, str] | None, int]:
    """A new request's refusal (None while the signal has not been taken up yet) and the status of /health."""
    async with client.post("/v1/completions", json={"model": MODEL_NAME, "prompt": PROMPT, "max_tokens": 1}) as answer:
        refused = None if answer.status == 200 else (answer.status, await answer.text())
    async with client.get("/health") as answer:
        return refused, answer.status


async def stream(client: aiohttp.ClientSession, *, max_tokens: int) -> AsyncIterator[dict[str, Any]]:
    """The events of one streamed completion, parsed; the closing [DONE] must come and is left out."""
    body = {
        "model": MODEL_NAME,
        "prompt": PROMPT,
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    }
    done = False
    async with client.post("/v1/completions", json=body) as answer:
        assert answer.status == 200
        async for line in answer.content:
            text = line.decode().strip()
            if text == "data: [DONE]":
                done = True
            elif text:
                yield json.loads(text.removeprefix("data: "))
    assert done


def finish(events: list[dict[str, Any]]) -> tuple[str | None, int]:
    """How a stream ended and with how many tokens.

    Not the number of events: an engine whose reader is slow puts several tokens into one.
    """
    reasons = [choice["finish_reason"] for event in events for choice in event["choices"]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    return reasons[-1], events[-1]["usage"]["completion_tokens"]


def test_it_is_the_pinned_version(recording: Recording) -> None:
    engine = find_real_engine()
    assert engine is not None
    assert recording.version.removesuffix("+cpu") == engine.version == "0.32.0"
    assert recording.models == [MODEL_NAME]


def test_a_stream_brings_every_token(recording: Recording) -> None:
    assert len(recording.streamed) > 2
    assert finish(recording.streamed) == ("length", STREAMED_TOKENS)


def test_chat_uses_the_models_template(recording: Recording) -> None:
    assert recording.chat["usage"]["prompt_tokens"] == len("user: hello\nassistant: ")
    assert recording.chat["usage"]["completion_tokens"] == 4


def test_a_prompt_longer_than_the_context_is_the_clients_error(recording: Recording) -> None:
    assert recording.too_long_status == 400


def test_counters_agree_with_the_requests_made(recording: Recording) -> None:
    chat_tokens = recording.chat["usage"]["prompt_tokens"]
    assert value(recording.metrics, "vllm:prompt_tokens_total") == len(PROMPT) + chat_tokens
    assert value(recording.metrics, "vllm:generation_tokens_total") == STREAMED_TOKENS + 4
    assert value(recording.metrics, "vllm:request_success_total", finished_reason="length") == 2
    assert value(recording.metrics, "vllm:time_to_first_token_seconds_count") == 2
    assert value(recording.metrics, "vllm:inter_token_latency_seconds_count") == STREAMED_TOKENS - 1 + 3
    assert value(recording.metrics, "vllm:num_requests_running") == 0
    assert value(recording.metrics, "vllm:num_requests_waiting") == 0


def test_its_metrics_are_those_the_emulator_is_held_to(recording: Recording) -> None:
    recorded = Path(__file__).parents[1] / "data" / "vllm-metrics" / "0.32.0-cpu.json"
    assert skeleton(recording.metrics) == json.loads(recorded.read_text(encoding="utf-8"))


def test_sigterm_lets_a_running_stream_finish(recording: Recording) -> None:
    assert finish(recording.drained) == ("length", DRAINED_TOKENS)
    assert recording.exit_status == 0


def test_while_draining_new_requests_get_500_and_health_stays_200(recording: Recording) -> None:
    # Hence the preStop sleep: endpoints must be gone before the signal, for /health does not tell.
    status, text = recording.while_draining
    assert status == 500
    assert "cannot schedule new futures after shutdown" in text
    assert recording.health_while_draining == 200
