"""What vLLM's `/metrics` says: families, labels and bucket edges of each release, as scaling and monitoring read them.

Source: recorded pages of 0.32 and 0.33 (tests hold this file to them) and v1/metrics/loggers.py. Every release known
here agrees on these families; one that does not gets a table of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

# `model_name` is the first served name, `engine` the data-parallel rank.
ENGINE_LABELS = ("model_name", "engine")

# The time since the last token of the same request, per token; and per finished request, its mean.
_PER_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_FIRST_TOKEN_SECONDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
)  # fmt: skip
_REQUEST_SECONDS = (
    0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
)  # fmt: skip
_STEP_TOKENS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFamily:
    """One family by the name of its samples, without the suffixes of a histogram.

    labels: without `le`. buckets: upper edges without +Inf, in the unit of the name; empty unless a histogram.
    closed: label -> all values it can take, where the engine exports each from its first scrape.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...] = ENGINE_LABELS
    buckets: tuple[float, ...] = ()
    closed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def metric_families(minor: str) -> Mapping[str, MetricFamily]:
    """The families by name that every server of this minor release exports, whatever its settings."""
    return _FAMILIES if minor in _MINORS else MappingProxyType({})


def speculative_families(minor: str) -> Mapping[str, MetricFamily]:
    """Those that appear only with speculative decoding."""
    return _SPECULATIVE if minor in _MINORS else MappingProxyType({})


@cache
def thresholds_seconds(metric: Literal["TimeToFirstToken", "InterTokenLatency"]) -> tuple[float, ...]:
    """The thresholds at which an objective can be judged without interpolation, ascending."""
    name = OBJECTIVE_FAMILIES[metric]
    return _FAMILIES[name].buckets


# Asked for every tick, the same for days.
@lru_cache(maxsize=4096)
def judged_edge_seconds(metric: str, threshold_seconds: float) -> float:
    """The bucket edge an objective is judged at: the largest that is not above its threshold, else the smallest."""
    edges = thresholds_seconds(metric)
    below = [edge for edge in edges if edge <= threshold_seconds * (1 + 1e-9)]
    return float(below[-1] if below else edges[0])


def next_edge_seconds(metric: str, threshold_seconds: float) -> float | None:
    """The smallest bucket edge above a threshold; None beyond the last."""
    return next((float(edge) for edge in thresholds_seconds(metric) if edge > threshold_seconds * (1 + 1e-9)), None)


# The histogram on which an objective of each kind is judged.
OBJECTIVE_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "TimeToFirstToken": "vllm:time_to_first_token_seconds",
        "InterTokenLatency": "vllm:request_time_per_output_token_seconds",
    }
)


def _gauge(name: str, **closed: tuple[str, ...]) -> MetricFamily:
    labels = (*ENGINE_LABELS, *closed)
    return MetricFamily(name=f"vllm:{name}", kind="gauge", labels=labels, closed=MappingProxyType(closed))


def _counter(name: str, **closed: tuple[str, ...]) -> MetricFamily:
    labels = (*ENGINE_LABELS, *closed)
    return MetricFamily(name=f"vllm:{name}_total", kind="counter", labels=labels, closed=MappingProxyType(closed))


def _histogram(name: str, buckets: tuple[float, ...]) -> MetricFamily:
    return MetricFamily(name=f"vllm:{name}", kind="histogram", buckets=buckets)


def _by_name(*families: MetricFamily) -> Mapping[str, MetricFamily]:
    return MappingProxyType({family.name: family for family in families})


_MINORS = ("0.32", "0.33")
_FAMILIES = _by_name(
    _gauge("num_requests_running"),
    _gauge("num_requests_waiting"),
    _gauge("num_requests_waiting_by_reason", reason=("capacity", "deferred")),
    _gauge("kv_cache_usage_perc"),
    _gauge("engine_sleep_state", sleep_state=("awake", "weights_offloaded", "discard_all")),
    _counter("prompt_tokens"),
    _counter("prompt_tokens_cached"),
    _counter("prompt_tokens_by_source", source=("local_compute", "local_cache_hit", "external_kv_transfer")),
    _counter("generation_tokens"),
    _counter("prefix_cache_queries"),
    _counter("prefix_cache_hits"),
    _counter("num_preemptions"),
    _counter("request_success", finished_reason=("stop", "length", "abort", "error", "repetition")),
    # Rejections are counted in front of the engines: no `engine`.
    MetricFamily(
        name="vllm:admission_rejections_total",
        kind="counter",
        labels=("model_name", "reason"),
        closed=MappingProxyType({"reason": ("max_num_queued_reqs", "max_num_queued_tokens")}),
    ),
    _histogram("time_to_first_token_seconds", _FIRST_TOKEN_SECONDS),
    _histogram("inter_token_latency_seconds", _PER_TOKEN_SECONDS),
    _histogram("request_time_per_output_token_seconds", _PER_TOKEN_SECONDS),
    _histogram("e2e_request_latency_seconds", _REQUEST_SECONDS),
    _histogram("request_queue_time_seconds", _REQUEST_SECONDS),
    _histogram("request_inference_time_seconds", _REQUEST_SECONDS),
    _histogram("request_prefill_time_seconds", _REQUEST_SECONDS),
    _histogram("request_decode_time_seconds", _REQUEST_SECONDS),
    # A histogram, whatever its name says: tokens of each step; its count is the number of steps.
    _histogram("iteration_tokens_total", _STEP_TOKENS),
)
_SPECULATIVE = _by_name(
    _counter("spec_decode_num_drafts"),
    _counter("spec_decode_num_draft_tokens"),
    _counter("spec_decode_num_accepted_tokens"),
)
