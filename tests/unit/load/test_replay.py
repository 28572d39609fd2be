"""The replay against a local server: open loop, no retries, every fate told apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from inference_fleet.load.judgement import Fate, Outcome
from inference_fleet.load.replay import Progress, Target, prompt_tokens, replay
from inference_fleet.load.trace import Trace, TraceRequest

_Serve = Callable[[Callable[[web.Request, web.StreamResponse], Awaitable[None]]], Awaitable[str]]


def event(*, text: str | None = " a", reason: str | None = None) -> bytes:
    choices = [] if text is None else [{"index": 0, "text": text, "finish_reason": reason}]
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


def usage(tokens: int) -> bytes:
    return b"data: " + json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@pytest.fixture
async def serve() -> AsyncIterator[_Serve]:
    servers: list[TestServer] = []

    async def start(write: Callable[[web.Request, web.StreamResponse], Awaitable[None]]) -> str:
        async def handler(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await write(request, response)
            return response

        app = web.Application()
        app.router.add_post("/v1/completions", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/"))

    yield start
    for server in servers:
        await server.close()


async def run(url: str, *requests: TraceRequest, timeout_seconds: float = 20.0) -> list[Outcome]:
    progress = Progress(total=len(requests))
    target = Target(base_urls=(url,), model="m", timeout_seconds=timeout_seconds)
    await replay(Trace("t", requests or (TraceRequest(0.0, 3, 2),)), target, progress=progress)
    assert progress.in_flight == 0
    return progress.outcomes


async def test_complete_stream_is_completed_and_counted_by_its_usage(serve: _Serve) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        body = await request.json()
        assert (len(body["prompt"]), body["max_tokens"], body["ignore_eos"], body["model"]) == (3, 2, True, "m")
        await response.write(event())
        await response.write(event(reason="length") + usage(9) + DONE)

    (outcome,) = await run(await serve(write))
    assert (outcome.fate, outcome.output_tokens, outcome.error) == (Fate.COMPLETED, 9, None)
    assert outcome.time_to_first_token_seconds is not None
    assert outcome.inter_token_latency_seconds is not None


async def test_events_torn_apart_by_the_network_are_whole_again(serve: _Serve) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        for byte in event() + event(reason="stop") + DONE:
            await response.write(bytes([byte]))

    (outcome,) = await run(await serve(write))
    assert (outcome.fate, outcome.output_tokens) == (Fate.COMPLETED, 2)


@pytest.mark.parametrize(
    ("events", "fate", "fragment"),
    [
        ([event()], Fate.CUT, "without its end mark"),
        ([event(), DONE], Fate.CUT, "without a finish reason"),
        ([event(), b'data: {"error": {"message": "gone"}}\n\n', DONE], Fate.CUT, "gone"),
        ([b'data: {"error": {"message": "gone"}}\n\n', DONE], Fate.FAILED, "gone"),
        ([], Fate.FAILED, "without its end mark"),
        ([b"garbage " * 1000], Fate.FAILED, "without its end mark"),
        ([event(), b"data: {broken\n\n"], Fate.CUT, "without its end mark"),
    ],
)
async def test_stream_that_breaks_is_cut_after_a_token_and_failed_before(
    serve: _Serve, events: list[bytes], fate: Fate, fragment: str
) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        for data in events:
            await response.write(data)

    (outcome,) = await run(await serve(write))
    assert outcome.fate is fate
    assert outcome.error is not None
    assert fragment in outcome.error


async def test_connection_that_breaks_is_cut(serve: _Serve) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(event())
        assert request.transport is not None
        request.transport.abort()

    (outcome,) = await run(await serve(write))
    assert outcome.fate is Fate.CUT


async def test_refused_request_is_failed_and_not_sent_again(serve: _Serve) -> None:
    calls: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        return web.Response(status=503, text="queue full")

    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    async with TestServer(app) as server:
        (outcome,) = await run(str(server.make_url("/")))
    assert (outcome.fate, outcome.error) == (Fate.FAILED, "HTTP 503: queue full")
    assert len(calls) == 1


async def test_unreachable_engine_is_failed(unused_tcp_port: int) -> None:
    (outcome,) = await run(f"http://127.0.0.1:{unused_tcp_port}")
    assert outcome.fate is Fate.FAILED
    assert outcome.error is not None
    assert "ClientConnectorError" in outcome.error


async def test_silent_engine_times_out(serve: _Serve) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(event())
        await asyncio.Event().wait()

    (outcome,) = await run(await serve(write), timeout_seconds=0.3)
    assert (outcome.fate, outcome.error) == (Fate.CUT, "timed out")


async def test_requests_leave_at_their_moments_whatever_became_of_the_others(serve: _Serve) -> None:
    # Open loop: the first one's answer takes longer than the whole trace.
    first_may_end = asyncio.Event()
    seen: list[int] = []

    async def write(request: web.Request, response: web.StreamResponse) -> None:
        seen.append((await request.json())["max_tokens"])
        if len(seen) == 3:
            first_may_end.set()
        await first_may_end.wait()
        await response.write(event(reason="length") + usage(1) + DONE)

    arrivals = (0.0, 0.05, 0.1)
    outcomes = await run(await serve(write), *(TraceRequest(at, 1, 1 + n) for n, at in enumerate(arrivals)))
    assert seen == [1, 2, 3]
    assert all(outcome.sent_seconds >= outcome.arrival_seconds for outcome in outcomes)
    assert [outcome.fate for outcome in outcomes] == [Fate.COMPLETED] * 3


async def test_every_request_has_a_connection_of_its_own(serve: _Serve) -> None:
    peers: set[object] = set()

    async def write(request: web.Request, response: web.StreamResponse) -> None:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        await response.write(event(reason="length") + DONE)

    await run(await serve(write), *(TraceRequest(0.02 * n, 1, 1) for n in range(5)))
    assert len(peers) == 5


async def test_cancelled_replay_closes_what_is_open_and_counts_it_as_cut(serve: _Serve) -> None:
    begun = asyncio.Event()

    async def write(request: web.Request, response: web.StreamResponse) -> None:
        begun.set()
        await asyncio.Event().wait()

    progress = Progress(total=2)
    target = Target(base_urls=(await serve(write),), model="m")
    trace = Trace("t", (TraceRequest(0.0, 1, 1), TraceRequest(3600.0, 1, 1)))
    task = asyncio.create_task(replay(trace, target, progress=progress))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (progress.in_flight, progress.sent) == (0, 1)
    assert [(outcome.fate, outcome.error) for outcome in progress.outcomes] == [(Fate.CUT, "interrupted")]


def test_prompts_share_no_prefix() -> None:
    assert prompt_tokens(1, 4) != prompt_tokens(2, 4)
    assert len({tokens[0] for tokens in (prompt_tokens(n, 1) for n in range(50))}) > 40
    assert all(10 <= token < 256 for token in prompt_tokens(123, 1000))
