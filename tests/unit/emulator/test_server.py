"""The HTTP face: vLLM's bodies, streams, errors and status codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from builders.metrics_page import value
from inference_fleet.emulator.server import Phase

Start = Callable[..., Awaitable[Any]]


def events(text: str) -> list[Any]:
    """The payloads of a stream; its end mark stays text."""
    assert text.endswith("\n\n")
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [json.loads(line) if line != "[DONE]" else line for line in lines]


async def test_completion_counts_a_token_list_exactly_and_writes_max_tokens(start_engine: Start) -> None:
    engine = await start_engine()
    status, body = await engine.complete(prompt=[7] * 11, max_tokens=5)
    assert status == 200
    assert body["object"] == "text_completion"
    assert body["usage"] == {"prompt_tokens": 11, "total_tokens": 16, "completion_tokens": 5}
    assert body["choices"][0]["finish_reason"] == "length"
    assert len(body["choices"][0]["text"].split()) == 5


async def test_stream_has_one_event_a_token_then_usage_then_done(start_engine: Start) -> None:
    engine = await start_engine()
    body = {"prompt": "hello", "max_tokens": 4, "ignore_eos": True, "stream": True}
    response = await engine.client.post("/v1/completions", json=body | {"stream_options": {"include_usage": True}})
    assert response.headers["Content-Type"].startswith("text/event-stream")
    *chunks, usage, done = events(await response.text())
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "length"]
    assert all(len(chunk["choices"][0]["text"].split()) == 1 for chunk in chunks)
    # "hello": 5 bytes are 2 tokens, and the begin of the sequence.
    assert usage["usage"] == {"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}
    assert done == "[DONE]"


async def test_chat_stream_opens_with_the_role(start_engine: Start) -> None:
    engine = await start_engine()
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "ignore_eos": True, "stream": True}
    response = await engine.client.post("/v1/chat/completions", json=body)
    first, *rest, done = events(await response.text())
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["finish_reason"] for event in rest] == [None, "length"]
    assert {event["object"] for event in (first, *rest)} == {"chat.completion.chunk"}
    assert done == "[DONE]"


async def test_chat_counts_all_messages(start_engine: Start) -> None:
    engine = await start_engine()
    messages = [
        {"role": "system", "content": "abcd"},
        {"role": "user", "content": [{"type": "text", "text": "efgh"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None},
    ]
    body = {"messages": messages, "max_completion_tokens": 1}
    response = await engine.client.post("/v1/chat/completions", json=body)
    # 8 bytes are 2 tokens, 1 for the beginning, 4 for each of three messages.
    assert (await response.json())["usage"]["prompt_tokens"] == 15


async def test_without_ignore_eos_the_model_stops_by_itself(start_engine: Start) -> None:
    engine = await start_engine()
    _, body = await engine.complete(prompt="x", max_tokens=500, ignore_eos=False)
    assert body["choices"][0]["finish_reason"] == "stop"
    assert 16 <= body["usage"]["completion_tokens"] < 272
    _, longer = await engine.complete(prompt="x", max_tokens=500, ignore_eos=False, min_tokens=400)
    assert longer["usage"]["completion_tokens"] == 400


async def test_several_prompts_and_outputs_become_choices_in_order(start_engine: Start) -> None:
    engine = await start_engine()
    _, body = await engine.complete(prompt=[[1, 2], [3, 4, 5]], n=2, max_tokens=2)
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 13, "completion_tokens": 8}


@pytest.mark.parametrize(
    ("body", "status", "type_", "fragment"),
    [
        ({"prompt": []}, 400, "BadRequestError", "prompt"),
        ({"prompt": {"a": 1}}, 400, "BadRequestError", "prompt"),
        ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens"),
        ({"max_tokens": "many"}, 400, "BadRequestError", "max_tokens"),
        ({"n": 0}, 400, "BadRequestError", "n must be"),
        ({"n": 65}, 400, "BadRequestError", "at most 64"),
        ({"priority": "high"}, 400, "BadRequestError", "priority"),
        ({"max_tokens": 509}, 400, "BadRequestError", "maximum context length is 512 tokens"),
        ({"prompt": [1] * 512, "max_tokens": None}, 400, "BadRequestError", "maximum context length"),
        ({"model": "other"}, 404, "NotFoundError", "`other` does not exist"),
    ],
)
async def test_bad_request_names_its_fault(
    start_engine: Start, body: dict[str, Any], status: int, type_: str, fragment: str
) -> None:
    engine = await start_engine()
    got, answer = await engine.complete(**body)
    assert (got, answer["error"]["type"], answer["error"]["code"]) == (status, type_, status)
    assert fragment in answer["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("body", ["{", "[]", '{"messages": []}', '{"messages": ["hi"]}'])
async def test_body_that_is_no_request_is_refused(start_engine: Start, path: str, body: str) -> None:
    engine = await start_engine()
    response = await engine.client.post(path, data=body)
    assert response.status == 400


async def test_unknown_paths_and_methods_answer_as_vllms_web_framework(start_engine: Start) -> None:
    engine = await start_engine()
    for method, path, status, detail in [
        ("GET", "/ready", 404, "Not Found"),
        ("PUT", "/v1/models", 405, "Method Not Allowed"),
    ]:
        response = await engine.client.request(method, path)
        assert (response.status, await response.json()) == (status, {"detail": detail})


async def test_small_answers(start_engine: Start) -> None:
    engine = await start_engine(served_model_name=["first", "second"])
    models = await (await engine.client.get("/v1/models")).json()
    assert [(model["id"], model["max_model_len"]) for model in models["data"]] == [("first", 512), ("second", 512)]
    assert await (await engine.client.get("/version")).json() == {"version": "0.33.0"}
    assert await (await engine.client.get("/load")).json() == {"server_load": 0}
    for method, path in [("GET", "/health"), ("GET", "/ping"), ("POST", "/ping")]:
        response = await engine.client.request(method, path)
        assert (response.status, await response.read()) == (200, b"")


async def test_api_key_guards_v1_and_nothing_else(start_engine: Start) -> None:
    engine = await start_engine(api_key=["secret"])
    assert (await engine.client.get("/v1/models")).status == 401
    assert (await engine.client.get("/v1/models", headers={"Authorization": "Bearer wrong"})).status == 401
    assert (await engine.client.get("/v1/models", headers={"Authorization": "Bearer secret"})).status == 200
    assert (await engine.client.get("/metrics")).status == 200


async def test_full_queue_answers_503_and_counts_it(start_engine: Start) -> None:
    engine = await start_engine(max_num_queued_reqs=1)
    # Two sequences of one request: the second finds the queue full, and the first is taken back.
    for stream in (False, True):
        status, body = await engine.complete(prompt=[[1], [2]], stream=stream)
        assert (status, body["error"]["code"], body["error"]["type"]) == (503, 503, "Service Unavailable")
    page = await engine.page()
    assert value(page, "vllm:admission_rejections_total", reason="max_num_queued_reqs") == 2
    assert engine.runner.in_flight == 0


async def test_caller_that_hangs_up_aborts_its_request(start_engine: Start) -> None:
    engine = await start_engine()
    body = {"prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": True}
    response = await engine.client.post("/v1/completions", json=body)
    await response.content.readany()
    response.close()
    async with asyncio.timeout(5):
        while engine.runner.in_flight:
            await asyncio.sleep(0.005)
    assert value(await engine.page(), "vllm:request_success_total", finished_reason="abort") == 1


async def test_server_load_counts_only_when_asked(start_engine: Start) -> None:
    engine = await start_engine(enable_server_load_tracking=True)
    body = {"prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": True}
    response = await engine.client.post("/v1/completions", json=body)
    await response.content.readany()
    assert await (await engine.client.get("/load")).json() == {"server_load": 1}
    response.close()


async def test_draining_engine_is_healthy_finishes_what_runs_and_refuses_what_comes(start_engine: Start) -> None:
    engine = await start_engine()
    running = asyncio.create_task(engine.complete(max_tokens=100))
    async with asyncio.timeout(5):
        while not engine.runner.in_flight:
            await asyncio.sleep(0.001)
    engine.server.phase = Phase.DRAINING
    status, body = await engine.complete()
    assert (status, body["error"]["message"]) == (500, "cannot schedule new futures after shutdown")
    assert (await engine.client.get("/health")).status == 200
    status, body = await running
    assert (status, body["usage"]["completion_tokens"]) == (200, 100)


async def test_dead_engine_says_503_and_ends_streams_with_an_error_event(start_engine: Start) -> None:
    engine = await start_engine()
    body = {"prompt": "x", "max_tokens": 500, "ignore_eos": True, "stream": True}
    response = await engine.client.post("/v1/completions", json=body)
    whole = asyncio.create_task(engine.complete(max_tokens=500))
    await response.content.readany()
    async with asyncio.timeout(5):
        while engine.runner.in_flight < 2:
            await asyncio.sleep(0.001)
    engine.server.phase = Phase.DEAD
    engine.runner.fail_all()
    *_, error, done = events(await response.text())
    assert (response.status, error["error"]["code"], done) == (200, 500, "[DONE]")
    assert (await whole)[0] == 500
    assert (await engine.complete())[0] == 500
    assert (await engine.client.get("/health")).status == 503
