"""The option that says in which form a command answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def output_form(*forms: str) -> Callable[[Command], Command]:
    """`-o` with these forms, the first of which is the default."""
    return click.option(
        "-o", "--output", type=click.Choice(forms), default=forms[0], show_default=True, help="Output format."
    )
