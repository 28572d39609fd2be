"""How an answer is written: the JSON of /v1/completions and /v1/chat/completions, whole or as server-sent events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence as Values
from dataclasses import dataclass, field
from typing import Protocol

from inference_fleet.emulator.generation import ApiError
from inference_fleet.emulator.sequence import FinishReason
from inference_fleet.emulator.tokens import written_text

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """A finished output: how many tokens, and why it ended."""

    tokens: int
    finished: FinishReason


class Answer(Protocol):
    """Writes one request's answer."""

    def opening(self, choices: int) -> bytes:
        """Events before the first token."""

    def chunk(self, choice: int, start: int, tokens: int, finished: FinishReason | None) -> bytes:
        """The event that carries output tokens `start` .. `start + tokens - 1`."""

    def usage(self, prompt_tokens: int, output_tokens: int) -> bytes:
        """The last event if the caller asked for the usage."""

    def whole(self, prompt_tokens: int, choices: Values[Choice]) -> bytes:
        """The body of an answer that is not streamed."""


def error_event(error: ApiError) -> bytes:
    """An error under a status line that said 200 long ago."""
    return b"data: " + json.dumps(error.body()).encode() + b"\n\n"


def _usage(prompt_tokens: int, output_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "completion_tokens": output_tokens,
    }


@dataclass(slots=True)
class CompletionAnswer:
    """`text_completion` objects."""

    model: str
    id: str = field(default_factory=lambda: f"cmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self, choices: int) -> bytes:
        return b""

    def chunk(self, choice: int, start: int, tokens: int, finished: FinishReason | None) -> bytes:
        # Built by hand: this is written for every token, and its words need no escaping.
        reason = f'"{finished.value}"' if finished else "null"
        return (
            f'data: {{"id":"{self.id}","object":"text_completion","created":{self.created},"model":{self._name()},'
            f'"choices":[{{"index":{choice},"text":"{written_text(start, tokens)}","logprobs":null,'
            f'"finish_reason":{reason},"stop_reason":null}}],"usage":null}}\n\n'
        ).encode()

    def usage(self, prompt_tokens: int, output_tokens: int) -> bytes:
        return b"data: " + self._dump([], _usage(prompt_tokens, output_tokens)) + b"\n\n"

    def whole(self, prompt_tokens: int, choices: Values[Choice]) -> bytes:
        written: list[dict[str, object]] = [
            {
                "index": index,
                "text": written_text(0, choice.tokens),
                "logprobs": None,
                "finish_reason": choice.finished.value,
                "stop_reason": None,
            }
            for index, choice in enumerate(choices)
        ]
        return self._dump(written, _usage(prompt_tokens, sum(choice.tokens for choice in choices)))

    def _name(self) -> str:
        return json.dumps(self.model)

    def _dump(self, choices: list[dict[str, object]], usage: dict[str, int]) -> bytes:
        body = {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}
        return json.dumps({**body, "choices": choices, "usage": usage}).encode()


@dataclass(slots=True)
class ChatAnswer:
    """`chat.completion` objects and `chat.completion.chunk` events."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def opening(self, choices: int) -> bytes:
        return b"".join(
            self._event(f'{{"index":{index},"delta":{{"role":"assistant","content":""}},"finish_reason":null}}')
            for index in range(choices)
        )

    def chunk(self, choice: int, start: int, tokens: int, finished: FinishReason | None) -> bytes:
        reason = f'"{finished.value}"' if finished else "null"
        return self._event(
            f'{{"index":{choice},"delta":{{"content":"{written_text(start, tokens)}"}},"logprobs":null,'
            f'"finish_reason":{reason}}}'
        )

    def usage(self, prompt_tokens: int, output_tokens: int) -> bytes:
        return b"data: " + self._dump("chat.completion.chunk", [], _usage(prompt_tokens, output_tokens)) + b"\n\n"

    def whole(self, prompt_tokens: int, choices: Values[Choice]) -> bytes:
        written: list[dict[str, object]] = [
            {
                "index": index,
                "message": {"role": "assistant", "content": written_text(0, choice.tokens)},
                "logprobs": None,
                "finish_reason": choice.finished.value,
                "stop_reason": None,
            }
            for index, choice in enumerate(choices)
        ]
        usage = _usage(prompt_tokens, sum(choice.tokens for choice in choices))
        return self._dump("chat.completion", written, usage)

    def _event(self, choice: str) -> bytes:
        return (
            f'data: {{"id":"{self.id}","object":"chat.completion.chunk","created":{self.created},'
            f'"model":{json.dumps(self.model)},"choices":[{choice}]}}\n\n'
        ).encode()

    def _dump(self, kind: str, choices: list[dict[str, object]], usage: dict[str, int]) -> bytes:
        body = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return json.dumps({**body, "choices": choices, "usage": usage}).encode()
