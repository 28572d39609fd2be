"""The engine's `/metrics` page: vLLM's families (0.32 and 0.33 agree) kept by a scheduler's outcomes.

Names, types, labels and buckets are vLLM's, held by tests against recorded pages; the help texts are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Values
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    Summary,
    generate_latest,
)

from inference_fleet.emulator.scheduler import Rejection, Scheduler, StepOutcome
from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.engine.metrics import metric_families

# Edges as vLLM 0.32/0.33 set them (v1/metrics/loggers.py; recorded pages agree), of what no scaling reads.
PARAMS_N = (1, 2, 5, 10, 20)
PREEMPTIONS = (1, 2, 3, 4, 5, 10, 20)
# Our own: how late a step's tokens left, and how much longer than modelled a finished request took.
STEP_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
OVERRUN_RATIO = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)

_HTTP_SECONDS_FINE = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0,
)  # fmt: skip
_HTTP_SECONDS_COARSE = (0.1, 0.5, 1.0)


def token_buckets(max_model_len: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50, ... up to the model's length: 512 -> (1, 2, 5, 10, 20, 50, 100, 200, 500)."""
    edges: list[int] = []
    decade = 1
    while True:
        for mantissa in (1, 2, 5):
            if mantissa * decade > max_model_len:
                return tuple(edges)
            edges.append(mantissa * decade)
        decade *= 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PageShape:
    """What decides which families the page has and which constant labels they carry."""

    # Minor release, `0.33`.
    minor: str
    model_name: str
    max_model_len: int
    # Labels of vllm:cache_config_info without `engine`.
    cache_config: Mapping[str, str]
    # 0 = no speculative decoding, and no family of it.
    num_speculative_tokens: int = 0
    # None = no LoRA, and no vllm:lora_requests_info.
    max_loras: int | None = None


class Telemetry:
    """Counters, gauges and histograms of one engine."""

    def __init__(self, shape: PageShape) -> None:
        self.registry = CollectorRegistry()
        GCCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        self._labels = {"model_name": shape.model_name, "engine": "0"}
        self._shape = shape
        self._declare_speculation()
        self._declare_counters()
        self._declare_gauges()
        self._declare_histograms()
        self._declare_http()
        self.step_lag = Histogram(
            "inference_fleet_emulator_step_lag_seconds",
            "How late a step's tokens left, against the step model.",
            buckets=STEP_LAG_SECONDS,
            registry=self.registry,
        )
        self.overrun = Histogram(
            "inference_fleet_emulator_request_overrun_ratio",
            "Real over modelled time of a finished request's computation, minus 1.",
            buckets=OVERRUN_RATIO,
            registry=self.registry,
        )
        self._preemptions_seen = 0

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)

    # --- what happened ------------------------------------------------------------------------------------------

    def on_step(self, outcome: StepOutcome, scheduler: Scheduler, *, now: float, lag_seconds: float) -> None:
        """Book one step whose tokens leave at `now`; call it before `on_finished` of the sequences it ended."""
        prompt_tokens = 0
        new_tokens = 0
        for emission in outcome.emissions:
            sequence = emission.sequence
            new_tokens += emission.tokens
            if sequence.first_token_at is None:
                prompt_tokens += sequence.prompt_tokens
                sequence.first_token_at = now
                self.time_to_first_token.observe(now - sequence.arrived_at)
            else:
                assert sequence.last_token_at is not None
                self.inter_token_latency.observe(now - sequence.last_token_at)
            sequence.last_token_at = now
        if prompt_tokens:
            self.prompt_tokens.inc(prompt_tokens)
            self.prompt_tokens_computed.inc(prompt_tokens)
            self.prefix_cache_queries.inc(prompt_tokens)
        if outcome.emissions:
            self.generation_tokens.inc(new_tokens)
            self.iteration_tokens.observe(prompt_tokens + new_tokens)
        if outcome.drafts:
            self.drafts.inc(outcome.drafts)
            self.draft_tokens.inc(outcome.draft_tokens)
            self.accepted_tokens.inc(sum(outcome.accepted_per_position))
            for counter, accepted in zip(self.accepted_per_position, outcome.accepted_per_position, strict=True):
                counter.inc(accepted)
        self.step_lag.observe(max(0.0, lag_seconds))
        self.set_gauges(scheduler)

    def on_finished(self, sequence: Sequence) -> None:
        """Book a sequence that ended by itself or was aborted."""
        assert sequence.finished is not None
        self.request_success[sequence.finished].inc()
        if sequence.first_token_at is None or sequence.finished in (FinishReason.ABORT, FinishReason.ERROR):
            return
        assert sequence.scheduled_at is not None
        assert sequence.last_token_at is not None
        first, last = sequence.first_token_at, sequence.last_token_at
        decode_seconds = last - first
        self.e2e_latency.observe(last - sequence.arrived_at)
        self.queue_time.observe(sequence.scheduled_at - sequence.arrived_at)
        self.prefill_time.observe(max(0.0, first - sequence.scheduled_at))
        self.decode_time.observe(decode_seconds)
        self.inference_time.observe(max(0.0, last - sequence.scheduled_at))
        self.time_per_output_token.observe(
            decode_seconds / (sequence.output_tokens - 1) if sequence.output_tokens > 1 else 0.0
        )
        self.request_prompt_tokens.observe(sequence.prompt_tokens)
        self.request_generation_tokens.observe(sequence.output_tokens)
        self.request_prefill_computed.observe(sequence.prompt_tokens)
        self.request_max_generation.observe(sequence.output_tokens)
        self.request_params_n.observe(sequence.requested_n)
        if sequence.requested_tokens is not None:
            self.request_params_max_tokens.observe(sequence.requested_tokens)
        self.request_preemptions.observe(sequence.preemptions)

    def on_rejected(self, reason: Rejection) -> None:
        self.admission_rejections[reason].inc()

    def set_gauges(self, scheduler: Scheduler) -> None:
        self.num_running.set(len(scheduler.running))
        self.num_waiting.set(len(scheduler.waiting))
        self.num_waiting_capacity.set(len(scheduler.waiting))
        self.kv_cache_usage.set(scheduler.kv_cache_usage)
        if scheduler.preemptions > self._preemptions_seen:
            self.num_preemptions.inc(scheduler.preemptions - self._preemptions_seen)
            self._preemptions_seen = scheduler.preemptions

    def on_http(self, *, handler: str, method: str, status: int, seconds: float, request_bytes: int) -> None:
        """Book an answered HTTP request, as prometheus-fastapi-instrumentator does."""
        self._http_requests.labels(handler=handler, method=method, status=f"{status // 100}xx").inc()
        self._http_request_bytes.labels(handler=handler).observe(request_bytes)
        self._http_response_bytes.labels(handler=handler).observe(0)
        self._http_seconds_fine.observe(seconds)
        self._http_seconds_coarse.labels(handler=handler, method=method).observe(seconds)

    # --- the families -------------------------------------------------------------------------------------------

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, list(self._labels), registry=self.registry).labels(**self._labels)

    def _counters(self, name: str, text: str, label: str, values: Iterable[str]) -> dict[str, Counter]:
        family = Counter(name, text, [*self._labels, label], registry=self.registry)
        return {value: family.labels(**self._labels, **{label: value}) for value in values}

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, list(self._labels), registry=self.registry).labels(**self._labels)

    def _histogram(self, name: str, text: str, buckets: Values[float]) -> Histogram:
        return Histogram(name, text, list(self._labels), buckets=buckets, registry=self.registry).labels(**self._labels)

    def _known(self, name: str, text: str) -> Histogram:
        """With the edges that the scaler judges by: both are read from one table."""
        return self._histogram(name, text, metric_families(self._shape.minor)[name].buckets)

    def _declare_speculation(self) -> None:
        positions = [str(position) for position in range(self._shape.num_speculative_tokens)]
        if not positions:
            return
        self.drafts = self._counter("vllm:spec_decode_num_drafts", "Drafts made.")
        self.draft_tokens = self._counter("vllm:spec_decode_num_draft_tokens", "Tokens drafted.")
        self.accepted_tokens = self._counter("vllm:spec_decode_num_accepted_tokens", "Drafted tokens accepted.")
        self.accepted_per_position = tuple(
            self._counters(
                "vllm:spec_decode_num_accepted_tokens_per_pos", "Accepted by draft position.", "position", positions
            ).values()
        )

    def _declare_counters(self) -> None:
        for quantity in ("flops", "read_bytes", "write_bytes"):
            self._counter(f"vllm:estimated_{quantity}_per_gpu", "Always 0: nothing is really computed.")
        self.prefix_cache_queries = self._counter("vllm:prefix_cache_queries", "Prompt tokens looked up.")
        self._counter("vllm:prefix_cache_hits", "Always 0: the emulator keeps no prefixes.")
        self._counter("vllm:external_prefix_cache_queries", "Always 0.")
        self._counter("vllm:external_prefix_cache_hits", "Always 0.")
        self._counter("vllm:mm_cache_queries", "Always 0.")
        self._counter("vllm:mm_cache_hits", "Always 0.")
        self.num_preemptions = self._counter("vllm:num_preemptions", "Sequences thrown back into the queue.")
        self.prompt_tokens = self._counter("vllm:prompt_tokens", "Prompt tokens of requests past their prefill.")
        self.prompt_tokens_computed = self._counters(
            "vllm:prompt_tokens_by_source",
            "Prompt tokens by where their keys and values came from.",
            "source",
            ("local_compute", "local_cache_hit", "external_kv_transfer"),
        )["local_compute"]
        self._counter("vllm:prompt_tokens_cached", "Always 0.")
        self._counters(
            "vllm:prompt_tokens_cached_by_source",
            "Always 0.",
            "source",
            ("device", "host", "p2p", "disk", "external_unspecified"),
        )
        self.generation_tokens = self._counter("vllm:generation_tokens", "Tokens written.")
        self.request_success = self._counters(
            "vllm:request_success", "Ended requests by reason.", "finished_reason", [r.value for r in FinishReason]
        )
        rejections = Counter(
            "vllm:admission_rejections",
            "Requests turned away by a limit of the queue.",
            ["model_name", "reason"],
            registry=self.registry,
        )
        self.admission_rejections = {
            reason: rejections.labels(model_name=self._shape.model_name, reason=reason.value) for reason in Rejection
        }

    def _declare_gauges(self) -> None:
        self.num_running = self._gauge("vllm:num_requests_running", "Requests in the batch.")
        self.num_waiting = self._gauge("vllm:num_requests_waiting", "Requests in the queue.")
        waiting = Gauge(
            "vllm:num_requests_waiting_by_reason",
            "Requests in the queue by what they wait for.",
            [*self._labels, "reason"],
            registry=self.registry,
        )
        self.num_waiting_capacity = waiting.labels(**self._labels, reason="capacity")
        waiting.labels(**self._labels, reason="deferred")
        sleep = Gauge(
            "vllm:engine_sleep_state",
            "1 for the state it is in.",
            [*self._labels, "sleep_state"],
            registry=self.registry,
        )
        for state in ("awake", "weights_offloaded", "discard_all"):
            sleep.labels(**self._labels, sleep_state=state).set(1 if state == "awake" else 0)
        self.kv_cache_usage = self._gauge("vllm:kv_cache_usage_perc", "Share of the cache in use, 0 to 1.")
        cache_labels = {"engine": "0", **self._shape.cache_config}
        Gauge("vllm:cache_config_info", "Settings of the cache.", list(cache_labels), registry=self.registry).labels(
            **cache_labels
        ).set(1)
        if self._shape.max_loras is not None:
            lora_labels = {
                "max_lora": str(self._shape.max_loras),
                "waiting_lora_adapters": "",
                "running_lora_adapters": "",
            }
            Gauge("vllm:lora_requests_info", "Adapters in use.", list(lora_labels), registry=self.registry).labels(
                **lora_labels
            ).set_to_current_time()

    def _declare_histograms(self) -> None:
        lengths = token_buckets(self._shape.max_model_len)
        self.request_prompt_tokens = self._histogram("vllm:request_prompt_tokens", "Prompt length.", lengths)
        self.request_generation_tokens = self._histogram("vllm:request_generation_tokens", "Output length.", lengths)
        self.iteration_tokens = self._known("vllm:iteration_tokens_total", "Tokens of a step.")
        self.request_max_generation = self._histogram(
            "vllm:request_max_num_generation_tokens", "Longest output of a request's sequences.", lengths
        )
        self.request_params_n = self._histogram("vllm:request_params_n", "The parameter n.", PARAMS_N)
        self.request_params_max_tokens = self._histogram(
            "vllm:request_params_max_tokens", "The parameter max_tokens.", lengths
        )
        self.time_to_first_token = self._known("vllm:time_to_first_token_seconds", "From arrival to the first token.")
        self.inter_token_latency = self._known("vllm:inter_token_latency_seconds", "Between two deliveries.")
        self.time_per_output_token = self._known("vllm:request_time_per_output_token_seconds", "A request's mean.")
        self.e2e_latency = self._known("vllm:e2e_request_latency_seconds", "From arrival to the end.")
        self.queue_time = self._known("vllm:request_queue_time_seconds", "From arrival to the batch.")
        self.inference_time = self._known("vllm:request_inference_time_seconds", "In the batch.")
        self.prefill_time = self._known("vllm:request_prefill_time_seconds", "Batch to first token.")
        self.decode_time = self._known("vllm:request_decode_time_seconds", "First to last token.")
        self.request_preemptions = self._histogram("vllm:request_num_preemptions", "Preemptions.", PREEMPTIONS)
        self.request_prefill_computed = self._histogram(
            "vllm:request_prefill_kv_computed_tokens", "Prompt tokens computed.", lengths
        )

    def _declare_http(self) -> None:
        registry = self.registry
        self._http_requests = Counter(
            "http_requests", "Requests answered.", ["handler", "status", "method"], registry=registry
        )
        self._http_request_bytes = Summary("http_request_size_bytes", "Request bodies.", ["handler"], registry=registry)
        self._http_response_bytes = Summary("http_response_size_bytes", "Not kept.", ["handler"], registry=registry)
        self._http_seconds_fine = Histogram(
            "http_request_duration_highr_seconds", "Of all handlers.", buckets=_HTTP_SECONDS_FINE, registry=registry
        )
        self._http_seconds_coarse = Histogram(
            "http_request_duration_seconds",
            "By handler.",
            ["handler", "method"],
            buckets=_HTTP_SECONDS_COARSE,
            registry=registry,
        )
