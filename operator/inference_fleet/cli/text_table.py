"""Tables and colours for people: fitted to the terminal, plain when piped."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import click

# Sizes that no terminal can be asked for: a pipe's reader wants whole words.
PIPED_COLUMNS: Final = 100_000
LEAST_COLUMNS: Final = 100
_GAP: Final = 2
_SHORTEST_CELL: Final = 8
COLOURS: Final = {"True": "green", "False": "red", "Unknown": "yellow"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table. yields: may be cut to make the table fit."""

    title: str
    yields: bool = False
    right: bool = False


def columns_of_terminal() -> int:
    """How wide lines may be: the terminal, at least 100; no limit into a pipe."""
    if not sys.stdout.isatty():
        return PIPED_COLUMNS
    return max(LEAST_COLUMNS, shutil.get_terminal_size((LEAST_COLUMNS, 24)).columns)


def show(text: str) -> None:
    """Print; colours only on a terminal, and not where NO_COLOR is set (no-color.org)."""
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int) -> list[str]:
    """Lines of a table; cells of yielding columns are cut in the middle where it would be too wide."""
    widths = [max(len(column.title), *(len(row[i]) for row in rows), 0) for i, column in enumerate(columns)]
    while (excess := sum(widths) + _GAP * (len(widths) - 1) - width) > 0:
        yielding = [i for i, column in enumerate(columns) if column.yields and widths[i] > _SHORTEST_CELL]
        if not yielding:
            break
        widest = max(yielding, key=lambda i: widths[i])
        others = [widths[i] for i in yielding if i != widest]
        floor = max([_SHORTEST_CELL, *(size for size in others if size < widths[widest])])
        widths[widest] = max(floor, widths[widest] - excess)
    lines = [_line(columns, [column.title for column in columns], widths)]
    return lines + [_line(columns, row, widths) for row in rows]


def _line(columns: Sequence[Column], cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, cell, width in zip(columns, cells, widths, strict=True):
        text = shortened(cell, width=width)
        parts.append(text.rjust(width) if column.right else text.ljust(width))
    return (" " * _GAP).join(parts).rstrip()


def shortened(text: str, *, width: int) -> str:
    """Text cut in its middle: both ends of a name tell it from others."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def fitted(text: str, *, width: int) -> str:
    """Text cut at its end."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def coloured(text: str, *, by: str) -> str:
    """Text in the colour of a condition's status."""
    return click.style(text, fg=COLOURS[by]) if by in COLOURS else text


def wrapped(text: str, *, label: str, width: int) -> list[str]:
    """A labelled paragraph, its further lines indented under the first."""
    import textwrap

    return textwrap.wrap(
        text,
        width=width,
        initial_indent=f"{label:<11}",
        subsequent_indent=" " * 11,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [label]


def structured(report: Mapping[str, Any], *, form: Literal["json", "yaml"]) -> str:
    """A report for programs."""
    if form == "json":
        import json

        return json.dumps(report, indent=2)
    import yaml

    return yaml.safe_dump(report, sort_keys=False, width=120).rstrip("\n")
