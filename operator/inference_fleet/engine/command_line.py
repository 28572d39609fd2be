"""PLACEHOLDER by EMULATOR, to be overwritten by ENGINE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ParsedCommandLine:
    values: dict[str, object]


def parse_command_line(version: str, argv: Sequence[str]) -> ParsedCommandLine:
    values: dict[str, object] = {}
    for word in argv:
        if not word.startswith("--"):
            values["model_tag"] = word
            continue
        name, _, value = word[2:].partition("=")
        key = name.replace("-", "_")
        if key.startswith("no_"):
            values[key[3:]] = False
        elif not value:
            values[key] = True
        elif key == "served_model_name":
            values[key] = [value]
        else:
            values[key] = value
    return ParsedCommandLine(values)
