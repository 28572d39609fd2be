"""Further flags: exactly one flag each, marked as allowed in the release's data, with a value that its parser takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.case import Case, Finding
from inference_fleet.engine.command_line import dotted_option, literal, nearest_option, options_of
from inference_fleet.engine.flag_values import BadValue, objection_to, read_value
from inference_fleet.engine.versions import Flag


def extra_arguments(case: Case) -> Iterator[Finding]:
    """Every word of extraArgs. Abbreviations, which vLLM's parser takes, are unknown flags here."""
    flags = options_of(case.version)
    seen: dict[str, int] = {}
    for index, argument in enumerate(case.engine.extra_args or ()):
        path = f"engine.vllm.extraArgs[{index}]"
        option, equals, text = argument.partition("=")
        dotted = dotted_option(option)
        flag = flags.get(dotted[0] if dotted else option)
        if flag is None or (dotted and flag.kind not in ("json", "jsonOrText")):
            message, way_out = _no_flag(case, option)
            yield Refusal(path, Reason.UNSUPPORTED_FLAG, message, way_out)
            continue
        if option in seen or (dotted is None and flag.name in seen):
            message = f"{option} is given twice; the first is extraArgs[{seen.get(option, seen.get(flag.name))}]."
            yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Say it once.")
        seen.setdefault(option if dotted else flag.name, index)
        yield from _marked(path, option, flag)
        if flag.mark == "allowed":
            yield from _valued(path, option, flag, _value(equals, text, dotted))
            if option not in flag.negatives and text != flag.default:
                yield from _needed(case, path, option, flag)


def _no_flag(case: Case, option: str) -> tuple[str, str | None]:
    """What is wrong with a flag that there is not, and what to do."""
    first, space, _ = option.partition(" ")
    if space and first in options_of(case.version):
        # The value may be a secret: it is not repeated.
        return f"{first} and its value are one word here.", f"Write {first}=VALUE."
    near = nearest_option(case.version, first)
    return f"vLLM {case.version.version} has no flag {first}.", f"Did you mean {near}?" if near else None


def _value(equals: str, text: str, dotted: tuple[str, str] | None) -> str | None:
    if not equals:
        return None
    # One key of an object: the object is JSON again.
    value: Any = literal(text)
    for key in reversed(dotted[1].split(".") if dotted else ()):
        value = {key: value}
    return json.dumps(value) if dotted else text


def _needed(case: Case, path: str, option: str, flag: Flag) -> Iterator[Finding]:
    """Beside what it works only."""
    if flag.needs is None:
        return
    if flag.needs.startswith("--"):
        words = [word.partition("=")[0] for word in case.engine.extra_args or ()]
        if flag.needs not in words:
            yield Refusal(
                path, Reason.CONFLICTING_SETTINGS, f"{option} needs {flag.needs} beside it.", "Add that, too."
            )
        return
    value: Any = case.engine.model_dump(by_alias=True)
    for part in flag.needs.split("."):
        value = (value or {}).get(part)
    if not value:
        message = f"{option} needs engine.vllm.{flag.needs}."
        yield Refusal(path, Reason.CONFLICTING_SETTINGS, message, "Set it, or leave this out.")


def _marked(path: str, option: str, flag: Flag) -> Iterator[Finding]:
    if flag.mark == "typed":
        message = f"{option} has a field of its own."
        yield Refusal(path, Reason.FLAG_NOT_ALLOWED, message, f"Set spec.{flag.field}.")
    elif flag.mark == "denied":
        yield Refusal(path, Reason.FLAG_NOT_ALLOWED, f"{option} is not allowed: {flag.reason}.")


def _valued(path: str, option: str, flag: Flag, text: str | None) -> Iterator[Finding]:
    if flag.kind in ("switch", "presence"):
        if text is not None:
            yield Refusal(path, Reason.OUT_OF_RANGE, f"{option} takes no value.", f"Write {option} alone.")
    elif text is None:
        yield Refusal(path, Reason.OUT_OF_RANGE, f"{option} needs a value.", f"Write {option}=VALUE.")
    else:
        value = read_value(flag, text)
        wrong = value.what if isinstance(value, BadValue) else objection_to(flag, value)
        if wrong:
            # A member of an object is named as its dotted option: --compilation-config.mode.
            where = flag.flag if wrong.startswith(".") else f"the value of {option} "
            yield Refusal(path, Reason.OUT_OF_RANGE, f"{where}{wrong}.")
