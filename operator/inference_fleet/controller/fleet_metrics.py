"""What the operator says of every InferenceDeployment on /metrics: read from store and tick when the page is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS
from inference_fleet.api.quantity import parse_quantity
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Sample, object_gauge, variant_gauge
from inference_fleet.controller.tick import FleetTick
from inference_fleet.controller.work_queue import Key
from inference_fleet.engine.metrics import judged_edge_seconds
from inference_fleet.scaling.types import ObjectiveLimit


def fleet_metrics(store: Store, tick: FleetTick, *, now: float) -> Iterable[Metric]:
    """All families. `now`: unix seconds, for the age of signals."""
    yield from _replicas(tick)
    yield object_gauge(
        "inference_fleet_signal_age_seconds",
        "Age of the oldest sample that a decision rests on.",
        _ages(tick, now),
        extra=("signal",),
    )
    yield object_gauge(
        "inference_fleet_objective_target_ratio",
        "Share of requests that must meet the objective.",
        _targets(tick),
        extra=("objective", "metric", "le"),
    )
    yield object_gauge(
        "inference_fleet_forecast_error_ratio",
        "By how much the scaler's forecasts of the last three hours were off: 0.25 is a quarter up or down.",
        _forecast_errors(tick),
    )
    yield object_gauge(
        "inference_fleet_replay_pending",
        "1 while no replica is taken away because the scaler, which started without a recent memory, has yet to go"
        " through the last half hour.",
        ((key, 1.0) for key in tick.waiting),
    )
    deployments = {key: store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1]) for key in store.deployments()}
    statuses = {key: (obj or {}).get("status") or {} for key, obj in deployments.items()}
    yield object_gauge(
        "inference_fleet_condition",
        "1 for the status that a condition has.",
        (sample for key, status in statuses.items() for sample in _conditions(key, status)),
        extra=("type", "status"),
    )
    yield object_gauge(
        "inference_fleet_cost_per_hour",
        "What the pods that exist cost.",
        (sample for key, status in statuses.items() for sample in _cost(key, status)),
        extra=("currency",),
    )


def _replicas(tick: FleetTick) -> Iterator[Metric]:
    desired: list[Sample] = []
    ready: list[Sample] = []
    starting: list[Sample] = []
    terminating: list[Sample] = []
    for key, entry in tick.scaled.items():
        for name, count in entry.decision.replicas:
            desired.append(((*key, name), count))
        for variant in entry.observation.variants:
            labels = (*key, variant.name)
            ready.append((labels, variant.ready))
            starting.append((labels, variant.starting))
            terminating.append((labels, variant.terminating))
    yield variant_gauge("inference_fleet_desired_replicas", "Replicas the last decision wants.", desired)
    yield variant_gauge("inference_fleet_ready_replicas", "Replicas that serve.", ready)
    yield variant_gauge("inference_fleet_starting_replicas", "Replicas on their way.", starting)
    yield variant_gauge("inference_fleet_terminating_replicas", "Pods that drain.", terminating)


def _ages(tick: FleetTick, now: float) -> Iterator[Sample]:
    for key, entry in tick.scaled.items():
        samples = [sample for variant in entry.observation.variants for sample in variant.pods]
        times = [sample.sample_time for sample in samples if sample.sample_time is not None]
        if times:
            yield (*key, "requests"), max(0.0, now - min(times))


def _targets(tick: FleetTick) -> Iterator[Sample]:
    for key, entry in tick.scaled.items():
        for objective in entry.limits.objectives:
            yield (*key, objective.name, objective.metric, judged_edge(objective)), objective.target


def _forecast_errors(tick: FleetTick) -> Iterator[Sample]:
    for key, entry in tick.scaled.items():
        ratio = entry.memory.forecast.error_ratio
        if ratio is not None:
            yield key, ratio


def judged_edge(objective: ObjectiveLimit) -> str:
    """The label `le` an objective is judged at."""
    # As the engines print it: 1.0, not 1.
    return repr(judged_edge_seconds(objective.metric, objective.threshold_seconds))


def _conditions(key: Key, status: Mapping[str, Any]) -> Iterator[Sample]:
    for condition in status.get("conditions") or ():
        yield (*key, str(condition.get("type")), str(condition.get("status"))), 1.0


def _cost(key: Key, status: Mapping[str, Any]) -> Iterator[Sample]:
    cost = status.get("cost") or {}
    if "perHour" in cost:
        yield (*key, str(cost.get("currency", ""))), float(parse_quantity(str(cost["perHour"])))
