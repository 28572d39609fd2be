"""What Prometheus' answers are taken for."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from inference_fleet.adapters import prometheus
from inference_fleet.adapters.histogram_totals import HistogramTotals, histogram_query
from inference_fleet.adapters.ports import FleetSamples
from inference_fleet.adapters.prometheus import AHEAD_QUERY, KV_CACHE_TOKENS_QUERY, POD_QUERIES, PrometheusSignals
from inference_fleet.engine.metrics import judged_edge_seconds
from inference_fleet.sandbox.certificates import make_authority

LABELS = {"namespace": "chat", "pod": "p", "inference_deployment": "llama", "inference_variant": "a", "job": "one"}
AT = 1_800_000_000.0
PROMISED = (("TimeToFirstToken", 0.6), ("TimeToFirstToken", 1.0))
FIRST_TOKENS = histogram_query("TimeToFirstToken", [0.5, 1.0])


def vector(*rows: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [AT, text]} for labels, text in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


async def ask(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], *, arrivals_query: str | None = None
) -> FleetSamples:
    application = web.Application()
    application.router.add_get("/api/v1/query", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"), arrivals_query=arrivals_query)
        try:
            return await signals.sample(at=AT, promised=PROMISED)
        finally:
            await signals.close()


async def answers(said: dict[str, dict[str, Any]], *, otherwise: dict[str, Any] | None = None) -> FleetSamples:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.query["time"] == "1800000000.000"
        return web.json_response(said.get(request.query["query"], otherwise or vector()))

    return await ask(answer)


async def test_every_signal_of_a_pod_is_put_together() -> None:
    said = {query: vector((LABELS, str(number))) for number, query in enumerate(POD_QUERIES.values())}
    said[KV_CACHE_TOKENS_QUERY] = vector(
        ({**LABELS, "kv_cache_size_tokens": "40000", "kv_cache_max_concurrency": "4.8828125"}, "1")
    )
    fleet = await answers(said)
    sample = fleet.pods["chat", "p"]
    assert fleet.problem is None
    assert sample.answered
    assert [getattr(sample, signal) for signal in POD_QUERIES] == [float(i) for i in range(len(POD_QUERIES))]
    assert sample.kv_cache_tokens == 40000
    assert sample.max_model_len == 8192


@pytest.mark.parametrize("lie", ["NaN", "+Inf", "-Inf", "-3", "many"])
async def test_what_is_no_believable_number_is_unknown_not_zero(lie: str) -> None:
    said = {query: vector((LABELS, "5")) for query in POD_QUERIES.values()}
    said[POD_QUERIES["running"]] = vector((LABELS, lie))
    sample = (await answers(said)).pods["chat", "p"]
    assert sample.running is None
    assert not sample.answered  # with the lie read as zero the pod would look idle


async def test_a_pod_that_two_jobs_scrape_counts_once() -> None:
    twice = vector((LABELS, "7"), ({**LABELS, "job": "two"}, "7"))
    sample = (await answers({POD_QUERIES["running"]: twice})).pods["chat", "p"]
    assert sample.running == 7  # added up this would be 14


@pytest.mark.parametrize("counts", [("7", "5"), ("5", "7")])
async def test_of_two_jobs_the_one_that_saw_more_counts(counts: tuple[str, str]) -> None:
    rows = [({**LABELS, "job": job}, count) for job, count in zip(("one", "two"), counts, strict=True)]
    assert (await answers({POD_QUERIES["generation_tokens"]: vector(*rows)})).pods["chat", "p"].generation_tokens == 7


async def test_rows_without_pod_are_nobody() -> None:
    assert (await answers({POD_QUERIES["running"]: vector(({"namespace": "chat"}, "7"))})).pods == {}


async def test_an_empty_prometheus_knows_no_pod_and_that_is_no_problem_of_its_own() -> None:
    fleet = await answers({})
    assert (fleet.pods, fleet.histograms, fleet.problem) == ({}, {}, None)


async def test_a_pod_that_was_scraped_by_a_clock_ahead_of_ours_is_told_with_that_time() -> None:
    said = {query: vector((LABELS, "5")) for query in POD_QUERIES.values()}
    said[POD_QUERIES["sample_time"]] = vector((LABELS, f"{AT - 10}"), ({**LABELS, "pod": "q"}, f"{AT - 10}"))
    said[AHEAD_QUERY] = vector((LABELS, f"{AT + 290}"), ({**LABELS, "pod": "r"}, f"{AT + 295}"))
    pods = (await answers(said)).pods
    # What is seen of p now was said five minutes ago, though it is stamped with now.
    assert {pod: sample.sample_time for (_, pod), sample in pods.items()} == {
        "p": AT + 290,
        "q": AT - 10,
        "r": AT + 295,
    }


async def test_a_prometheus_that_cannot_look_ahead_is_believed_all_the_same() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["query"] == AHEAD_QUERY:
            return web.Response(status=400, text="negative offset is disabled")
        return web.json_response(vector((LABELS, "5")))

    fleet = await ask(answer)
    assert fleet.problem is None
    assert fleet.pods["chat", "p"].running == 5


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, ""),
        (-25, ""),
        (300, "the clock of Prometheus is about 5 min ahead of that of this operator"),
        (-7200, "the clock of Prometheus is about 120 min behind that of this operator"),
    ],
)
async def test_a_clock_of_prometheus_that_differs_from_ours_is_told(seconds: float, told: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(vector(), headers={"Date": format_datetime(datetime.fromtimestamp(AT + seconds, UTC))})

    assert (await ask(answer)).clocks == told


async def test_histograms_are_told_per_variant_and_edge() -> None:
    rows = [({**LABELS, "le": edge}, count) for edge, count in (("0.5", "8"), ("1.0", "9"), ("+Inf", "10"))]
    said = {FIRST_TOKENS: vector(*rows)}
    samples = (await answers(said)).histograms["chat", "llama", "a"]
    assert [(s.edge_seconds, s.good, s.total) for s in samples] == [(0.5, 8, 10), (1.0, 9, 10)]


def test_of_a_histogram_only_the_judged_edges_are_asked_for() -> None:
    asked: list[str] = []

    def query(text: str, at: float) -> list[Any]:
        asked.append(text)
        return []

    prometheus.read_fleet(
        query, at=AT, promised=[("InterTokenLatency", 0.12), ("InterTokenLatency", 2.0)], totals=HistogramTotals()
    )
    (text,) = [text for text in asked if "_bucket" in text]
    assert text.startswith("sum by (namespace, inference_deployment, inference_variant, le) (")
    assert "vllm:request_time_per_output_token_seconds_bucket" in text
    assert 'le=~"0[.]1|1([.]0)?|[+]Inf"' in text


def test_without_a_promise_no_histogram_is_asked_for() -> None:
    asked: list[str] = []

    def query(text: str, at: float) -> list[Any]:
        asked.append(text)
        return []

    prometheus.read_fleet(query, at=AT, promised=[], totals=HistogramTotals())
    assert not [text for text in asked if "_bucket" in text]


@pytest.mark.parametrize(("threshold", "edge"), [(1.0, 1.0), (0.9, 0.75), (1e-6, 0.001), (1e6, 2560.0)])
def test_a_promise_is_judged_at_its_edge_or_the_next_stricter_else_the_first(threshold: float, edge: float) -> None:
    assert judged_edge_seconds("TimeToFirstToken", threshold) == edge


@pytest.mark.parametrize("lie", ["NaN", "-1", "+Inf"])
async def test_an_edge_that_is_no_believable_number_is_left_out(lie: str) -> None:
    rows = [({**LABELS, "le": edge}, count) for edge, count in (("0.5", lie), ("1.0", "9"), ("+Inf", "10"))]
    fleet = await answers({FIRST_TOKENS: vector(*rows)})
    assert [(s.edge_seconds, s.good) for s in fleet.histograms["chat", "llama", "a"]] == [(1.0, 9)]


async def test_a_histogram_without_its_total_is_unknown_and_no_problem_for_the_rest() -> None:
    rows = [({**LABELS, "le": "0.5"}, "8")]
    said = {FIRST_TOKENS: vector(*rows), POD_QUERIES["running"]: vector((LABELS, "7"))}
    fleet = await answers(said)
    assert (fleet.problem, fleet.histograms) == (None, {})
    assert fleet.pods["chat", "p"].running == 7


@pytest.mark.parametrize(
    "body",
    [
        {"status": "success"},
        {"status": "success", "data": {"result": {"not": "a list"}}},
        {"status": "success", "data": {"result": ["not a row"]}},
        {"status": "success", "data": {"result": [{"metric": [], "value": [1, "2"]}]}},
        {"status": "success", "data": {"result": [{"metric": {}, "value": 3}]}},
        ["nothing"],
    ],
)
async def test_a_body_that_is_no_vector_is_a_problem(body: Any) -> None:
    fleet = await answers({}, otherwise=body)
    assert fleet.problem is not None
    assert "no usable answer" in fleet.problem
    assert fleet.pods == {}


@pytest.mark.parametrize(("status", "text"), [(400, "bad"), (422, "too many"), (503, "starting"), (200, "<html>")])
async def test_an_error_body_is_a_problem(status: int, text: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    fleet = await ask(answer)
    assert fleet.problem is not None
    assert fleet.problem.startswith("Prometheus ")
    assert fleet.pods == {}


@pytest.mark.parametrize(
    ("status", "kind", "text", "told"),
    [
        (500, "text/plain", "no space left\n", "answers 500: no space left"),
        (503, "application/json", '{"status": "error", "error": "TSDB not ready"}', "answers 503: TSDB not ready"),
        (422, "application/json", '["error"]', 'answers 422: ["error"]'),
        (404, "text/html", "<html><body>nothing here</body></html>", "answers 404: Not Found"),
        (502, "text/plain", "", "answers 502: Bad Gateway"),
    ],
)
async def test_an_error_is_told_in_the_words_of_who_answered(status: int, kind: str, text: str, told: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type=kind)

    problem = (await ask(answer)).problem
    assert problem is not None
    assert problem.endswith(told)
    assert problem.startswith("Prometheus at http://127.0.0.1:")


async def test_one_failed_signal_is_a_problem_for_all() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["query"] == POD_QUERIES["waiting"]:
            return web.Response(status=500)
        return web.json_response(vector((LABELS, "1")))

    fleet = await ask(answer)
    assert fleet.problem is not None
    assert fleet.pods == {}


async def test_an_absent_prometheus_is_a_problem() -> None:
    signals = PrometheusSignals("http://127.0.0.1:1")
    fleet = await signals.sample(at=AT, promised=PROMISED)
    await signals.close()
    assert fleet.problem is not None


async def test_a_slow_prometheus_is_a_problem_and_is_not_asked_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prometheus, "SAMPLE_TIMEOUT_SECONDS", 0.05)
    asked = 0
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        await go_on.wait()
        return web.json_response(vector())

    application = web.Application()
    application.router.add_get("/api/v1/query", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"))
        first = await signals.sample(at=AT, promised=PROMISED)
        second = await signals.sample(at=AT, promised=PROMISED)
        go_on.set()
        await signals.close()
    assert first.problem is not None
    assert "longer than" in first.problem
    assert second.problem == first.problem
    assert asked == 1


async def test_a_renewed_token_is_sent_without_a_restart(tmp_path: Path) -> None:
    token = tmp_path / "token"
    sent: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers["Authorization"])
        return web.json_response(vector())

    application = web.Application()
    application.router.add_get("/api/v1/query", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"), token_file=str(token))
        for text in ("old\n", "new\n"):
            token.write_text(text)
            assert (await signals.sample(at=AT, promised=PROMISED)).problem is None
        await signals.close()
    assert set(sent) == {"Bearer old", "Bearer new"}


async def test_a_tenant_and_a_users_password_are_sent(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("sesame\n")
    sent: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        sent.append((request.headers["Authorization"], request.headers["X-Scope-OrgID"]))
        return web.json_response(vector())

    application = web.Application()
    application.router.add_get("/prometheus/api/v1/query", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(
            f"{str(server.make_url('')).rstrip('/')}/prometheus",
            user="fleet",
            password_file=str(password),
            headers={"X-Scope-OrgID": "team-a|team-b"},
        )
        assert (await signals.sample(at=AT, promised=PROMISED)).problem is None
        await signals.close()
    assert set(sent) == {("Basic " + base64.b64encode(b"fleet:sesame").decode(), "team-a|team-b")}


@pytest.mark.parametrize("works", [True, False])
async def test_a_gateways_counter_is_asked_for_and_may_fail(works: bool) -> None:
    query = "sum by (namespace, inference_deployment) (gateway_requests_total)"
    llama = {"namespace": "chat", "inference_deployment": "llama"}
    rows = ((llama, "5"), ({**llama, "route": "b"}, "2"), ({"namespace": "chat"}, "9"), (llama, "NaN"))

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.query["query"] != query:
            return web.json_response(vector())
        return web.json_response(vector(*rows)) if works else web.Response(status=400, text="parse error")

    fleet = await ask(answer, arrivals_query=query)
    assert fleet.problem is None
    assert fleet.arrivals == ({("chat", "llama"): 7.0} if works else {})


def test_what_two_of_a_pair_report_is_one_engine_and_only_vllms_own_labels_are_added_up() -> None:
    assert "sum without (engine, finished_reason, reason) (vllm:num_requests_running" in POD_QUERIES["running"]
    assert FIRST_TOKENS.startswith("sum by (namespace, inference_deployment, inference_variant, le) (max by (")


@pytest.mark.parametrize("content", [None, "", "two\nlines", "sch\u00e4tz"])
async def test_a_token_that_cannot_be_used_is_a_problem_that_does_not_tell_it(
    tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
    signals = PrometheusSignals("http://127.0.0.1:1", token_file=str(token))
    problem = (await signals.sample(at=AT, promised=PROMISED)).problem
    await signals.close()
    assert problem is not None
    assert str(token) in problem
    assert not content or content not in problem


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_refused_is_a_problem_that_names_the_answer_and_not_the_token(
    tmp_path: Path, status: int
) -> None:
    token = tmp_path / "token"
    token.write_text("expired-0123456789")

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="token is expired")

    application = web.Application()
    application.router.add_get("/api/v1/query", answer)
    async with TestServer(application) as server:
        signals = PrometheusSignals(str(server.make_url("")).rstrip("/"), token_file=str(token))
        problem = (await signals.sample(at=AT, promised=PROMISED)).problem
        await signals.close()
    assert problem is not None
    assert str(status) in problem
    assert "expired-0123456789" not in problem


@pytest.mark.parametrize(
    ("trusted", "told"),
    [
        ("own", None),
        ("other", "CERTIFICATE_VERIFY_FAILED"),
        ("garbage", "cannot be asked"),
        # Those of the machine, none of which has signed it.
        (None, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
async def test_prometheus_is_believed_only_if_its_certificate_authority_is_the_given_one(
    tmp_path: Path, trusted: str | None, told: str | None
) -> None:
    own, other = (make_authority(tmp_path / name) for name in ("own", "other"))
    garbage = tmp_path / "garbage"
    garbage.write_text("no certificate")
    pair = own.server("prometheus", addresses=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(vector())

    application = web.Application()
    application.router.add_get("/api/v1/query", answer)
    server = TestServer(application)
    await server.start_server(ssl=context)
    try:
        given = {"own": str(own.file), "other": str(other.file), "garbage": str(garbage), None: None}[trusted]
        signals = PrometheusSignals(f"https://127.0.0.1:{server.port}", ca_file=given)
        problem = (await signals.sample(at=AT, promised=PROMISED)).problem
        await signals.close()
    finally:
        await server.close()
    if told is None:
        assert problem is None
    else:
        assert problem is not None
        assert told in problem


async def test_a_missing_certificate_authority_is_a_problem(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.crt")
    signals = PrometheusSignals("https://127.0.0.1:1", ca_file=missing)
    problem = (await signals.sample(at=AT, promised=PROMISED)).problem
    await signals.close()
    assert problem is not None
    assert missing in problem
