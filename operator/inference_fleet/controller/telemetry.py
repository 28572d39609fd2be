"""The operator's own metrics: controller-runtime's names for queue and reconcile, ours for what it decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from inference_fleet.controller.work_queue import Key, WorkQueue

CONTROLLER: Final = "inferencedeployment"
# controller-runtime's edges of its reconcile and queue histograms, thinned out.
_RECONCILE_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_QUEUE_SECONDS: Final = (0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)
_OBJECT: Final = ("namespace", "inference_deployment")
_VARIANT: Final = (*_OBJECT, "inference_variant")

Sample = tuple[tuple[str, ...], float]


class Telemetry:
    """One registry of our own, so that several operators can live in one process (tests)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "controller_runtime_reconcile_total",
            "Reconciles by result.",
            ["controller", "result"],
            registry=self.registry,
        )
        self.reconcile_errors = Counter(
            "controller_runtime_reconcile_errors_total",
            "Reconciles that failed.",
            ["controller"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "controller_runtime_reconcile_time_seconds",
            "Time one reconcile took.",
            ["controller"],
            buckets=_RECONCILE_SECONDS,
            registry=self.registry,
        )
        self.workers = Gauge(
            "controller_runtime_max_concurrent_reconciles",
            "Reconciles that may run at once.",
            ["controller"],
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "workqueue_queue_duration_seconds",
            "Time a key waited before it was worked on.",
            ["name"],
            buckets=_QUEUE_SECONDS,
            registry=self.registry,
        )
        self.work_seconds = Histogram(
            "workqueue_work_duration_seconds",
            "Time the work on a key took.",
            ["name"],
            buckets=_RECONCILE_SECONDS,
            registry=self.registry,
        )
        self.calls = Counter(
            "rest_client_requests_total",
            "Calls to the API server by HTTP method and the answer's code.",
            ["code", "method"],
            registry=self.registry,
        )
        self.leads = Gauge(
            "leader_election_master_status", "1 while this process holds the Lease.", ["name"], registry=self.registry
        )
        self.decisions = Counter(
            "inference_fleet_scaling_decisions_total",
            "Decisions that changed the replicas of a variant, by the rule that won.",
            [*_OBJECT, "rule"],
            registry=self.registry,
        )
        self.writes = Counter(
            "inference_fleet_writes_total", "Writes to the API server.", ["kind", "verb"], registry=self.registry
        )
        self.resync_corrections = Counter(
            "inference_fleet_resync_corrections_total",
            "Objects whose view a resync found to be wrong: what the watches lost.",
            registry=self.registry,
        )
        self.ticks = Counter(
            "inference_fleet_ticks_total", "Looks at Prometheus, by result.", ["result"], registry=self.registry
        )

        # A series that begins with its first error shows no increase of it.
        self.reconcile_errors.labels(CONTROLLER)
        for result in ("success", "requeue", "requeue_after", "error"):
            self.reconciles.labels(CONTROLLER, result)

    def watch_queue(self, queue: WorkQueue) -> None:
        """Show the queue's state whenever the page is read."""
        self.registry.register(_Family(lambda: queue_metrics(queue)))

    def watch_fleet(self, read: Callable[[], Iterable[Metric]]) -> None:
        """Show what `read` says of every object whenever the page is read: what is gone is not shown any more."""
        self.registry.register(_Family(read))

    def answered(self, method: str, code: str) -> None:
        """The API server answered a call of ours, or did not."""
        self.calls.labels(code, method).inc()

    def forget(self, key: Key) -> None:
        """An object is gone."""
        for labels in [labels for labels in _labels_of(self.decisions) if labels[:2] == key]:
            self.decisions.remove(*labels)

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)


def object_gauge(name: str, help_text: str, samples: Iterable[Sample], *, extra: tuple[str, ...] = ()) -> Metric:
    """One value per InferenceDeployment (and `extra` labels)."""
    return _gauge(name, help_text, (*_OBJECT, *extra), samples)


def variant_gauge(name: str, help_text: str, samples: Iterable[Sample]) -> Metric:
    """One value per variant."""
    return _gauge(name, help_text, _VARIANT, samples)


def _gauge(name: str, help_text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


class _Family(Collector):
    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()

    def describe(self) -> Iterable[Metric]:
        # Names are not known before the first read; the registry then checks nothing.
        return ()


def queue_metrics(queue: WorkQueue) -> Iterable[Metric]:
    """client-go's families of a work queue, read from it now."""
    gauges = (
        ("workqueue_depth", "Keys that wait.", float(len(queue))),
        ("workqueue_unfinished_work_seconds", "Seconds of work under way, summed.", queue.unfinished_seconds),
        ("workqueue_longest_running_processor_seconds", "Age of the longest work.", queue.longest_running_seconds),
    )
    for name, help_text, value in gauges:
        yield _gauge(name, help_text, ("name",), [((CONTROLLER,), value)])
    counters = (
        ("workqueue_adds", "Keys added.", queue.adds),
        ("workqueue_retries", "Keys added after a failure.", queue.retries),
    )
    for name, help_text, count in counters:
        family = CounterMetricFamily(name, help_text, labels=("name",))
        family.add_metric((CONTROLLER,), float(count))
        yield family


def _labels_of(counter: Counter) -> list[tuple[str, ...]]:
    found = set()
    for metric in counter.collect():
        for sample in metric.samples:
            found.add((sample.labels["namespace"], sample.labels["inference_deployment"], sample.labels["rule"]))
    return list(found)
