"""Processor time of one simulated day of four million requests under the operator's scaler, after compilation.

python benchmarks/simulator.py [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from inference_fleet.simulation.fleet import VariantModel
from inference_fleet.simulation.policies.own import OWN
from inference_fleet.simulation.policies.static import STATIC
from inference_fleet.simulation.run import simulate
from inference_fleet.simulation.scenario import LLAMA_8B_A100, Scenario, objectives_of
from inference_fleet.simulation.synthetic import DAY, Shape, day_cycle, generate

PROJECT = Path(__file__).resolve().parents[1]
# 46.3 requests a second on average.
SHAPE = Shape(name="four-million", span_seconds=DAY, rate=day_cycle(10.0, 82.6), noise=0.15)
GOAL_SECONDS = 15.0


def main() -> int:
    """Measure once and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks/results/simulator.json")
    options = parser.parse_args()
    begun = time.process_time()
    workload = generate(SHAPE, seed=0)
    generated = time.process_time() - begun
    scenario = Scenario(
        workload=workload,
        variants=(VariantModel(name="a", engine=LLAMA_8B_A100),),
        objectives=objectives_of(first_seconds=1.0, pace_seconds=0.075, target=0.99),
    )
    # The loop is compiled once per machine; this loads it.
    simulate(
        Scenario(
            workload=generate(Shape(name="warm", span_seconds=60.0, rate=lambda _: 1.0), seed=0),
            variants=scenario.variants,
            objectives=scenario.objectives,
        ),
        STATIC,
    )
    runs = {kind.name: simulate(scenario, kind) for kind in (STATIC, OWN)}
    document = {
        "requests": len(workload.arrivals),
        "generateCpuSeconds": round(generated, 2),
        "cpuSeconds": {name: round(run.cpu_seconds, 2) for name, run in runs.items()},
        "goalCpuSeconds": GOAL_SECONDS,
        "meanReplicas": {name: round(run.outcome.mean_replicas, 2) for name, run in runs.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
