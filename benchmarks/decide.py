"""What scaling costs the operator: processor time of one decision, and of a whole tick for 1,000 deployments.

    python benchmarks/decide.py [--deployments N] [--ticks N] [--output FILE]

A tick here is the operator's own: its queries over HTTP to a server that answers as Prometheus does, its store with
the objects that an operator made in a cluster in memory, its decisions. Times are of the processor, so other work on
the machine counts little; the longest stall is between two turns of the event loop, by the clock on the wall and by the
processor time that this process took meanwhile, its other threads included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_pages import GAUGES, KV_CACHE_TOKENS, PER_SECOND, PROMISED_SECONDS, Labels, prometheus, share_within

from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.prometheus import PrometheusSignals
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, CHILDREN, INFERENCE_DEPLOYMENTS, PODS
from inference_fleet.api.names import LABEL_VARIANT
from inference_fleet.controller.collector import collect_rarely
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.controller.tick import FleetTick
from inference_fleet.controller.work_queue import WorkQueue
from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import (
    HistogramSample,
    Limits,
    Mode,
    ObjectiveLimit,
    Observation,
    PodSample,
    VariantLimits,
    VariantObservation,
)

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from builders.operator_world import world  # noqa: E402 - beside the tests' builders

GOAL_DECIDE_MILLISECONDS = 0.3
GOAL_TICK_CPU_SECONDS = 1.0
TICK_SECONDS = 15.0
START = 1_800_000_000.0
# Pods of the deployment that is decided on.
FLEETS = (2, 5, 10)
# Replicas of the tick's deployments, in turn.
REPLICAS = (2, 3)
# The scaler's windows are full after three hours.
LEARNED_TICKS = 800
MEASURED_TICKS = 40
REPEATS = 25
# A tick's first decisions have nothing to compare with.
WARM_TICKS = 4
START_SECONDS = 600.0


def main() -> int:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--ticks", type=int, default=12)
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks/results/decide.json")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    # As the operator does when it starts.
    collect_rarely()
    document = {
        "decide": {f"{pods} pods": decision_milliseconds(pods) for pods in FLEETS},
        "goalDecideMilliseconds": GOAL_DECIDE_MILLISECONDS,
        "tick": asyncio.run(tick_of_fleet(options.deployments, ticks=options.ticks)),
        "goalTickCpuSeconds": GOAL_TICK_CPU_SECONDS,
        # How it was built makes a fifth.
        "python": sys.version,
        "cores": os.cpu_count(),
        "loadAverage": round(os.getloadavg()[0], 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


def decision_milliseconds(pods: int) -> dict[str, float]:
    """Processor time of one decision of a scaler that has run for hours: a minute's mean, over repeats."""
    limits, observations = scripted(pods, ticks=LEARNED_TICKS + MEASURED_TICKS)
    memory = ScalerMemory.empty()
    for now, observation in observations[:LEARNED_TICKS]:
        _, memory = decide(memory, observation, limits, now)
    means = []
    for _ in range(REPEATS):
        known = memory
        begun = time.process_time()
        for now, observation in observations[LEARNED_TICKS:]:
            _, known = decide(known, observation, limits, now)
        means.append(1e3 * (time.process_time() - begun) / MEASURED_TICKS)
    return {"minMilliseconds": round(min(means), 3), "medianMilliseconds": round(statistics.median(means), 3)}


def scripted(pods: int, *, ticks: int) -> tuple[Limits, list[tuple[float, Observation]]]:
    """A seeded load on so many pods: what the scaler would observe at every tick."""
    variant = VariantLimits(
        "a",
        min_replicas=0,
        max_replicas=64,
        max_num_seqs=64,
        step_time=DEFAULT_STEP_TIME,
        kv_cache_tokens=KV_CACHE_TOKENS,
        cold_start_seconds=120.0,
    )
    objectives = tuple(ObjectiveLimit(name, name, seconds, 0.99) for name, seconds in PROMISED_SECONDS.items())
    limits = Limits(mode=Mode.AUTOMATIC, min_replicas=1, max_replicas=64, variants=(variant,), objectives=objectives)
    chance = random.Random(1)
    names = tuple(f"a-{place}" for place in range(pods))
    counters = {name: dict.fromkeys(PER_SECOND, 0.0) for name in names}
    observations = []
    for tick in range(ticks):
        now = START + TICK_SECONDS * tick
        load = chance.uniform(0.7, 1.3)
        for said in counters.values():
            for signal, rate in PER_SECOND.items():
                said[signal] += rate * TICK_SECONDS * load * chance.uniform(0.9, 1.1)
        samples = tuple(
            PodSample(
                pod=name,
                sample_time=now - 5.0,
                running=round(GAUGES["running"] * load),
                waiting=0.0,
                kv_cache_usage=GAUGES["kv_cache_usage"],
                kv_cache_tokens=float(KV_CACHE_TOKENS),
                **counters[name],
            )
            for name in names
        )
        finished = sum(said["finished_requests"] for said in counters.values())
        histograms = tuple(
            HistogramSample(metric, edge, good=finished * share_within(metric, edge), total=finished, sample_time=now)
            for metric, edge in PROMISED_SECONDS.items()
        )
        seen = VariantObservation("a", desired=pods, ready=pods, ready_pods=names, pods=samples, histograms=histograms)
        observations.append((now, Observation(variants=(seen,))))
    return limits, observations


@dataclass
class SteppedClock:
    """Clock port that goes 15 s a tick, over the running event loop."""

    time: float = START

    def now(self) -> float:
        """Unix seconds."""
        return self.time

    def monotonic(self) -> float:
        """Seconds."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Give way."""
        await asyncio.sleep(0)


@dataclass
class Pulse:
    """Turns the event loop as often as it can; the longest time between two turns is a stall."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    _task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def __aenter__(self) -> Pulse:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _beat(self) -> None:
        pause = 0.001
        while True:
            wall, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(pause)
            self.wall_seconds = max(self.wall_seconds, time.perf_counter() - wall - pause)
            self.cpu_seconds = max(self.cpu_seconds, time.process_time() - cpu)


async def tick_of_fleet(deployments: int, *, ticks: int) -> dict[str, Any]:
    """Processor time and longest stall of the operator's tick, once it runs."""
    patterns = [await made_by_an_operator(count) for count in REPLICAS]
    store = Store()
    pods: list[Labels] = []
    for number in range(deployments):
        pods += put(store, patterns[number % len(patterns)], name=f"model-{number}")
    clock = SteppedClock()
    with prometheus(pods, since=START - 3600.0) as url:
        signals = PrometheusSignals(url)
        telemetry, queue = Telemetry(), WorkQueue(clock, jitter=lambda: 0.5)
        tick = FleetTick(store, queue, signals, clock, telemetry, TICK_SECONDS)
        taken = []
        for number in range(WARM_TICKS + ticks):
            clock.time += TICK_SECONDS
            async with Pulse() as pulse:
                begun = time.process_time()
                await tick.tick()
                cpu = time.process_time() - begun
            if number >= WARM_TICKS:
                taken.append((cpu, pulse.wall_seconds, pulse.cpu_seconds))
        await signals.close()
    states = [entry.decision.signals.value for entry in tick.scaled.values()]
    if set(states) != {"Fresh"}:
        raise SystemExit("Prometheus did not answer in time: the machine is too busy for this measurement")
    cpu, wall, stall = (list(column) for column in zip(*taken, strict=True))
    return {
        "deployments": deployments,
        "pods": len(pods),
        "signals": {state: states.count(state) for state in sorted(set(states))},
        "cpuSeconds": {"min": round(min(cpu), 3), "median": round(statistics.median(cpu), 3)},
        "longestStallMilliseconds": {
            "wallMin": round(1e3 * min(wall), 1),
            "wallMedian": round(1e3 * statistics.median(wall), 1),
            "cpuMin": round(1e3 * min(stall), 1),
            "cpuMedian": round(1e3 * statistics.median(stall), 1),
        },
    }


Kinds = Sequence[tuple[Resource, Object]]


async def made_by_an_operator(replicas: int) -> Kinds:
    """The objects of one deployment that runs, as an operator, a ReplicaSet controller and a kubelet leave them."""
    objectives = [
        {
            "name": metric.lower(),
            "metric": metric,
            "thresholdMilliseconds": round(1000 * seconds),
            "targetPercent": "99",
        }
        for metric, seconds in PROMISED_SECONDS.items()
    ]
    async with world() as w:
        w.deploy(objectives=objectives, scaling={"mode": "Automatic", "minReplicas": replicas, "maxReplicas": 6})
        async with w.running():
            await w.clock.advance(START_SECONDS)
            assert len(w.pods.ready()) == replicas
        kinds = (ACCELERATOR_CLASSES, INFERENCE_DEPLOYMENTS, *CHILDREN)
        return [(kind, obj) for kind in kinds for obj in w.cluster.all(kind)]


def put(store: Store, pattern: Kinds, *, name: str) -> list[Labels]:
    """The pattern under another name into the store; returns its pods as Prometheus knows them."""
    found: list[Labels] = []
    for kind, obj in pattern:
        text = json.dumps(obj)
        if kind is not ACCELERATOR_CLASSES:
            text = text.replace("llama", name).replace('"uid-', f'"{name}-uid-')
        copy = json.loads(text)
        store.put(kind, copy)
        if kind is PODS:
            metadata = copy["metadata"]
            found.append(
                {
                    "namespace": metadata["namespace"],
                    "pod": metadata["name"],
                    "inference_deployment": name,
                    "inference_variant": metadata["labels"][LABEL_VARIANT],
                }
            )
    return found


if __name__ == "__main__":
    raise SystemExit(main())
