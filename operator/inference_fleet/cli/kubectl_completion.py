"""`kubectl_complete-inference_fleet`: what kubectl calls when Tab is pressed behind `kubectl inference-fleet`.

It prints one suggestion a line, with its help behind a tab, and last a directive of kubectl's command library (cobra).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click
from click.shell_completion import CompletionItem, ShellComplete

from inference_fleet.cli.completion import end_in_time
from inference_fleet.cli.main import COMPLETION_VARIABLE, cli

# https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective
_FILES: Final = 0
_NO_FILES: Final = 4
_FOLDERS: Final = 16


def main() -> None:
    """Answer for the words after `kubectl inference-fleet`, the last of which is not finished."""
    end_in_time()
    click.echo(kubectl_answer(sys.argv[1:]))


def kubectl_answer(words: Sequence[str]) -> str:
    """All lines. A command line that cannot be understood has no suggestions."""
    *finished, incomplete = words or [""]
    completion = ShellComplete(cli, {}, "kubectl inference-fleet", COMPLETION_VARIABLE)
    try:
        items = completion.get_completions(list(finished), incomplete)
    except click.ClickException:
        items = []
    lines = [_line(item) for item in items if item.type == "plain"]
    return "\n".join([*lines, f":{_directive({item.type for item in items})}"])


def _line(item: CompletionItem[str]) -> str:
    return f"{item.value}\t{item.help}" if item.help else item.value


def _directive(types: set[str]) -> int:
    if "file" in types:
        return _FILES
    return _FOLDERS if "dir" in types else _NO_FILES
