"""What a person sees while a tool is fetched or built: a message and, where it is known, how far along it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

# message, fraction done (0..1) or None where nobody knows.
Progress = Callable[[str, float | None], None]

# A line per this many seconds is enough where lines cannot be replaced (a log, a pipe).
PLAIN_INTERVAL_SECONDS = 10.0


def silent(message: str, fraction: float | None) -> None:
    """Show nothing."""


def plain(stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Write a line whenever the message's first word changes, and otherwise one every ten seconds."""
    last_subject = ""
    last_time = 0.0

    def show(message: str, fraction: float | None) -> None:
        nonlocal last_subject, last_time
        subject = message.partition(":")[0]
        now = clock()
        if subject == last_subject and now - last_time < PLAIN_INTERVAL_SECONDS:
            return
        last_subject, last_time = subject, now
        percent = "" if fraction is None else f" ({fraction:.0%})"
        print(f"{message}{percent}", file=stream, flush=True)

    return show


@contextmanager
def shown(stream: TextIO | None = None) -> Iterator[Progress]:
    """A progress that suits the stream (default: standard error): a bar in place on a terminal, lines elsewhere."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield plain(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bars:
        bar = bars.add_task("", total=None, visible=False)

        def show(message: str, fraction: float | None) -> None:
            total = None if fraction is None else 1.0
            bars.update(bar, description=message, completed=fraction or 0.0, total=total, visible=True)

        yield show
