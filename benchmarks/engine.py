"""What the engine's knowledge costs and covers: benchmarks/results/engine.json.

    python benchmarks/engine.py [--specs N] [--drawn FILE]

Measures a cold `inference-fleet render`, the check of N drawn specs on one core, and counts the flags of each release.
--drawn adds what tests/engine/test_drawn_specs.py wrote of a large sample (`make bench-engine` makes it first).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from builders.checkpoint_configs import checkpoint_facts  # noqa: E402 - beside the tests' builders
from builders.drawn_specs import ACCELERATORS, drawn_spec  # noqa: E402
from builders.intents import make_accelerator  # noqa: E402
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec  # noqa: E402
from inference_fleet.api.intent import variant_intents  # noqa: E402
from inference_fleet.api.parse import parse_inference_deployment  # noqa: E402
from inference_fleet.engine.check import check_variant  # noqa: E402
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions  # noqa: E402

RESULT = PROJECT / "benchmarks" / "results" / "engine.json"
SAMPLES = sorted((PROJECT / "manifests" / "samples").glob("*.yaml"))
RENDERS = 9


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, default=10_000)
    parser.add_argument("--drawn", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "coldRender": cold_render(),
        "check": check(options.specs),
        "flags": {version: shares(version) for version in known_versions()},
    }
    former = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    if options.drawn is not None:
        result["againstVllm"] = json.loads(options.drawn.read_text(encoding="utf-8"))
    elif "againstVllm" in former:
        result["againstVllm"] = former["againstVllm"]
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


def cold_render() -> dict[str, float]:
    """Seconds from the start of a process to the objects of one InferenceDeployment.

    With byte code on the disk, as every run of an installed package but the first has it, whatever this shell has set.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "samples.yaml"
        file.write_text("---\n".join(path.read_text(encoding="utf-8") for path in SAMPLES), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("inference-fleet")), "render", "-f", str(file)]
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        took, worked = [], []
        for _ in range(1 + RENDERS):
            began, used = time.monotonic(), children_seconds()
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            assert done.returncode == 0, done.stderr
            took.append(time.monotonic() - began)
            worked.append(children_seconds() - used)
    return {
        "medianSeconds": round(statistics.median(took[1:]), 3),
        "fastestSeconds": round(min(took[1:]), 3),
        "medianProcessorSeconds": round(statistics.median(worked[1:]), 3),
        "fastestProcessorSeconds": round(min(worked[1:]), 3),
        "goalSeconds": 0.5,
    }


def children_seconds() -> float:
    """Processor time of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def check(specs: int) -> dict[str, float]:
    """Specs as the API server hands them over, to a plan or refusals each."""
    accelerators = {name: make_accelerator(**spec) for name, spec in ACCELERATORS.items()}
    drawn = [drawn_spec(seed, version=known_versions()[-1]) for seed in range(specs)]
    objects = [
        {
            "model": {"huggingFace": {"repository": each.repository}},
            "engine": {"vllm": each.vllm},
            "variants": [{"name": "one", "acceleratorClassName": each.accelerator}],
        }
        for each in drawn
    ]
    accepted = 0
    began, used = time.monotonic(), time.process_time()
    for each, spec in zip(drawn, objects, strict=True):
        read = parse_inference_deployment({"spec": spec})
        if isinstance(read, InferenceDeploymentSpec):
            (intent,) = variant_intents(read, name="m")
            facts = checkpoint_facts(each.repository)
            result = check_variant(
                intent, accelerators[each.accelerator], accelerator_name=each.accelerator, shape=facts
            )
            accepted += result.plan is not None
    return {
        "specs": specs,
        "accepted": accepted,
        "seconds": round(time.monotonic() - began, 2),
        "processorSeconds": round(time.process_time() - used, 2),
        "goalSeconds": round(specs / 1000, 1),
    }


def shares(version: str) -> dict[str, int]:
    """How many flags have a field, are allowed in extraArgs, or are denied."""
    release = engine_version(version)
    assert isinstance(release, EngineVersion)
    return {"flags": len(release.flags), **Counter(flag.mark for flag in release.flags.values())}


if __name__ == "__main__":
    sys.exit(main())
