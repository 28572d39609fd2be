"""NVIDIA Dynamo's planner, throughput-based, for engines that prefill and decode: predicted load by an engine's best.

Sources: https://github.com/ai-dynamo/dynamo, docs/design-docs/planner-design.md and components/src/dynamo/planner:
core/throughput_scaling.py (replicas = ceil(predicted requests a second / an engine's)), core/perf_model/agg.py (the
engine's: the largest batch whose step and first token keep both promises, by Little's law), core/load/predictors.py
(Kalman filter with a local linear trend) and config/defaults.py (every 180 s; filter noise 1, 0.1 and 10).
Two liberties: their default predictor is an automatic ARIMA from a package of its own, here it is their Kalman filter,
meant for bursts; and the engine's step time, which theirs regresses from profiles, is the one that all rules are told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.types import Limits
from inference_fleet.simulation.observe import METRIC_FIRST, METRIC_PACE, RouterTotals, Sight
from inference_fleet.simulation.policies.policy import PolicyKind, clamped

INTERVAL_SECONDS: Final = 180.0
LEVEL_NOISE: Final = 1.0
TREND_NOISE: Final = 0.1
MEASUREMENT_NOISE: Final = 10.0
FIRST_VARIANCE: Final = 1000.0
# What one step of the simulated engines computes at most.
BATCH_TOKENS: Final = 2048
# A cache of unknown size bounds nothing.
UNBOUNDED_TOKENS: Final = 10**9


class LocalTrend:
    """A Kalman filter on level and trend, one value in and the next one out."""

    def __init__(self) -> None:
        self._level, self._trend = 0.0, 0.0
        self._known = False
        # Covariance of level and trend: (p00, p01, p11).
        self._p = (FIRST_VARIANCE, 0.0, FIRST_VARIANCE)

    def predicted(self, value: float) -> float:
        """Take a value in; the next one as foreseen."""
        if not self._known:
            if value == 0:
                return 0.0  # leading zeros are before any traffic
            self._level, self._known = value, True
        else:
            p00, p01, p11 = self._p
            gain_level, gain_trend = p00 / (p00 + MEASUREMENT_NOISE), p01 / (p00 + MEASUREMENT_NOISE)
            error = value - self._level
            self._level += gain_level * error
            self._trend += gain_trend * error
            self._p = ((1 - gain_level) * p00, (1 - gain_level) * p01, p11 - gain_trend * p01)
        p00, p01, p11 = self._p
        self._p = (p00 + 2 * p01 + p11 + LEVEL_NOISE, p01 + p11, p11 + TREND_NOISE)
        self._level += self._trend
        return self._level


def engine_rate(
    step_time: StepTimeModel,
    *,
    prompt_tokens: float,
    output_tokens: float,
    first_seconds: float,
    pace_seconds: float,
    sequences: int,
    cache_tokens: float,
    batch_tokens: int = BATCH_TOKENS,
) -> float:
    """Requests a second that one engine carries within both promises: batch / (output tokens x seconds of a step).

    The batch is bounded by the cache, the engine's limit and the balance of prefill and decode, x <= O B / (I + O).
    """
    context = prompt_tokens + output_tokens / 2
    bound = min(sequences, max(1, int(cache_tokens / max(1.0, context))), batch_tokens - 1)
    bound = max(1, min(bound, int(output_tokens * batch_tokens / (prompt_tokens + output_tokens))))
    rate = 0.0
    for batch in range(1, bound + 1):
        prefill = min(batch * prompt_tokens / max(1.0, output_tokens), batch_tokens)
        seconds = step_time.step_seconds(prefill_tokens=prefill, decoding_sequences=batch)
        ahead, first = prefill + prompt_tokens, 0.0
        while ahead > 0:
            first += step_time.step_seconds(prefill_tokens=min(ahead, batch_tokens), decoding_sequences=batch)
            ahead -= batch_tokens
        if batch > 1 and (seconds > pace_seconds or first > first_seconds):
            break
        rate = batch / (max(1.0, output_tokens) * seconds)
    return rate


class ThroughputPlanner:
    """Every interval: the next one's requests and lengths foreseen, by what an engine carries."""

    def __init__(self, limits: Limits, *, interval_seconds: float, share: float) -> None:
        self._limits = limits
        self._interval = interval_seconds
        self._share = share
        self._filters = (LocalTrend(), LocalTrend(), LocalTrend())
        self._before = (0.0, RouterTotals(0, 0, 0, 0, 0))
        self._wish: int | None = None

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """One tick; most of them repeat the last interval's wish."""
        first, *others = sight.observation.variants
        time, totals = sight.scrape.time, sight.scrape.router
        if time - self._before[0] >= self._interval:
            self._wish = self._planned(time, totals)
            self._before = (time, totals)
        wish = first.desired if self._wish is None else self._wish
        return (clamped(wish, self._limits), *(0 for _ in others))

    def _planned(self, time: float, totals: RouterTotals) -> int | None:
        then, before = self._before
        arrived, finished = totals.arrived - before.arrived, totals.finished - before.finished
        if not finished or not arrived:
            return self._limits.min_replicas if totals.arrived == totals.finished else self._wish
        seen = (
            arrived * self._interval / (time - then),
            (totals.arrived_tokens - before.arrived_tokens) / arrived,
            (totals.written_tokens - before.written_tokens) / finished,
        )
        requests, prompt, output = (
            max(floor, each.predicted(value))
            for each, value, floor in zip(self._filters, seen, (0.0, 1.0, 1.0), strict=True)
        )
        variant = self._limits.variants[0]
        rate = engine_rate(
            variant.step_time,
            prompt_tokens=prompt,
            output_tokens=output,
            first_seconds=self._promise(METRIC_FIRST),
            pace_seconds=self._promise(METRIC_PACE),
            sequences=variant.max_num_seqs,
            cache_tokens=variant.kv_cache_tokens or UNBOUNDED_TOKENS,
        )
        return math.ceil(round(requests / self._interval / (rate * self._share), 9))

    def _promise(self, metric: str) -> float:
        return min((o.threshold_seconds for o in self._limits.objectives if o.metric == metric), default=math.inf)


def _build(limits: Limits, parameters: Mapping[str, float]) -> ThroughputPlanner:
    return ThroughputPlanner(limits, interval_seconds=parameters["intervalSeconds"], share=parameters["share"])


DYNAMO_PLANNER = PolicyKind(
    name="dynamo-planner",
    source="NVIDIA Dynamo, throughput-based planner",
    # share: of the engine's rate that is used; 1 as shipped, less when tuned.
    defaults={"intervalSeconds": INTERVAL_SECONDS, "share": 1.0},
    build=_build,
    grid=tuple(
        {"intervalSeconds": interval, "share": share}
        for interval, share in ((180, 1.0), (180, 0.75), (60, 1.0), (60, 0.75), (60, 0.55), (60, 0.4), (60, 0.25))
    ),
)
