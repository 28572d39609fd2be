"""The body of a completion request, checked and reduced to what the emulator needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.emulator.tokens import count_tokens, natural_length

# vLLM's defaults and bounds of the sampling parameters.
_DEFAULT_COMPLETION_TOKENS = 16
_MAX_N = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """An answer other than 200, in vLLM's form."""

    status: int
    type: str
    message: str
    param: str | None = None

    def body(self) -> dict[str, object]:
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.status}
        return {"error": error}


def bad_request(message: str, *, param: str | None = None) -> ApiError:
    return ApiError(status=400, type="BadRequestError", message=message, param=param)


@dataclass(frozen=True, slots=True)
class Prompt:
    """Length in tokens, and where the emulated model would end by itself."""

    tokens: int
    natural_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One HTTP request: `n` outputs for each of its prompts."""

    model: str
    prompts: tuple[Prompt, ...]
    # Per prompt: what the caller asked for, or the room that the model's length leaves.
    max_tokens: tuple[int, ...]
    min_tokens: int
    ignore_eos: bool
    n: int
    priority: int
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        return sum(prompt.tokens for prompt in self.prompts)

    def sequences(self, *, now: float) -> tuple[Sequence, ...]:
        """The sequences to schedule, in the order of the answer's choices."""
        return tuple(
            self._sequence(prompt, limit, now=now)
            for prompt, limit in zip(self.prompts, self.max_tokens, strict=True)
            for _ in range(self.n)
        )

    def _sequence(self, prompt: Prompt, limit: int, *, now: float) -> Sequence:
        natural = max(self.min_tokens, prompt.natural_output_tokens)
        stops = not self.ignore_eos and natural < limit
        return Sequence(
            prompt_tokens=prompt.tokens,
            output_limit=natural if stops else limit,
            ends_with=FinishReason.STOP if stops else FinishReason.LENGTH,
            arrived_at=now,
            requested_tokens=limit,
            requested_n=self.n,
            priority=self.priority,
        )


def parse_completion(body: object, *, max_model_len: int) -> Generation | ApiError:
    """The body of POST /v1/completions: `prompt` is text, token ids, or a list of either."""
    if not isinstance(body, Mapping):
        return bad_request("the body must be a JSON object")
    prompts = _prompts(body.get("prompt"))
    if isinstance(prompts, ApiError):
        return prompts
    return _generation(
        body, prompts, max_model_len=max_model_len, asked=body.get("max_tokens", _DEFAULT_COMPLETION_TOKENS)
    )


def parse_chat(body: object, *, max_model_len: int) -> Generation | ApiError:
    """The body of POST /v1/chat/completions: the contents of all messages count, plus 4 tokens a message."""
    if not isinstance(body, Mapping):
        return bad_request("the body must be a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, Mapping) for m in messages):
        return bad_request("messages must be a list of objects with role and content", param="messages")
    text = "".join(_content(message.get("content")) for message in messages)
    prompt = Prompt(count_tokens(text) + 4 * len(messages), natural_length(text.encode()))
    asked = body.get("max_completion_tokens", body.get("max_tokens"))
    return _generation(body, (prompt,), max_model_len=max_model_len, asked=asked)


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return ""


def _prompts(prompt: object) -> tuple[Prompt, ...] | ApiError:
    if isinstance(prompt, str):
        return (_text_prompt(prompt),)
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            return tuple(_text_prompt(item) for item in prompt)
        if all(type(item) is int for item in prompt):
            return (_token_prompt(prompt),)
        if all(isinstance(item, list) and item and all(type(token) is int for token in item) for item in prompt):
            return tuple(_token_prompt(item) for item in prompt)
    return bad_request("prompt must be text, token ids, or a list of either, and not empty", param="prompt")


def _text_prompt(text: str) -> Prompt:
    return Prompt(count_tokens(text), natural_length(text.encode("utf-8", "surrogatepass")))


def _token_prompt(tokens: list[int]) -> Prompt:
    return Prompt(len(tokens), natural_length(repr(tokens[:64]).encode()))


def _generation(
    body: Mapping[str, object], prompts: tuple[Prompt, ...], *, max_model_len: int, asked: object
) -> Generation | ApiError:
    numbers: dict[str, int] = {}
    for name, default, low in (("n", 1, 1), ("min_tokens", 0, 0), ("priority", 0, None)):
        value = body.get(name)
        value = default if value is None else value
        if type(value) is not int or (low is not None and value < low):
            return bad_request(f"{name} must be an integer of at least {low}, got {value!r}", param=name)
        numbers[name] = value
    if numbers["n"] > _MAX_N:
        return bad_request(f"n must be at most {_MAX_N}, got {numbers['n']}", param="n")
    if asked is not None and (type(asked) is not int or asked < 1):
        return bad_request(f"max_tokens must be at least 1, got {asked!r}", param="max_tokens")
    limits: list[int] = []
    for prompt in prompts:
        room = max_model_len - prompt.tokens
        if room < 1 or (isinstance(asked, int) and asked > room):
            wanted = prompt.tokens + (asked if isinstance(asked, int) else 1)
            return bad_request(
                f"This model's maximum context length is {max_model_len} tokens; {wanted} were requested "
                f"({prompt.tokens} in the prompt, {wanted - prompt.tokens} to be written).",
                param="max_tokens" if room >= 1 else "prompt",
            )
        limits.append(asked if isinstance(asked, int) else room)
    options = body.get("stream_options")
    return Generation(
        model=str(body.get("model") or ""),
        prompts=prompts,
        max_tokens=tuple(limits),
        min_tokens=numbers["min_tokens"],
        ignore_eos=body.get("ignore_eos") is True,
        n=numbers["n"],
        priority=numbers["priority"],
        stream=body.get("stream") is True,
        include_usage=isinstance(options, Mapping) and options.get("include_usage") is True,
    )
