"""Requests sent to an engine in wall-clock time, and how far the laboratory's figures for the same requests are off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from inference_fleet.load.judgement import Outcome
from inference_fleet.load.replay import Progress, Target, replay
from inference_fleet.load.trace import Trace, TraceRequest
from inference_fleet.simulation.request_log import Arrivals

TIMEOUT_SECONDS = 600.0
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


async def replayed(arrivals: Arrivals, *, url: str, model: str) -> list[Outcome]:
    """What a caller saw of each request, in the order of arrival."""
    requests = tuple(TraceRequest(a.arrival_seconds, a.input_tokens, a.output_tokens) for a in arrivals)
    progress = Progress(total=len(requests))
    target = Target(base_urls=(url,), model=model, timeout_seconds=TIMEOUT_SECONDS)
    await replay(Trace("benchmark", requests), target, progress=progress)
    return sorted(progress.outcomes, key=lambda outcome: outcome.arrival_seconds)


def quantiles_compared(simulated: Iterable[float], measured: Iterable[float | None]) -> dict[str, Any]:
    """Quantiles of both in seconds, and how far the simulated one is off; None and NaN are left out."""
    ours, theirs = known(simulated), known(measured)
    return {
        name: compared(float(np.quantile(ours, share)), float(np.quantile(theirs, share))) for name, share in QUANTILES
    }


def compared(simulated: float, measured: float) -> dict[str, float | None]:
    """Two figures of one quantity, and the error of the first in percent; None by a quantity that is zero."""
    error = round(100 * (simulated - measured) / measured, 1) if measured else None
    return {"simulated": round(simulated, 4), "measured": round(measured, 4), "errorPercent": error}


def send_lag_seconds(outcomes: Sequence[Outcome]) -> float:
    """How late requests went out, 99 % quantile: the sender's own share of the error."""
    lags = [outcome.sent_seconds - outcome.arrival_seconds for outcome in outcomes]
    return round(float(np.quantile(lags, 0.99)), 4)


def known(values: Iterable[float | None]) -> list[float]:
    """Those that were measured."""
    return [value for value in values if value is not None and not math.isnan(value)]
