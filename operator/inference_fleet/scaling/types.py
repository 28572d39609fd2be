"""What the scaler is told and what it says: frozen values, in seconds, tokens and replicas.

Raw counter values go in, not rates: the scaler forms differences itself, per pod and with the samples' own times, so
that a restart, a vanished pod or a late scrape cannot pass for load.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from inference_fleet.engine.step_time import StepTimeModel

# The window of a promise that names none.
DAY_SECONDS: Final = 24 * 3600.0


class Mode(StrEnum):
    """Who decides how many replicas."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"
    EXTERNAL = "External"


class SignalState(StrEnum):
    """What is known: a value, proven zero, or nothing."""

    FRESH = "Fresh"
    IDLE = "Idle"
    UNKNOWN = "Unknown"


class Rule(StrEnum):
    """The rule that won."""

    FORECAST = "Forecast"
    BACKLOG = "Backlog"
    HOLD = "Hold"
    DOWN_RATE = "DownRate"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    SCHEDULE = "Schedule"
    SIGNALS_UNKNOWN = "SignalsUnknown"
    IDLE = "Idle"
    SATURATION = "Saturation"
    MANUAL = "Manual"
    EXTERNAL = "External"


@dataclass(frozen=True)
class PodSample:
    """One engine's counters and gauges at one scrape; None = not answered, NaN or negative.

    Counters (`*_tokens`, `*_requests`, `steps`, `inter_token_*`) are totals since the engine started.
    """

    pod: str
    sample_time: float | None
    running: float | None = None
    waiting: float | None = None
    kv_cache_usage: float | None = None
    kv_cache_tokens: float | None = None
    max_model_len: float | None = None
    prompt_tokens: float | None = None
    cached_prompt_tokens: float | None = None
    generation_tokens: float | None = None
    finished_requests: float | None = None
    rejected_requests: float | None = None
    failed_requests: float | None = None
    steps: float | None = None
    inter_token_sum_seconds: float | None = None
    inter_token_count: float | None = None

    @property
    def answered(self) -> bool:
        """Whether the sample can be believed: its time and its progress counters are there."""
        return (
            self.sample_time is not None
            and self.running is not None
            and self.waiting is not None
            and self.generation_tokens is not None
            and self.prompt_tokens is not None
            and self.finished_requests is not None
        )


class HistogramSample(NamedTuple):
    """One objective's histogram of one variant, as totals: requests at or below the judged edge, and all.

    Totals are over all engines there ever were: what one counted stays when it goes. since: when they began (unix
    seconds); those that began at another moment cannot be compared.
    """

    metric: str
    edge_seconds: float
    good: float
    total: float
    sample_time: float
    since: float = 0.0


@dataclass(frozen=True)
class VariantObservation:
    """What is seen of one variant. Counts are pods; `desired` is what its ReplicaSets ask for now.

    ready, starting, unschedulable (no node takes it) and failing (crashed again and again) do not overlap; pods that
    terminate are in none of them. unready_pods: those that are there and not ready, for the first time or again;
    unready_samples: what they say.
    """

    name: str
    desired: int
    ready: int
    starting: int = 0
    unschedulable: int = 0
    failing: int = 0
    terminating: int = 0
    ready_pods: tuple[str, ...] = ()
    pods: tuple[PodSample, ...] = ()
    unready_pods: tuple[str, ...] = ()
    unready_samples: tuple[PodSample, ...] = ()
    histograms: tuple[HistogramSample, ...] = ()
    cold_start_seconds: tuple[float, ...] = ()
    """Creation-to-Ready times of this variant's newest pods, oldest first."""


@dataclass(frozen=True)
class Observation:
    """What is seen of one InferenceDeployment. `problem`: why signals are missing as a whole, else None. `arrivals`:
    what a gateway before the engines has counted so far, where one is asked, and when (unix seconds). clocks: words on
    clocks that differ, which may be why pods are silent; empty if they do not.
    """

    variants: tuple[VariantObservation, ...]
    problem: str | None = None
    spec_replicas: int | None = None
    arrivals: tuple[float, float] | None = None
    clocks: str = ""


@dataclass(frozen=True)
class VariantLimits:
    """What one variant can carry and may have."""

    name: str
    min_replicas: int
    max_replicas: int
    max_num_seqs: int
    step_time: StepTimeModel
    kv_cache_tokens: int | None = None
    cost_per_replica_hour: float | None = None
    cold_start_seconds: float | None = None


class ObjectiveLimit(NamedTuple):
    """A promise: at least `target` (share of 1) of the requests of any `window_seconds` within `threshold_seconds`."""

    name: str
    metric: str
    threshold_seconds: float
    target: float
    window_seconds: float = DAY_SECONDS


@dataclass(frozen=True)
class ScheduleLimit:
    """Other bounds while it holds. `windows`: (start, end) in unix seconds, precomputed by the caller."""

    name: str
    windows: tuple[tuple[float, float], ...]
    min_replicas: int | None = None
    max_replicas: int | None = None


@dataclass(frozen=True)
class Limits:
    """The user's bounds and promises."""

    mode: Mode
    min_replicas: int
    max_replicas: int
    variants: tuple[VariantLimits, ...]
    objectives: tuple[ObjectiveLimit, ...] = ()
    schedules: tuple[ScheduleLimit, ...] = ()


class Term(NamedTuple):
    """One quantity that a decision rests on."""

    name: str
    value: float
    unit: str
    replicas: int | None = None
    sample_time: float | None = None


class Attainment(NamedTuple):
    """What of an objective was kept since `since` (unix seconds). target: share of 1 that must be kept."""

    objective: str
    target: float
    requests: float
    misses: float
    since: float
    window_seconds: float = DAY_SECONDS

    @property
    def share(self) -> float:
        """Share of the requests that kept it."""
        return 1 - self.misses / self.requests

    @property
    def budget_left(self) -> float:
        """Share of the misses it allows that is left; negative when more were missed."""
        return 1 - self.misses / (self.requests * (1 - self.target))


@dataclass(frozen=True)
class Decision:
    """How many replicas of each variant, and why.

    replicas: (variant, count), every variant once, in the spec's order. recommended: what the scaler would do in
    Automatic, whatever the mode. hold_until: when a pending scale-down may happen at the earliest.
    """

    time: float
    replicas: tuple[tuple[str, int], ...]
    recommended: int
    rule: Rule
    message: str
    signals: SignalState
    limited_by: tuple[str, ...] = ()
    terms: tuple[Term, ...] = ()
    scale_down_allowed_after: float | None = None
    unreachable: str = ""
    """Words on objectives that no number of replicas can keep; empty if all can be kept."""
    attainments: tuple[Attainment, ...] = ()
    problem: str = ""
    """Words on signals that are missing, of all pods or of some; empty if none is, or only of those just begun."""
    unjudged: str = ""
    """Words on objectives of which nobody says how many requests kept them; empty where all are judged."""
    exchange: str = ""
    """Words on replicas of one variant that take the place of another's, in the message too; empty if none do."""

    @property
    def total(self) -> int:
        """Replicas of all variants."""
        return sum(count for _, count in self.replicas)

    def of(self, variant: str) -> int:
        """Replicas of one variant; 0 if the decision does not know it."""
        return dict(self.replicas).get(variant, 0)
