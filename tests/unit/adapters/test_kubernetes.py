"""What goes to the API server, and what its answers mean."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config

from inference_fleet.adapters import ports
from inference_fleet.adapters.kubernetes import KubernetesCluster, connect, error_of
from inference_fleet.sandbox.certificates import make_authority

REPLICA_SETS = ports.Resource("apps", "v1", "replicasets", "ReplicaSet")
PODS = ports.Resource("", "v1", "pods", "Pod")


@dataclass
class Server:
    """Answers every request with `answer` and keeps what was asked."""

    requests: list[tuple[str, str, dict[str, str], str, Any]] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        self.requests.append((request.method, request.path, dict(request.query), request.content_type, body))
        return await self.answer(request) if self.answer else web.json_response({"kind": "Thing"})

    def says(self, status: int, body: Any) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response(body, status=status)

        self.answer = answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest_asyncio.fixture
async def cluster(server: Server) -> AsyncIterator[KubernetesCluster]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(application) as running:
        configuration = Configuration()
        configuration.host = str(running.make_url("")).rstrip("/")
        adapter = KubernetesCluster(ApiClient(configuration))
        yield adapter
        await adapter.close()


async def test_a_page_carries_its_items_kinds_continue_token_and_version(
    server: Server, cluster: KubernetesCluster
) -> None:
    server.says(200, {"metadata": {"resourceVersion": "7", "continue": "next"}, "items": [{"metadata": {"name": "a"}}]})
    page = await cluster.list_page(PODS, namespace="chat", label_selector="a=b", limit=2, continue_token="t")
    assert page.continue_token == "next"
    assert page.resource_version == "7"
    assert page.items[0]["kind"] == "Pod"
    assert server.requests[0][:3] == (
        "GET",
        "/api/v1/namespaces/chat/pods",
        {"limit": "2", "labelSelector": "a=b", "continue": "t"},
    )


async def test_an_apply_is_forced_under_our_field_manager(server: Server, cluster: KubernetesCluster) -> None:
    await cluster.apply(REPLICA_SETS, {"metadata": {"uid": "u"}}, name="x", namespace="n", subresource="status")
    method, path, query, content_type, body = server.requests[0]
    assert (method, path) == ("PATCH", "/apis/apps/v1/namespaces/n/replicasets/x/status")
    assert query == {"fieldManager": "inference-fleet", "force": "true"}
    assert content_type == "application/apply-patch+yaml"
    assert body == {"metadata": {"uid": "u"}}


async def test_a_delete_carries_uid_and_version_as_preconditions(server: Server, cluster: KubernetesCluster) -> None:
    await cluster.delete(PODS, name="p", namespace="n", uid="u", resource_version="5", grace_period_seconds=3)
    body = server.requests[0][4]
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "5"}
    assert body["propagationPolicy"] == "Background"
    assert body["gracePeriodSeconds"] == 3


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (404, {"reason": "NotFound"}, ports.NotFound),
        (409, {"reason": "AlreadyExists"}, ports.AlreadyExists),
        (409, {"reason": "Conflict"}, ports.Conflict),
        (401, {}, ports.Forbidden),
        (403, {"reason": "Forbidden"}, ports.Forbidden),
        (410, {"reason": "Expired"}, ports.Expired),
        (400, {"reason": "BadRequest"}, ports.Invalid),
        (422, {"reason": "Invalid", "details": {"causes": [{"field": "spec.replicas"}]}}, ports.Invalid),
        # An object of the same name but another life: the fence held.
        (422, {"reason": "Invalid", "details": {"causes": [{"field": "metadata.uid"}]}}, ports.Conflict),
        (429, {"reason": "TooManyRequests"}, ports.Throttled),
        (500, {"reason": "InternalError"}, ports.Unavailable),
        (503, {}, ports.Unavailable),
        (0, {}, ports.Unavailable),
        (405, {"reason": "MethodNotAllowed"}, ports.ClusterError),
    ],
)
def test_every_answer_has_one_meaning(status: int, answer: Any, kind: type[Exception]) -> None:
    assert type(error_of(status, json.dumps(answer).encode(), retry_after=None)) is kind


@pytest.mark.parametrize(("header", "seconds"), [("4", 4.0), (None, 1.0), ("soon", 1.0)])
def test_a_throttled_call_waits_as_long_as_the_server_wishes(header: str | None, seconds: float) -> None:
    error = error_of(429, b"slow down", retry_after=header)
    assert isinstance(error, ports.Throttled)
    assert error.retry_after_seconds == seconds


async def test_an_error_answer_is_raised_with_its_words(server: Server, cluster: KubernetesCluster) -> None:
    server.says(409, {"reason": "Conflict", "message": "the object has been modified"})
    with pytest.raises(ports.Conflict, match="has been modified"):
        await cluster.merge_patch(PODS, {}, name="p", namespace="n")


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    configuration = Configuration()
    configuration.host = "http://127.0.0.1:1"
    adapter = KubernetesCluster(ApiClient(configuration))
    with pytest.raises(ports.Unavailable):
        await adapter.get(PODS, name="p", namespace="n")
    await adapter.close()


async def test_every_call_is_told_with_its_code(server: Server) -> None:
    told: list[tuple[str, str]] = []
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    configuration = Configuration()
    async with TestServer(application) as running:
        configuration.host = str(running.make_url("")).rstrip("/")
        adapter = KubernetesCluster(ApiClient(configuration), answered=lambda *call: told.append(call))
        await adapter.get(PODS, name="p", namespace="n")
        server.says(403, {"reason": "Forbidden", "message": "no"})
        with pytest.raises(ports.Forbidden):
            await adapter.merge_patch(PODS, {}, name="p", namespace="n")
    with pytest.raises(ports.Unavailable):
        await adapter.get(PODS, name="p", namespace="n")
    await adapter.close()
    assert told == [("GET", "200"), ("PATCH", "403"), ("GET", "<error>")]


async def test_an_answer_that_is_no_object_is_unavailable(server: Server, cluster: KubernetesCluster) -> None:
    server.says(200, ["not", "an", "object"])
    with pytest.raises(ports.Unavailable, match="is no object"):
        await cluster.get(PODS, name="p", namespace="n")


async def test_an_answer_that_breaks_off_is_unavailable(server: Server, cluster: KubernetesCluster) -> None:
    _stream(server, [b'{"metadata": {'])
    with pytest.raises(ports.Unavailable, match="broke off"):
        await cluster.get(PODS, name="p", namespace="n")


async def test_creates_and_replacements_name_our_field_manager(server: Server, cluster: KubernetesCluster) -> None:
    await cluster.create(PODS, {"metadata": {"name": "p"}}, namespace="n")
    await cluster.replace(PODS, {"metadata": {"name": "p"}}, name="p", namespace="n")
    asked = [(method, path, query) for method, path, query, _, _ in server.requests]
    ours = {"fieldManager": "inference-fleet"}
    assert asked == [
        ("POST", "/api/v1/namespaces/n/pods", ours),
        ("PUT", "/api/v1/namespaces/n/pods/p", ours),
    ]


def _stream(server: Server, chunks: list[bytes]) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    server.answer = answer


async def test_a_watch_puts_events_together_from_pieces(server: Server, cluster: KubernetesCluster) -> None:
    _stream(server, [b'{"type":"ADDED","obj', b'ect":{"a":1}}\n{"type":"BOOKMARK","object":{"b":2}}\n'])
    seen = [event async for event in cluster.watch(PODS, resource_version="9", namespace="n")]
    assert [(event.type, event.object) for event in seen] == [("ADDED", {"a": 1}), ("BOOKMARK", {"b": 2})]
    assert server.requests[0][2]["resourceVersion"] == "9"
    assert server.requests[0][2]["allowWatchBookmarks"] == "true"


class CutConnection:
    """The low-level client with an answer that comes in two pieces, whatever the network does."""

    def __init__(self, first: bytes, second: bytes, *, breaks: bool = False) -> None:
        self._pieces = (first, second)
        self._breaks = breaks
        self.closed = False

    async def param_serialize(self, method: str, path: str, **_: Any) -> tuple[Any, ...]:
        return method, path, {}, None, None

    async def call_api(self, *_: Any, **__: Any) -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in self._pieces:
                yield piece
            if self._breaks:
                raise ClientPayloadError("the connection was reset")

        content = SimpleNamespace(iter_any=pieces)
        return SimpleNamespace(response=SimpleNamespace(status=200, content=content, close=self._close))

    def _close(self) -> None:
        self.closed = True


async def test_a_watch_does_not_care_where_the_connection_cuts() -> None:
    lines = b"".join(
        json.dumps({"type": kind, "object": {"metadata": {"name": name}}}).encode() + b"\n"
        for kind, name in (("ADDED", "a"), ("DELETED", "b"))
    )
    for cut in range(len(lines) + 1):
        watching = KubernetesCluster(CutConnection(lines[:cut], lines[cut:])).watch(PODS, resource_version="1")
        assert [(event.type, event.object["metadata"]["name"]) async for event in watching] == [
            ("ADDED", "a"),
            ("DELETED", "b"),
        ]


async def test_a_watch_that_breaks_is_unavailable_after_what_it_told_and_lets_go_of_its_connection() -> None:
    client = CutConnection(b'{"type":"ADDED","object":{}}\n', b'{"type":"ADD', breaks=True)
    watching = KubernetesCluster(client).watch(PODS, resource_version="1")
    assert (await anext(watching)).type == "ADDED"
    with pytest.raises(ports.Unavailable, match="the watch of pods broke: the connection was reset"):
        await anext(watching)
    assert client.closed


async def test_a_name_leads_to_no_other_path(server: Server, cluster: KubernetesCluster) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.raw_path)
        return web.json_response({})

    server.answer = answer
    await cluster.get(PODS, name="../../nodes/a?b#c", namespace="x/y")
    assert asked == ["/api/v1/namespaces/x%2Fy/pods/..%2F..%2Fnodes%2Fa%3Fb%23c"]


async def test_an_error_event_of_a_watch_is_raised(server: Server, cluster: KubernetesCluster) -> None:
    _stream(server, [b'{"type":"ERROR","object":{"code":410,"reason":"Expired"}}\n'])
    with pytest.raises(ports.Expired):
        [event async for event in cluster.watch(PODS, resource_version="9")]


async def test_a_watch_line_that_is_no_event_ends_it(server: Server, cluster: KubernetesCluster) -> None:
    _stream(server, [b"<html>\n"])
    with pytest.raises(ports.Unavailable):
        [event async for event in cluster.watch(PODS, resource_version="9")]


@pytest.mark.parametrize(
    ("status", "answer", "offered"),
    [
        (200, {"resources": [{"name": "replicasets/scale"}, {"name": "replicasets"}]}, True),
        (200, {"resources": [{"name": "deployments"}]}, False),
        (200, {}, False),
        (404, {"reason": "NotFound"}, False),
    ],
)
async def test_a_kind_is_offered_once_its_group_names_it(
    cluster: KubernetesCluster, server: Server, status: int, answer: Any, offered: bool
) -> None:
    server.says(status, answer)
    assert await cluster.offers(REPLICA_SETS) is offered
    assert server.requests[0][:2] == ("GET", "/apis/apps/v1")


async def test_a_pods_token_is_read_anew_when_the_kubelet_has_renewed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime(2026, 1, 1)
    sent: list[str | None] = []

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Clock:
            return cls(now.year, now.month, now.day, now.hour, now.minute)

    async def answer(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers.get("Authorization"))
        return web.json_response({})

    token = tmp_path / "token"
    token.write_text("old")
    authority = make_authority(tmp_path / "pki")
    pair = authority.server("kubernetes", addresses=("127.0.0.1",))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    running = TestServer(application)
    await running.start_server(ssl=context)
    for name, value in (("HOST", "127.0.0.1"), ("PORT", str(running.port))):
        monkeypatch.setenv(f"KUBERNETES_SERVICE_{name}", value)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority.file))
    monkeypatch.setattr(incluster_config, "datetime", SimpleNamespace(datetime=Clock, timedelta=dt.timedelta))
    adapter = await connect()
    try:
        await adapter.get(PODS, name="p", namespace="n")
        token.write_text("new")
        now += dt.timedelta(minutes=2)
        await adapter.get(PODS, name="p", namespace="n")
        token.unlink()
        now += dt.timedelta(minutes=2)
        # A token that cannot be read is an outage like any other: the loop tries again.
        with pytest.raises(ports.Unavailable):
            await adapter.get(PODS, name="p", namespace="n")
        token.write_text("")
        with pytest.raises(ports.Unavailable):
            await adapter.get(PODS, name="p", namespace="n")
    finally:
        await adapter.close()
        await running.close()
    assert sent == ["bearer old", "bearer new"]
