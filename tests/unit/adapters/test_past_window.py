"""Range queries, answered as instant queries would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from inference_fleet.adapters import prometheus
from inference_fleet.adapters.histogram_totals import ALL_DEPLOYMENTS, RETURNED_QUERY, departures_query, histogram_query
from inference_fleet.adapters.past_window import PastWindow
from inference_fleet.adapters.ports import PastSamples
from inference_fleet.adapters.prometheus import KV_CACHE_TOKENS_QUERY, POD_QUERIES, PrometheusSignals

AT = 1_800_000_000
MOMENTS = (AT, AT + 15.0, AT + 30.0)
LABELS = {"namespace": "chat", "pod": "p"}
DEPLOYMENT = ("chat", "llama")
OF_IT = 'namespace=~"chat",inference_deployment=~"llama"'


def matrix(*values: tuple[float, str]) -> dict[str, Any]:
    series = {"metric": LABELS, "values": [list(value) for value in values]}
    return {"status": "success", "data": {"resultType": "matrix", "result": [series]}}


async def past(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> PastSamples:
    application = web.Application()
    application.router.add_get("/api/v1/query_range", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"))
        try:
            return await signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT])
        finally:
            await signals.close()


def test_a_query_is_asked_once_for_all_moments() -> None:
    asked = []

    def ask(text: str, moments: Sequence[float]) -> list[Any]:
        asked.append((text, tuple(moments)))
        return [{"metric": LABELS, "values": [[AT, "1"], [AT + 30, "3"]]}]

    window = PastWindow(ask, MOMENTS, of=[DEPLOYMENT])
    assert [window.query("up", at) for at in MOMENTS] == [[(LABELS, 1.0)], [], [(LABELS, 3.0)]]
    assert asked == [("up", MOMENTS)]


@pytest.mark.parametrize(
    "text",
    [
        *POD_QUERIES.values(),
        KV_CACHE_TOKENS_QUERY,
        RETURNED_QUERY,
        histogram_query("TimeToFirstToken", [1.0]),
        departures_query("TimeToFirstToken", [1.0], milliseconds=15_000),
    ],
)
def test_every_query_can_be_asked_of_some_deployments_alone(text: str) -> None:
    asked = []

    def ask(text: str, moments: Sequence[float]) -> list[Any]:
        asked.append(text)
        return []

    PastWindow(ask, MOMENTS, of=[("chat", "llama"), ("code", "qwen"), ("chat", "qwen")]).query(text, AT)
    matchers = 'namespace=~"chat|code",inference_deployment=~"llama|qwen"'
    assert asked[0].count("{") == asked[0].count(matchers) > 0
    assert ALL_DEPLOYMENTS not in asked[0]


@pytest.mark.parametrize("lie", ["NaN", "many", None])
def test_what_is_no_number_is_no_row(lie: str | None) -> None:
    window = PastWindow(lambda text, moments: [{"metric": LABELS, "values": [[AT, lie]]}], MOMENTS, of=[DEPLOYMENT])
    assert window.query("up", AT) == []


async def test_the_signals_of_every_moment_are_put_together() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert (request.query["start"], request.query["end"]) == (str(AT), str(AT + 30))
        assert float(request.query["step"]) == 15
        if request.query["query"] == POD_QUERIES["running"].replace(ALL_DEPLOYMENTS, OF_IT):
            return web.json_response(matrix((AT, "4"), (AT + 15, "5")))
        return web.json_response(matrix((AT, "1")))

    answered = await past(answer)
    assert answered.problem is None
    assert [at for at, _ in answered.moments] == list(MOMENTS)
    pods = [fleet.pods.get(("chat", "p")) for _, fleet in answered.moments]
    assert [pod and pod.running for pod in pods] == [4.0, 5.0, None]
    assert [pod and pod.waiting for pod in pods] == [1.0, None, None]


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success", "data": {"result": {"not": "a list"}}},
        {"status": "success", "data": {"result": ["no series"]}},
        {"status": "success", "data": {"result": [{"metric": LABELS, "values": [3]}]}},
        {"status": "success", "data": {"result": [{"metric": "none", "values": []}]}},
        {"status": "success"},
    ],
)
async def test_a_body_that_is_no_matrix_is_a_problem(body: Any) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    answered = await past(answer)
    assert answered.moments == ()
    assert answered.problem is not None
    assert "no usable answer" in answered.problem


@pytest.mark.parametrize("status", [400, 403, 422, 503])
async def test_an_error_is_a_problem(status: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    assert (await past(answer)).problem is not None


async def test_a_slow_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus, "PAST_TIMEOUT_SECONDS", 0.05)
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response(matrix())

    application = web.Application()
    application.router.add_get("/api/v1/query_range", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"))
        answered = await signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT])
        go_on.set()
        await signals.close()
    assert answered.problem is not None
    assert "longer than" in answered.problem


async def test_now_is_answered_while_the_past_is_still_asked_for() -> None:
    go_on = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return web.json_response(matrix())

    async def at_once(request: web.Request) -> web.StreamResponse:
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})

    application = web.Application()
    application.router.add_get("/api/v1/query_range", never)
    application.router.add_get("/api/v1/query", at_once)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"))
        past = asyncio.create_task(signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT]))
        assert (await signals.sample(at=AT, promised=())).problem is None
        assert not past.done()
        go_on.set()
        await past
        await signals.close()


async def test_once_nobody_waits_nothing_more_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, go_on = [], asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["query"])
        await go_on.wait()
        return web.json_response(matrix())

    application = web.Application()
    application.router.add_get("/api/v1/query_range", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"))
        past = asyncio.create_task(signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT]))
        while not asked:
            await asyncio.sleep(0.001)
        past.cancel()
        await asyncio.gather(past, return_exceptions=True)
        second = await signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT])
        assert second.problem is not None
        assert "not answered the last" in second.problem
        go_on.set()
        while (third := await signals.past(moments=MOMENTS, promised=(), of=[DEPLOYMENT])).problem:
            await asyncio.sleep(0.001)
        await signals.close()
    assert third.moments
    # The one that was under way, and then all of the third.
    assert len(asked) == 1 + len(set(asked))
