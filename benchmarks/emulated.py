"""The simulated engine against the emulated one in wall-clock time: the same requests, the same step times.

    python benchmarks/emulated.py [--seconds S] [--rate R] [--output FILE]

An emulated engine serves over HTTP on this machine in real time; the laboratory runs the same requests in virtual
time. What differs is what the laboratory leaves out: HTTP, the processor, blocks of the cache.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from wall_clock import compared, quantiles_compared, replayed, send_lag_seconds

from inference_fleet.load.judgement import Fate, Objectives
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.request_log import RequestLog
from inference_fleet.simulation.scenario import LLAMA_8B_L4
from inference_fleet.simulation.synthetic import Shape, generate

PROJECT = Path(__file__).resolve().parents[1]
ENGINE = LLAMA_8B_L4
MODEL = "Qwen/Qwen3-8B"
FIRST_SECONDS, PACE_SECONDS = 2.5, 0.2
PROMISE = Objectives(time_to_first_token_seconds=FIRST_SECONDS, inter_token_latency_seconds=PACE_SECONDS)


def main() -> int:
    """Measure both and write the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", type=float, default=3.1, help="requests a second; a burst of twice as many amid")
    parser.add_argument("--output", type=Path, default=PROJECT / "benchmarks/results/emulated.json")
    options = parser.parse_args()
    burst = (options.seconds * 0.4, options.seconds * 0.6)
    shape = Shape(
        name="emulated",
        span_seconds=options.seconds,
        rate=lambda now: options.rate * (2.0 if burst[0] <= now < burst[1] else 1.0),
        noise=0.0,
        prompt_tokens=(700.0, 0.6),
        output_tokens=(120.0, 0.6),
    )
    workload = generate(shape, seed=0)
    log = RequestLog(workload.arrivals)
    fleet = Fleet([VariantModel(name="a", engine=ENGINE)], log, settings=FleetSettings(), start=[1], seed=0)
    fleet.advance(options.seconds + 3600.0)
    every = np.arange(len(log))
    first, pace = log.time_to_first_token(every), log.inter_token_latency(every)
    with _engine() as url:
        outcomes = asyncio.run(replayed(workload.arrivals, url=url, model=MODEL))
    document = {
        "requests": len(log),
        "failed": sum(outcome.fate is not Fate.COMPLETED for outcome in outcomes),
        "firstTokenSeconds": quantiles_compared(first, [each.time_to_first_token_seconds for each in outcomes]),
        "perTokenSeconds": quantiles_compared(
            pace[log.output_tokens > 1], [each.inter_token_latency_seconds for each in outcomes]
        ),
        "keptPercent": compared(
            100 * float(np.mean((first <= FIRST_SECONDS) & (pace <= PACE_SECONDS))),
            100 * float(np.mean([PROMISE.met_by(outcome) for outcome in outcomes])),
        ),
        "sendLagSecondsP99": send_lag_seconds(outcomes),
        "loadAverage": round(os.getloadavg()[0], 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


@contextlib.contextmanager
def _engine() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    step = ENGINE.step_time
    told = {
        "COLD_START_SECONDS": 0.1,
        "KV_CACHE_TOKENS": ENGINE.kv_cache_tokens,
        "STEP_BASE_SECONDS": step.base_seconds,
        "STEP_PER_PREFILL_TOKEN_SECONDS": step.per_prefill_token_seconds,
        "STEP_PER_DECODING_SEQUENCE_SECONDS": step.per_decoding_sequence_seconds,
    }
    command = ["vllm", "serve", MODEL, "--host", "127.0.0.1", "--port", str(port), "--no-enable-prefix-caching"]
    command += [
        "--max-num-batched-tokens",
        str(ENGINE.max_num_batched_tokens),
        "--max-num-seqs",
        str(ENGINE.max_num_seqs),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "inference_fleet.emulator", *command],
        env={**os.environ, **{f"INFERENCE_FLEET_EMULATOR_{name}": str(value) for name, value in told.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"{url}/health", timeout=1)
                break
            if process.poll() is not None:
                raise SystemExit(f"the emulated engine ended with status {process.returncode}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    raise SystemExit(main())
