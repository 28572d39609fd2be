"""What became of each request, and what that says about the whole."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Fate(enum.StrEnum):
    COMPLETED = "completed"
    # No valid answer began: refused, unreachable, timed out, or an error before the first token.
    FAILED = "failed"
    # An answer began and did not come to its end.
    CUT = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request as its caller saw it. Times are seconds; `None` where there was nothing to measure."""

    arrival_seconds: float
    # When it was really sent, after the replay's start.
    sent_seconds: float
    ended_seconds: float
    fate: Fate
    time_to_first_token_seconds: float | None = None
    # (last token - first token) / (tokens - 1); None for a single token.
    inter_token_latency_seconds: float | None = None
    output_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Thresholds that a request must meet, in seconds."""

    time_to_first_token_seconds: float | None = None
    inter_token_latency_seconds: float | None = None

    def met_by(self, outcome: Outcome) -> bool:
        """A failed or cut request misses; a single token has no cadence to miss."""
        if outcome.fate is not Fate.COMPLETED:
            return False
        return _within(outcome.time_to_first_token_seconds, self.time_to_first_token_seconds) and _within(
            outcome.inter_token_latency_seconds, self.inter_token_latency_seconds
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Of completed requests, seconds; None without any."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A replay in numbers. `attainment_percent` is of all sent requests; None if none was sent."""

    sent: int
    completed: int
    failed: int
    cut: int
    attainment_percent: float | None
    time_to_first_token_seconds: Percentiles
    inter_token_latency_seconds: Percentiles
    # How late the replay itself sent: a large value makes the replay, not the fleet, the thing measured.
    send_lag_seconds: Percentiles


def summarise(outcomes: Sequence[Outcome], objectives: Objectives) -> Summary:
    """Judge a replay."""
    by_fate = {fate: [o for o in outcomes if o.fate is fate] for fate in Fate}
    completed = by_fate[Fate.COMPLETED]
    met = sum(objectives.met_by(outcome) for outcome in outcomes)
    return Summary(
        sent=len(outcomes),
        completed=len(completed),
        failed=len(by_fate[Fate.FAILED]),
        cut=len(by_fate[Fate.CUT]),
        attainment_percent=100.0 * met / len(outcomes) if outcomes else None,
        time_to_first_token_seconds=percentiles(o.time_to_first_token_seconds for o in completed),
        inter_token_latency_seconds=percentiles(o.inter_token_latency_seconds for o in completed),
        send_lag_seconds=percentiles(o.sent_seconds - o.arrival_seconds for o in outcomes),
    )


def percentiles(values: Iterable[float | None]) -> Percentiles:
    """Nearest-rank percentiles of those that are not None."""
    ordered = sorted(value for value in values if value is not None)
    return Percentiles(p50=_rank(ordered, 0.50), p95=_rank(ordered, 0.95), p99=_rank(ordered, 0.99))


def _rank(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _within(value: float | None, threshold: float | None) -> bool:
    return value is None or threshold is None or value <= threshold
