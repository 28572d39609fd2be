"""What the scaler remembers: frozen, bounded, serialisable, and empty is valid."""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, field, replace
from typing import Any, Final

from inference_fleet.scaling.attainment import ObjectiveHours
from inference_fleet.scaling.codec import decoded, encoded
from inference_fleet.scaling.demand import Rates, Traffic
from inference_fleet.scaling.felt_load import NOTHING_FELT, FeltLoad
from inference_fleet.scaling.forecast import FEATURES, MAXIMUM_ERRORS, MAXIMUM_PENDING, TIME_CONSTANTS_SECONDS, Forecast
from inference_fleet.scaling.hold import MAXIMUM_NEEDS
from inference_fleet.scaling.misses import HistogramTotals
from inference_fleet.scaling.overload import Overload
from inference_fleet.scaling.pod_counters import PodCounters
from inference_fleet.scaling.preference import Preference
from inference_fleet.scaling.price import Budget
from inference_fleet.scaling.rise import Rise
from inference_fleet.scaling.season import MAXIMUM_SURPRISES, MAXIMUM_TOLD, Season
from inference_fleet.scaling.standby import HOLDS_COLD_STARTS, LEVELS, Standby
from inference_fleet.scaling.step_time_fit import StepTimeFit
from inference_fleet.scaling.violation_curve import BINS, ViolationCurve
from inference_fleet.scaling.worst_window import NO_WINDOW, WorstWindow

MAXIMUM_BYTES: Final = 64 * 1024
SCHEMA_VERSION: Final = "inference-fleet/scaler-memory/v2"
# Written by releases that learned cold starts alone.
FORMER_VERSION: Final = "inference-fleet/scaler-memory/v1"


@dataclass(frozen=True)
class VariantMemory:
    """What was learned of one variant."""

    cold_start_seconds: tuple[float, ...] = ()
    fit: StepTimeFit = field(default_factory=StepTimeFit)


NOTHING_LEARNED: Final = VariantMemory()


@dataclass(frozen=True)
class ScalerMemory:
    """Everything carried from one decision to the next.

    started: when this memory began (its windows are not yet full before). needs: (time, replicas of the main variant)
    of past ticks with known signals, for the hold. seen_at: the last such tick; learned_at: the last one learned from.
    idle_since: since when idleness is proved. last_down: time of the last step down. The rest is learned; each class
    says what it is.
    """

    started: float | None = None
    needs: tuple[tuple[float, float], ...] = ()
    idle_since: float | None = None
    unknown_since: float | None = None
    last_down: float | None = None
    seen_at: float | None = None
    learned_at: float | None = None
    pods: tuple[tuple[str, PodCounters], ...] = ()
    histograms: HistogramTotals = ()
    attained: tuple[ObjectiveHours, ...] = ()
    variants: tuple[tuple[str, VariantMemory], ...] = ()
    rates: Rates | None = None
    traffic: Traffic = field(default_factory=Traffic)
    forecast: Forecast = field(default_factory=Forecast)
    curve: ViolationCurve = field(default_factory=ViolationCurve)
    overload: Overload = field(default_factory=Overload)
    rise: Rise = field(default_factory=Rise)
    budget: Budget = field(default_factory=Budget)
    worst_window: WorstWindow = NO_WINDOW
    standby: Standby = field(default_factory=Standby)
    season: Season = field(default_factory=Season)
    felt: FeltLoad = NOTHING_FELT
    preference: Preference = field(default_factory=Preference)

    @classmethod
    def empty(cls) -> ScalerMemory:
        """Knows nothing."""
        return cls()

    def variant(self, name: str) -> VariantMemory:
        """What was learned of this variant; empty if nothing."""
        return dict(self.variants).get(name, NOTHING_LEARNED)

    def to_json(self) -> str:
        """As text of at most 64 KiB. Counters of pods are left out first: they only cost one difference."""
        text = _text(self)
        if len(text.encode()) > MAXIMUM_BYTES:
            text = _text(replace(self, pods=()))
        return text

    @classmethod
    def from_json(cls, text: str) -> ScalerMemory | None:
        """The memory back from its text; None if it is damaged or of an unknown version."""
        try:
            data = json.loads(text)
            if data["schemaVersion"] == FORMER_VERSION:
                return _former(data)
            if data["schemaVersion"] != SCHEMA_VERSION:
                return None
            memory = decoded(cls, data["memory"])
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return None
        return memory if _sound(memory) else None


def _text(memory: ScalerMemory) -> str:
    data = {"schemaVersion": SCHEMA_VERSION, "memory": encoded(memory)}
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def _sound(memory: ScalerMemory) -> bool:
    """Whether every series has its length, and nothing that must not be is negative."""
    forecast, curve = memory.forecast, memory.curve
    return (
        len(memory.needs) <= MAXIMUM_NEEDS
        and all(count >= 0 for _, count in memory.needs)
        and len(forecast.errors.errors) <= MAXIMUM_ERRORS
        and len(forecast.pending) <= MAXIMUM_PENDING
        and all(len(entry.features) == FEATURES for entry in forecast.pending)
        and len(forecast.averages) == len(forecast.shares) == len(TIME_CONSTANTS_SECONDS)
        and all(value > 0 for value in (*forecast.averages, *forecast.shares) if forecast.ticks)
        and len(forecast.weights) == FEATURES
        and len(forecast.covariance) == FEATURES * FEATURES
        and len(curve.requests) == len(curve.misses) == BINS
        and min(*curve.requests, *curve.misses) >= 0
        and min(*astuple(memory.worst_window), *memory.felt) >= 0
        and len(memory.standby.levels) <= len(LEVELS)
        and all(len(level.costs) == len(HOLDS_COLD_STARTS) for level in memory.standby.levels)
        and len(memory.season.surprises) <= MAXIMUM_SURPRISES
        and len(memory.season.told) <= MAXIMUM_TOLD
        and all(one.replicas > 0 for one in memory.season.surprises)
        and all(0 <= hour.misses <= hour.requests for entry in memory.attained for hour in entry.hours)
    )


def _former(data: dict[str, Any]) -> ScalerMemory:
    """What of the former schema still holds: since when, the hold, and cold starts."""
    return ScalerMemory(
        started=decoded(ScalerMemory, {"started": data["started"]}).started,
        needs=decoded(ScalerMemory, {"needs": data["needs"]}).needs[-MAXIMUM_NEEDS:],
        variants=tuple(
            (str(name), decoded(VariantMemory, {"cold_start_seconds": starts})) for name, starts in data["variants"]
        ),
    )
