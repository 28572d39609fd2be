"""A proxy in front of a sandbox's API server that can answer late, wrongly or not at all: for fault tests.

It ends TLS under the sandbox's own authority, so clients trust it as they trust the API server. Callers are known by
their bearer tokens; client certificates end here. Outside it is reached at `url`, from pods at PROXY_INSIDE: for a
client that takes the API server from its environment, set KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT to its
parts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from inference_fleet.sandbox.cluster import Sandbox
from inference_fleet.sandbox.control_plane import PROXY_PAIR_NAME

# A hop's own headers (RFC 9110, section 7.6.1) and those that aiohttp writes itself.
_OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "upgrade", "host", "content-length", "te", "trailer"}
_LONGEST_BODY_BYTES = 8 * 2**20  # above the API server's own limit of 3 MiB


@dataclass(frozen=True)
class ApiRequest:
    """What is known of a request when its fate is decided. `path` is with its query."""

    method: str
    path: str
    user_agent: str


@dataclass(frozen=True)
class Pass:
    """Hand it on after a delay."""

    delay_seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """Answer in the API server's place, with a Status object; `headers` such as Retry-After."""

    status: int
    reason: str = ""
    message: str = "answered by the proxy"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LoseRequest:
    """The connection breaks before the API server has seen anything."""


@dataclass(frozen=True)
class LoseAnswer:
    """The API server does it, and the connection breaks before the caller learns so."""


Fate = Pass | Answer | LoseRequest | LoseAnswer
Intercept = Callable[[ApiRequest], Fate]


@dataclass(frozen=True)
class ApiProxy:
    """A running proxy; `url` is where it is reached on this machine."""

    url: str


@contextlib.asynccontextmanager
async def api_proxy(sandbox: Sandbox, *, intercept: Intercept) -> AsyncIterator[ApiProxy]:
    """Run a proxy in front of `sandbox` for the length of a block; one at a time for a sandbox."""
    folder = sandbox.folder
    trust = ssl.create_default_context(cafile=str(folder.pki / "ca.crt"))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(folder.pki / f"{PROXY_PAIR_NAME}.crt", folder.pki / f"{PROXY_PAIR_NAME}.key")
    connector = aiohttp.TCPConnector(ssl=trust, limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(sandbox.api_server, connector=connector, timeout=timeout) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _handle(request, session=session, intercept=intercept)

        application = web.Application(client_max_size=_LONGEST_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.0)
        await runner.setup()
        try:
            outside = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=serving)
            await outside.start()
            await web.UnixSite(runner, str(folder.proxy_socket), ssl_context=serving).start()
            yield ApiProxy(f"https://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()
            folder.proxy_socket.unlink(missing_ok=True)


async def _handle(request: web.Request, *, session: aiohttp.ClientSession, intercept: Intercept) -> web.StreamResponse:
    asked = ApiRequest(request.method, request.path_qs, request.headers.get("User-Agent", ""))
    fate = intercept(asked)
    match fate:
        case Answer():
            return _status(fate)
        case LoseRequest():
            return _break(request)
        case Pass(delay_seconds):
            await asyncio.sleep(delay_seconds)
        case LoseAnswer():
            pass
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN_HEADERS}
    body = await request.read()
    async with session.request(
        request.method, request.path_qs, headers=headers, data=body or None, auto_decompress=False
    ) as answer:
        if isinstance(fate, LoseAnswer):
            await answer.read()
            return _break(request)
        return await _copy(answer, request)


async def _copy(answer: aiohttp.ClientResponse, request: web.Request) -> web.StreamResponse:
    kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN_HEADERS}
    response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=kept)
    await response.prepare(request)
    async for block in answer.content.iter_any():
        await response.write(block)
    await response.write_eof()
    return response


def _status(answer: Answer) -> web.Response:
    content = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": answer.status,
        "reason": answer.reason,
        "message": answer.message,
    }
    return web.json_response(content, status=answer.status, headers=dict(answer.headers))


def _break(request: web.Request) -> web.Response:
    """Close the connection; what is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=502)
