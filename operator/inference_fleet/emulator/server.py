"""The HTTP face of an emulated engine: vLLM's paths, bodies and status codes over aiohttp."""

from __future__ import annotations

import asyncio
import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from inference_fleet.emulator.answers import DONE, Answer, ChatAnswer, Choice, CompletionAnswer, error_event
from inference_fleet.emulator.generation import ApiError, Generation, bad_request, parse_chat, parse_completion
from inference_fleet.emulator.runner import EngineRunner
from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.emulator.settings import EngineSettings
from inference_fleet.emulator.telemetry import Telemetry

# A prompt of 128k token ids is about 1 MB of JSON.
_MAX_BODY_BYTES = 64 * 2**20
# Paths that the engine's own HTTP metrics leave out.
_UNCOUNTED_PATHS = frozenset({"/metrics", "/health", "/ping", "/load", "/version"})
# Paths that an API key guards.
_GUARDED_PREFIXES = ("/v1", "/v2", "/inference", "/cohere")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Phase(enum.Enum):
    SERVING = "serving"
    # SIGTERM with a shutdown time-out: what runs goes on, what comes gets a 500, /health stays 200.
    DRAINING = "draining"
    # The engine core has died; the API process lives a little longer.
    DEAD = "dead"


_DRAINING_ERROR = ApiError(status=500, type="InternalServerError", message="cannot schedule new futures after shutdown")
_DEAD_ERROR = ApiError(status=500, type="InternalServerError", message="EngineCore encountered an issue.")
_QUEUE_FULL_ERROR = ApiError(
    status=503, type="Service Unavailable", message="The engine's request queue is full. Please retry later."
)


@dataclass(slots=True, eq=False)
class _Outputs:
    """What the sequences of one request have written and the answer has not taken yet."""

    pending: list[tuple[int, int, FinishReason | None]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def sink(self, choice: int) -> Callable[[int, FinishReason | None], None]:
        def put(tokens: int, finished: FinishReason | None) -> None:
            self.pending.append((choice, tokens, finished))
            self.arrived.set()

        return put

    async def take(self) -> list[tuple[int, int, FinishReason | None]]:
        await self.arrived.wait()
        self.arrived.clear()
        taken, self.pending = self.pending, []
        return taken


class EngineServer:
    """Routes of one engine; `phase` is set by its life cycle."""

    def __init__(self, settings: EngineSettings, runner: EngineRunner, telemetry: Telemetry) -> None:
        self.phase = Phase.SERVING
        self.open_streams = 0
        self._settings = settings
        self._runner = runner
        self._telemetry = telemetry
        self._open_requests = 0
        # Set while no generation is being answered.
        self.quiet = asyncio.Event()
        self.quiet.set()

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._count_and_guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/health", self._health)
        app.router.add_route("*", "/ping", self._health)
        app.router.add_get("/load", self._load)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat_completions)
        return app

    # --- around every request -----------------------------------------------------------------------------------

    @web.middleware
    async def _count_and_guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        started_at = self._runner.now()
        try:
            if self._settings.api_keys and request.path.startswith(_GUARDED_PREFIXES) and not self._may_enter(request):
                response: web.StreamResponse = web.json_response({"error": "Unauthorized"}, status=401)
            else:
                response = await handler(request)
            known = True
        except web.HTTPException as error:
            # vLLM's web framework answers unknown paths and methods in this form.
            known = error.status != 404
            response = web.json_response({"detail": error.reason}, status=error.status)
        if request.path not in _UNCOUNTED_PATHS:
            self._telemetry.on_http(
                handler=request.path if known else "none",
                method=request.method,
                status=response.status,
                seconds=self._runner.now() - started_at,
                request_bytes=request.content_length or 0,
            )
        return response

    def _may_enter(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and token in self._settings.api_keys

    # --- small answers ------------------------------------------------------------------------------------------

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=503 if self.phase is Phase.DEAD else 200)

    async def _load(self, request: web.Request) -> web.Response:
        return web.json_response({"server_load": self._open_requests if self._settings.tracks_server_load else 0})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": self._settings.version})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._telemetry.page(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _models(self, request: web.Request) -> web.Response:
        models = [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "vllm",
                "root": self._settings.model,
                "parent": None,
                "max_model_len": self._settings.max_model_len,
            }
            for name in self._settings.served_model_names
        ]
        return web.json_response({"object": "list", "data": models})

    # --- generation ---------------------------------------------------------------------------------------------

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, parse_completion, CompletionAnswer)

    async def _chat_completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, parse_chat, ChatAnswer)

    async def _generate(
        self,
        request: web.Request,
        parse: Callable[..., Generation | ApiError],
        answer_type: Callable[[str], Answer],
    ) -> web.StreamResponse:
        try:
            body = json.loads(await request.read())
        except ValueError as error:
            return _error_response(bad_request(f"the body is not JSON: {error}"))
        if self.phase is Phase.DRAINING:
            return _error_response(_DRAINING_ERROR)
        if self.phase is Phase.DEAD:
            return _error_response(_DEAD_ERROR)
        generation = parse(body, max_model_len=self._settings.max_model_len)
        if isinstance(generation, ApiError):
            return _error_response(generation)
        names = self._settings.served_model_names
        if generation.model and generation.model not in names:
            message = f"The model `{generation.model}` does not exist."
            return _error_response(ApiError(status=404, type="NotFoundError", message=message, param="model"))
        outputs = _Outputs()
        sequences = generation.sequences(now=self._runner.now())
        for choice, sequence in enumerate(sequences):
            if self._runner.submit(sequence, outputs.sink(choice)) is not None:
                self._abort(sequences[:choice])
                return _error_response(_QUEUE_FULL_ERROR)
        self._open_requests += 1
        self.quiet.clear()
        try:
            answer = answer_type(generation.model or names[0])
            if generation.stream:
                return await self._stream(request, generation, answer, outputs, choices=len(sequences))
            return await _whole(generation, answer, outputs, choices=len(sequences))
        finally:
            # Does nothing to those that ended; aborts the rest if the caller has gone.
            self._abort(sequences)
            self._open_requests -= 1
            if not self._open_requests:
                self.quiet.set()

    def _abort(self, sequences: tuple[Sequence, ...]) -> None:
        for sequence in sequences:
            self._runner.abort(sequence)

    async def _stream(
        self, request: web.Request, generation: Generation, answer: Answer, outputs: _Outputs, *, choices: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        self.open_streams += 1
        try:
            await response.prepare(request)
            written = [0] * choices
            open_choices = choices
            opening = answer.opening(choices)
            while open_choices:
                events = [opening] if opening else []
                opening = b""
                for choice, tokens, finished in await outputs.take():
                    if finished is FinishReason.ERROR:
                        await response.write(b"".join((*events, error_event(_DEAD_ERROR), DONE)))
                        return response
                    events.append(answer.chunk(choice, written[choice], tokens, finished))
                    written[choice] += tokens
                    open_choices -= finished is not None
                if not open_choices:
                    if generation.include_usage:
                        events.append(answer.usage(generation.prompt_tokens, sum(written)))
                    events.append(DONE)
                await response.write(b"".join(events))
            return response
        finally:
            self.open_streams -= 1


async def _whole(generation: Generation, answer: Answer, outputs: _Outputs, *, choices: int) -> web.Response:
    written = [0] * choices
    ended: dict[int, FinishReason] = {}
    while len(ended) < choices:
        for choice, tokens, finished in await outputs.take():
            written[choice] += tokens
            if finished is FinishReason.ERROR:
                return _error_response(_DEAD_ERROR)
            if finished is not None:
                ended[choice] = finished
    body = answer.whole(generation.prompt_tokens, [Choice(written[choice], ended[choice]) for choice in range(choices)])
    return web.Response(body=body, content_type="application/json")


def _error_response(error: ApiError) -> web.Response:
    return web.json_response(error.body(), status=error.status)
