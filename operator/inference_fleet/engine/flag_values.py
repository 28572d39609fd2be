"""Values of flags, checked as vLLM's own parser would."""

from __future__ import annotations

import difflib
import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from inference_fleet.engine.json_schema import objection
from inference_fleet.engine.versions import Flag

# `8k` is 8,000 and `8K` is 8,192 where vLLM reads numbers as people write them.
_HUMAN = re.compile(r"^(\d+(?:\.\d+)?)([kKmMgGtT])$")
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# More choices than this nobody reads in a message.
_MOST_WORDS = 12
_BOUNDS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "ge": (operator.ge, "at least"),
    "gt": (operator.gt, "more than"),
    "le": (operator.le, "at most"),
    "lt": (operator.lt, "less than"),
}


@dataclass(frozen=True)
class BadValue:
    """A value that the flag does not take. `what` does not repeat it: in its place may stand a secret by mistake."""

    text: str
    what: str

    @property
    def message(self) -> str:
        """With the value, for whoever has typed it."""
        return f"{self.text!r} {self.what}"


def read_value(flag: Flag, text: str) -> Any | BadValue:
    """The value as vLLM would keep it, or what is wrong with it."""
    value = _read(flag, text)
    if isinstance(value, BadValue) or not flag.choices:
        return value
    if value in flag.choices or str(value) in [str(choice) for choice in flag.choices]:
        return value
    return BadValue(text, f"is not one of {', '.join(str(choice) for choice in flag.choices)}")


def objection_to(flag: Flag, value: Any) -> str | None:
    """What speaks against a value that the parser takes: vLLM itself, later, or what the operator lets objects hold."""
    found = objection(value, flag.schema) if flag.schema is not None else None
    return late_objection(flag, value) or (found.strip() if found else None)


def late_objection(flag: Flag, value: Any) -> str | None:
    """What vLLM says against it as it builds its configuration, or when it serves."""
    if str(value) in flag.refused:
        return flag.refused[str(value)]
    if flag.words and str(value).upper() not in [word.upper() for word in flag.words]:
        return _unknown(str(value), flag.words)
    for sign, (within, words) in _BOUNDS.items():
        if sign in flag.bounds and isinstance(value, (int, float)) and not within(value, flag.bounds[sign]):
            return f"must be {words} {flag.bounds[sign]:g}"
    return None


def _unknown(word: str, words: tuple[str, ...]) -> str:
    if len(words) <= _MOST_WORDS:
        return f"is not one of {', '.join(words)}"
    near = difflib.get_close_matches(word, words, n=3)
    meant = f"; near it are {', '.join(near)}" if near else f", such as {', '.join(words[:3])}"
    return f"is none of the {len(words)} that this release has{meant}"


def _read(flag: Flag, text: str) -> Any | BadValue:
    if flag.kind == "integer":
        return _integer(text)
    if flag.kind == "number":
        try:
            return float(text)
        except ValueError:
            return BadValue(text, "is not a number")
    if flag.kind in ("size", "sizeOrAuto"):
        if flag.kind == "sizeOrAuto" and text in ("auto", "-1"):
            return "auto"
        return _human(text)
    if flag.kind in ("json", "jsonOrText"):
        try:
            return json.loads(text)
        except ValueError:
            return text if flag.kind == "jsonOrText" else BadValue(text, "is not JSON")
    return text


def _integer(text: str) -> int | BadValue:
    try:
        return int(text)
    except ValueError:
        return BadValue(text, "is not a whole number")


def _human(text: str) -> int | BadValue:
    match = _HUMAN.match(text)
    if match is None:
        return _integer(text)
    unit = match[2]
    if unit in _BINARY:
        # Binary units take no fraction.
        return int(match[1]) * _BINARY[unit] if match[1].isdigit() else BadValue(text, "is not a whole number")
    return int(float(match[1]) * _DECIMAL[unit])
