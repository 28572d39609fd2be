"""What an emulated engine is told beside vLLM's command line: speed, size and faults, by environment variables.

Every variable is `INFERENCE_FLEET_EMULATOR_<NAME>`; an unknown name or a value out of range ends the start, so that a
misspelt fault never passes for a healthy engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

PREFIX = "INFERENCE_FLEET_EMULATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The variables without their prefix, in lower case; None = not set."""

    # The vLLM version to be. The sandbox sets it from the image's tag.
    version: str | None = None
    # From process start to answering; nothing listens before.
    cold_start_seconds: float = 2.0
    # Size of the KV cache in tokens. Default: from the command line's blocks or bytes, else the built-in size.
    kv_cache_tokens: int | None = None
    # Coefficients of the step model (see engine/step_time.py).
    step_base_seconds: float | None = None
    step_per_prefill_token_seconds: float | None = None
    step_per_decoding_sequence_seconds: float | None = None
    # Chance that a drafted token is accepted if all before it were.
    acceptance_rate: float = 0.6
    # After so many finished requests the engine stops stepping; /health stays 200.
    hang_after_requests: int | None = None
    # After so many finished requests the engine dies as a killed worker does.
    crash_after_requests: int | None = None
    # 1: the start ends with vLLM's out-of-memory messages and exit status 1.
    out_of_memory: int = 0
    # For so long after the start every step takes `slow_start_factor` times as long.
    slow_start_seconds: float = 0.0
    slow_start_factor: float = 3.0
    # From the end of a drain to the end of the process. vLLM 0.32: 2 s after the last stream, about 11 s when idle.
    exit_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class SwitchRefusal:
    """A variable that cannot be honoured."""

    variable: str
    message: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.message}"


def read_switches(environment: Mapping[str, str] = os.environ) -> Switches | SwitchRefusal:
    """The switches of an environment, or the first variable that is unknown or out of range."""
    types = {field.name: str(field.type) for field in fields(Switches)}
    values: dict[str, str | int | float] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in types:
            return SwitchRefusal(variable, f"no such switch; there are {', '.join(sorted(types))}")
        if types[name].startswith("str"):
            values[name] = text
            continue
        wanted = int if types[name].startswith("int") else float
        try:
            number = wanted(text)
        except ValueError:
            return SwitchRefusal(variable, f"{text!r} is not {'a whole number' if wanted is int else 'a number'}")
        if not 0 <= number < float("inf"):
            return SwitchRefusal(variable, f"{text} must be 0 or more, and finite")
        if name == "acceptance_rate" and number > 1:
            return SwitchRefusal(variable, f"{text} must be at most 1")
        values[name] = number
    return Switches(**values)  # type: ignore[arg-type]
