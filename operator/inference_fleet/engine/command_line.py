"""vLLM's command line, read and refused as its parser does: for the emulated engine and for checks."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.flag_values import BadValue, read_value
from inference_fleet.engine.versions import EngineVersion, Flag, engine_version


@dataclass(frozen=True)
class ParsedCommandLine:
    """Values by vLLM's option name (`max_num_seqs`), only those that were given; `model_tag` is the positional one."""

    values: dict[str, object]


def parse_command_line(version: str, argv: Sequence[str]) -> ParsedCommandLine | Refusal:
    """The arguments of `vllm serve` of this version, or what its parser would say against them."""
    known = engine_version(version)
    if isinstance(known, Refusal):
        return known
    options = options_of(known)
    values: dict[str, object] = {}
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            if "model_tag" in values:
                return _refuse(f"unrecognized arguments: {word}")
            values["model_tag"] = word
            continue
        option, equals, text = word.partition("=")
        if option.startswith("--"):
            option = option.replace("_", "-")
        flag = options.get(option)
        if flag is None:
            return _refuse(f"unrecognized arguments: {word}", nearest=nearest_option(known, option))
        problem = _take(flag, option, text if equals else None, words, values)
        if problem is not None:
            return problem
    return ParsedCommandLine(values)


def options_of(version: EngineVersion) -> Mapping[str, Flag]:
    """Every spelling of every flag."""
    return _options(version.version)


@cache
def _options(version: str) -> Mapping[str, Flag]:
    known = engine_version(version)
    assert not isinstance(known, Refusal)
    return {spelling: flag for flag in known.flags.values() for spelling in flag.spellings}


def nearest_option(version: EngineVersion, option: str) -> str | None:
    """The flag somebody probably meant."""
    near = difflib.get_close_matches(option, list(options_of(version)), n=1, cutoff=0.75)
    return near[0] if near else None


def _take(flag: Flag, option: str, text: str | None, words: list[str], values: dict[str, object]) -> Refusal | None:
    many = flag.values in ("many", "append")
    if flag.kind in ("switch", "presence"):
        if text is not None:
            return _refuse(f"argument {option}: ignored explicit argument {text!r}")
        values[flag.name] = option not in flag.negatives
        return None
    texts = [text] if text is not None else _following(flag, words)
    if not texts:
        if flag.values == "optional":
            values[flag.name] = None
            return None
        return _refuse(f"argument {option}: expected {'at least one argument' if many else 'one argument'}")
    read: list[Any] = []
    for one in texts:
        value = read_value(flag, one)
        if isinstance(value, BadValue):
            return _refuse(f"argument {option}: invalid value: {value.message}")
        read.append(value)
    values[flag.name] = read if many else read[0]
    return None


def _following(flag: Flag, words: list[str]) -> list[str]:
    taken: list[str] = []
    many = flag.values == "many"
    while words and (not words[0].startswith("-") or words[0] == "-1"):
        taken.append(words.pop(0))
        if not many:
            break
    return taken


def _refuse(message: str, *, nearest: str | None = None) -> Refusal:
    way_out = f"Did you mean {nearest}?" if nearest else None
    return Refusal("args", Reason.UNSUPPORTED_FLAG, message, way_out)
