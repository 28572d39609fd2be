"""vLLM's command line, read and refused as its parser does: for the emulated engine and for checks."""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.flag_values import BadValue, late_objection, read_value
from inference_fleet.engine.versions import KEPT_RELEASES, EngineVersion, Flag, engine_version

# `--compilation-config.mode=3` means {"mode": 3} of --compilation-config.
_DOTTED = re.compile(r"^(--[a-zA-Z][\w-]*)\.([\w.]+)$")
_LEVEL = re.compile(r"^-O=?(\d)$")
_NEAR_ENOUGH = 0.75


@dataclass(frozen=True)
class ParsedCommandLine:
    """Values by vLLM's option name (`max_num_seqs`), only those that were given; `model_tag` is the positional one."""

    values: dict[str, object]


def parse_command_line(version: str, argv: Sequence[str]) -> ParsedCommandLine | Refusal:
    """The arguments of `vllm serve` of this version, or what its parser would say against them."""
    known = engine_version(version)
    if isinstance(known, Refusal):
        return known
    words, nested = _unfold(argv, options_of(known))
    try:
        values, strangers = _parser(version).parse_known_args(words)
        if strangers:
            word = strangers[0]
            near = nearest_option(known, _option(word)) if word.startswith("--") else None
            return _refuse(f"unrecognized arguments: {' '.join(strangers)}", nearest=near)
    except _Objection as objection:
        return _refuse(str(objection))
    found: dict[str, object] = dict(vars(values))
    for name, value in nested.items():
        given = found.get(name)
        found[name] = {**given, **value} if isinstance(given, Mapping) else value
    return _configuration_objection(known, found) or ParsedCommandLine(found)


def options_of(version: EngineVersion) -> Mapping[str, Flag]:
    """Every spelling of every flag."""
    return _options(version.version)


def nearest_option(version: EngineVersion, option: str) -> str | None:
    """The flag somebody probably meant."""
    near = difflib.get_close_matches(option, list(options_of(version)), n=1, cutoff=_NEAR_ENOUGH)
    return near[0] if near else None


def dotted_option(option: str) -> tuple[str, str] | None:
    """`--compilation-config.mode` -> (`--compilation-config`, `mode`); None for any other option."""
    match = _DOTTED.match(option)
    return (match[1], match[2]) if match else None


class _Objection(Exception):
    """argparse's complaint, which it would print before it ended the process."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Objection(message)


@lru_cache(maxsize=KEPT_RELEASES)
def _options(version: str) -> Mapping[str, Flag]:
    known = engine_version(version)
    assert not isinstance(known, Refusal)
    return {spelling: flag for flag in known.flags.values() for spelling in flag.spellings}


@lru_cache(maxsize=KEPT_RELEASES)
def _parser(version: str) -> _Parser:
    """The parser of vLLM again, from data; abbreviations work there, so they work here."""
    known = engine_version(version)
    assert not isinstance(known, Refusal)
    parser = _Parser(prog="vllm serve", add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("model_tag", nargs="?")
    for flag in known.flags.values():
        positives = (flag.flag, *flag.aliases)
        if flag.kind in ("switch", "presence"):
            parser.add_argument(*positives, dest=flag.name, action="store_true")
            if flag.negatives:
                parser.add_argument(*flag.negatives, dest=flag.name, action="store_false")
            continue
        more: dict[str, Any] = {"many": {"nargs": "+"}, "optional": {"nargs": "?"}, "append": {"action": "append"}}.get(
            flag.values, {}
        )
        parser.add_argument(*positives, dest=flag.name, type=_reader(flag), **more)
    return parser


def _reader(flag: Flag) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = read_value(flag, text)
        if isinstance(value, BadValue):
            raise argparse.ArgumentTypeError(value.message)
        return value

    return read


def _option(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _unfold(argv: Sequence[str], options: Mapping[str, Flag]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The words with vLLM's own shorthands written out, and what its dotted options say: name -> object."""
    words: list[str] = []
    nested: dict[str, dict[str, Any]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        level = _LEVEL.match(word)
        if level:
            words.append(f"--optimization-level={level[1]}")
            continue
        if not word.startswith("--"):
            words.append(word)
            continue
        option, equals, text = word.partition("=")
        dotted = dotted_option(option)
        flag = options.get(dotted[0].replace("_", "-")) if dotted else None
        if dotted is None or flag is None or flag.kind not in ("json", "jsonOrText"):
            words.append(option.replace("_", "-") + equals + text)
            continue
        if not equals:
            text = rest.pop(0) if rest else "true"
        node = nested.setdefault(flag.name, {})
        *path, last = dotted[1].split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = literal(text)
    return words, nested


def literal(text: str) -> Any:
    """The value of a dotted option: JSON if it is some, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _configuration_objection(version: EngineVersion, values: Mapping[str, object]) -> Refusal | None:
    """What vLLM refuses only when it builds its configuration: vocabulary that its parser takes as plain text."""
    for name, value in values.items():
        flag = version.flags.get(name)
        if flag is not None and not isinstance(value, list) and (wrong := late_objection(flag, value)):
            return _refuse(f"{flag.flag}: the value {wrong}")
    quantization = values.get("quantization")
    if quantization is not None and quantization not in version.quantization:
        return _refuse(f"Unknown quantization method: {quantization}. Must be one of {list(version.quantization)}.")
    cache_type = values.get("kv_cache_dtype")
    if cache_type is not None and cache_type not in version.kv_cache_types:
        return _refuse(f"Unknown KV cache type: {cache_type}. Must be one of {list(version.kv_cache_types)}.")
    speculative = values.get("speculative_config")
    if isinstance(speculative, Mapping):
        strange = [key for key in speculative if key not in version.speculative_keys]
        if strange:
            return _refuse(f"SpeculativeConfig: unexpected keyword argument {strange[0]!r}")
        method = speculative.get("method")
        if method is not None and method not in version.speculative_methods:
            return _refuse(f"Unknown speculative method: {method}. Must be one of {list(version.speculative_methods)}.")
    return None


def _refuse(message: str, *, nearest: str | None = None) -> Refusal:
    way_out = f"Did you mean {nearest}?" if nearest else None
    return Refusal("args", Reason.UNSUPPORTED_FLAG, message, way_out)
