"""The live picture of a demonstration: one screen, drawn in place; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from inference_fleet.cli.demonstration.observation import Observations
from inference_fleet.load.judgement import percentiles

RECENT_SECONDS: Final = 30.0
_BAR_WIDTH: Final = 28
# Without a terminal a line now and then is enough.
_PLAIN_LINE_SECONDS: Final = 15.0


class Screen:
    """Draws observations. Enter it before the load begins."""

    def __init__(self, console: Console, *, headline: str) -> None:
        self._console = console
        self._headline = headline
        self._live: Live | None = None
        self._last_line = 0.0

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.__enter__()
        else:
            self._console.print(self._headline)
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, seen: Observations, *, at_seconds: float, decision: str) -> None:
        """Draw the present state."""
        lines = picture(seen, at_seconds=at_seconds, decision=decision)
        if self._live is not None:
            self._live.update(Group(Text(self._headline), *(Text(line) for line in lines)), refresh=True)
        elif time.monotonic() - self._last_line >= _PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(" | ".join(lines), soft_wrap=True)


def picture(seen: Observations, *, at_seconds: float, decision: str) -> list[str]:
    """Three lines: load, replicas, latency."""
    now = min(at_seconds, seen.duration_seconds)
    done = now / seen.duration_seconds if seen.duration_seconds else 1.0
    bar = ("#" * round(_BAR_WIDTH * done)).ljust(_BAR_WIDTH, ".")
    sample = seen.samples[-1] if seen.samples else None
    rate = sample.requests_per_second if sample else 0.0
    peak = max((entry.requests_per_second for entry in seen.samples), default=0.0)
    recent = seen.recent(now=at_seconds, seconds=RECENT_SECONDS)
    first = percentiles(outcome.time_to_first_token_seconds for outcome in recent).p95
    cadence = percentiles(outcome.inter_token_latency_seconds for outcome in recent).p95
    met = sum(seen.objectives.met_by(outcome) for outcome in seen.outcomes)
    attained = f"{100.0 * met / len(seen.outcomes):.1f} %" if seen.outcomes else "-"
    wanted, ready, starting = (sample.wanted, sample.ready, sample.starting) if sample else (0, 0, 0)
    return [
        f"load       {bar}  {rate:.1f} requests/s, peak {peak:.1f}"
        f"   {_clock(at_seconds)} of {_clock(seen.duration_seconds)}",
        f"replicas   wanted {wanted}  ready {ready}  starting {starting}   decision: {decision or 'none yet'}",
        f"first token p95 {_ms(first)}{_of(seen.objectives.time_to_first_token_seconds)}"
        f"   cadence p95 {_ms(cadence)}{_of(seen.objectives.inter_token_latency_seconds)}"
        f"   attainment {attained}   open {seen.in_flight}",
    ]


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"


def _of(threshold: float | None) -> str:
    return "" if threshold is None else f" of {1000 * threshold:.0f}"
