"""What a start without memories costs: how long until every scaler has learned the last half hour, and what waits.

    python benchmarks/restart.py [--deployments N] [--output FILE]

As in decide.py the operator's own parts read their queries from a server that answers as Prometheus does. Time is that
of the wall, since the share of the event loop that this work may have is: other work on the machine counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decide import REPLICAS, START, Pulse, made_by_an_operator, put
from fleet_pages import Labels, prometheus

from inference_fleet.adapters.prometheus import PrometheusSignals
from inference_fleet.controller.collector import collect_rarely
from inference_fleet.controller.refill import Refill
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.controller.tick import FleetTick
from inference_fleet.controller.work_queue import WorkQueue

PROJECT = Path(__file__).resolve().parents[1]
TICK_SECONDS = 15.0
# A scaler that went on from the past has learned from so many ticks at least.
LEARNED_TICKS = 60
MEBIBYTE_KIBIBYTES = 1024


@dataclass
class WallClock:
    """Clock port: time as it passes, from the moment that the objects' own times belong to."""

    _begun: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Unix seconds."""
        return START + self.monotonic()

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() - self._begun

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks" / "results" / "restart.json")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    collect_rarely()
    document = {
        "start": asyncio.run(start_of_fleet(options.deployments)),
        "python": sys.version,
        "cores": os.cpu_count(),
        "loadAverage": round(os.getloadavg()[0], 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


async def start_of_fleet(deployments: int) -> dict[str, Any]:
    """From the start, with everything seen and no memory read back, until no scaler waits any more."""
    patterns = [await made_by_an_operator(count) for count in REPLICAS]
    store = Store()
    pods: list[Labels] = []
    for number in range(deployments):
        pods += put(store, patterns[number % len(patterns)], name=f"model-{number}")
    clock = WallClock()
    with prometheus(pods, since=START - 3600.0) as url:
        signals = PrometheusSignals(url)
        tick = FleetTick(store, WorkQueue(clock, jitter=lambda: 0.5), signals, clock, Telemetry(), TICK_SECONDS)
        refill = Refill(store, tick, signals, clock)
        refill.begin()
        waited = len(tick.waiting)
        async with Pulse() as first:
            await tick.tick()
        first_tick, before = clock.monotonic(), _peak_mebibytes()
        live = asyncio.create_task(tick.run())
        cpu = time.process_time()
        async with Pulse() as pulse:
            await refill.run()
        done, cpu = clock.monotonic(), time.process_time() - cpu
        live.cancel()
        await asyncio.gather(live, return_exceptions=True)
        await signals.close()
    learned = [entry for entry in tick.scaled.values() if entry.memory.forecast.ticks >= LEARNED_TICKS]
    return {
        "deployments": deployments,
        "pods": len(pods),
        "waited": waited,
        "replayed": len(learned),
        "firstTickAfterSeconds": round(first_tick, 2),
        "replayedAfterSeconds": round(done, 1),
        "cpuSeconds": round(cpu, 1),
        "longestStallMilliseconds": {
            "firstTick": round(1e3 * first.wall_seconds, 1),
            "wall": round(1e3 * pulse.wall_seconds, 1),
            "cpu": round(1e3 * pulse.cpu_seconds, 1),
        },
        "peakMebibytes": {"afterFirstTick": round(before), "atTheEnd": round(_peak_mebibytes())},
    }


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE_KIBIBYTES


if __name__ == "__main__":
    raise SystemExit(main())
