"""Sends a trace's requests in wall-clock time, open loop and without retries, and notes what came back.

Every request goes out at its moment whatever became of those before it, over a connection of its own: behind a
Service connections, not requests, are what is spread over pods.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from inference_fleet.load.judgement import Fate, Outcome
from inference_fleet.load.trace import Trace, TraceRequest

# Ordinary tokens in every usual vocabulary, one of bytes alone included.
_FIRST_TOKEN_ID = 10
_TOKEN_IDS = 200
_DONE = b"data: [DONE]"
_EVENT_END = b"\n\n"
# What is kept of a stream to find its end and its usage.
_TAIL_BYTES = 4096
_ERROR_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go: base URLs taken in turn, and the model's served name."""

    base_urls: tuple[str, ...]
    model: str
    # From sending to the last byte; then the request is failed or cut.
    timeout_seconds: float = 120.0


@dataclass(slots=True)
class Progress:
    """How far a replay is; read while it runs."""

    total: int
    sent: int = 0
    in_flight: int = 0
    outcomes: list[Outcome] = field(default_factory=list)


async def replay(
    trace: Trace,
    target: Target,
    *,
    progress: Progress,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> None:
    """Send every request of `trace` and wait for all answers; outcomes gather in `progress`.

    Cancelling it ends all open requests (they count as cut, whether their answer had begun or not) and waits until
    they are closed.
    """
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=target.timeout_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started_at = loop.time()
        tasks: set[asyncio.Task[None]] = set()

        async def one(number: int, request: TraceRequest) -> None:
            progress.in_flight += 1
            url = target.base_urls[number % len(target.base_urls)]
            try:
                outcome = await _send(session, url, target.model, request, number=number, started_at=started_at)
            except asyncio.CancelledError:
                progress.outcomes.append(_interrupted(request, now=loop.time() - started_at))
                raise
            finally:
                progress.in_flight -= 1
            progress.outcomes.append(outcome)
            on_outcome(outcome)

        try:
            for number, request in enumerate(trace.requests):
                await asyncio.sleep(max(0.0, started_at + request.arrival_seconds - loop.time()))
                progress.sent += 1
                task = asyncio.create_task(one(number, request))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            while tasks:
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _send(
    session: aiohttp.ClientSession, url: str, model: str, request: TraceRequest, *, number: int, started_at: float
) -> Outcome:
    loop = asyncio.get_running_loop()
    body = {
        "model": model,
        "prompt": prompt_tokens(number, request.input_tokens),
        "max_tokens": max(1, request.output_tokens),
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    sent_at = loop.time()
    stream = _Stream()
    error: str | None = None
    try:
        async with session.post(f"{url.rstrip('/')}/v1/completions", json=body) as response:
            if response.status == 200:
                async for data in response.content.iter_any():
                    stream.feed(data, now=loop.time())
            else:
                text = await response.text(errors="replace")
                error = f"HTTP {response.status}: {text[:_ERROR_CHARACTERS]}"
    except TimeoutError:
        error = "timed out"
    except (aiohttp.ClientError, OSError) as caught:
        error = f"{type(caught).__name__}: {caught}"[:_ERROR_CHARACTERS]
    ended_at = loop.time()
    ending = stream.ending() if error is None else error
    tokens = stream.output_tokens
    first, last = stream.first_token_at, stream.last_token_at
    fate = Fate.FAILED if first is None else Fate.COMPLETED if ending is None else Fate.CUT
    return Outcome(
        arrival_seconds=request.arrival_seconds,
        sent_seconds=sent_at - started_at,
        ended_seconds=ended_at - started_at,
        fate=fate,
        time_to_first_token_seconds=None if first is None else first - sent_at,
        inter_token_latency_seconds=None
        if first is None or last is None or tokens < 2
        else (last - first) / (tokens - 1),
        output_tokens=tokens,
        error=ending,
    )


def _interrupted(request: TraceRequest, *, now: float) -> Outcome:
    return Outcome(
        arrival_seconds=request.arrival_seconds,
        sent_seconds=request.arrival_seconds,
        ended_seconds=now,
        fate=Fate.CUT,
        error="interrupted",
    )


def prompt_tokens(number: int, length: int) -> list[int]:
    """Token ids of request `number`, other ones than its neighbours' from the first on: no prefix is shared."""
    return [_FIRST_TOKEN_ID + (number * 31 + position * (1 + number % 7)) % _TOKEN_IDS for position in range(length)]


class _Stream:
    """Reads server-sent events just closely enough: when tokens came, how it ended, how many they were."""

    __slots__ = ("_begun", "_events", "_tail", "first_token_at", "last_token_at")

    def __init__(self) -> None:
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self._events = 0
        # Whole events, the newest; and what has begun and not ended.
        self._tail = b""
        self._begun = b""

    def feed(self, data: bytes, *, now: float) -> None:
        whole, end, begun = (self._begun + data).rpartition(_EVENT_END)
        self._begun = begun[-_TAIL_BYTES:]
        if not end:
            return
        self._tail = (self._tail + whole + end)[-_TAIL_BYTES:]
        tokens = whole.count(b'"text":')
        if tokens:
            self.first_token_at = now if self.first_token_at is None else self.first_token_at
            self.last_token_at = now
            self._events += tokens

    @property
    def output_tokens(self) -> int:
        """From the usage, else the events that carried text."""
        usage = self._usage()
        return self._events if usage is None else usage

    def ending(self) -> str | None:
        """None if the stream came to its proper end, else what was wrong."""
        payloads = _payloads(self._tail)
        errors = [payload["error"] for payload in payloads if "error" in payload]
        if errors:
            return f"error event: {json.dumps(errors[-1])[:_ERROR_CHARACTERS]}"
        if _DONE not in self._tail:
            return "the stream ended without its end mark"
        if not any(choice.get("finish_reason") for payload in payloads for choice in payload.get("choices", ())):
            return "the stream ended without a finish reason"
        return None

    def _usage(self) -> int | None:
        for payload in reversed(_payloads(self._tail)):
            usage = payload.get("usage")
            if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
                return int(usage["completion_tokens"])
        return None


def _payloads(tail: bytes) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in tail.split(_EVENT_END):
        if not line.startswith(b"data: {"):
            continue
        try:
            payload = json.loads(line[len(b"data: ") :])
        except ValueError:
            continue
        if isinstance(payload, dict):
            found.append(payload)
    return found
