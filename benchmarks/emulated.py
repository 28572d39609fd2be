"""The simulated engine against the emulated one in wall-clock time: the same requests, the same step times.

    python benchmarks/emulated.py [--seconds S] [--rate R] [--output FILE]

An emulated engine serves over HTTP on this machine in real time, a separate process sends; the laboratory then runs the
same requests in virtual time. What differs is what the laboratory leaves out: HTTP, the processor, blocks of the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.request_log import RequestLog
from inference_fleet.simulation.scenario import LLAMA_8B_L4
from inference_fleet.simulation.synthetic import Shape, generate

PROJECT = Path(__file__).resolve().parents[1]
ENGINE = LLAMA_8B_L4
MODEL = "Qwen/Qwen3-8B"
FIRST_SECONDS, PACE_SECONDS = 2.5, 0.2


def main() -> int:
    """Measure both and write the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", type=float, default=2.2, help="requests a second; a burst of twice as many amid")
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
    simulated = (log.time_to_first_token(every), log.inter_token_latency(every), log.output_tokens > 1)
    outcomes = _emulated(workload.arrivals)
    lags = [outcome["sent_seconds"] - outcome["arrival_seconds"] for outcome in outcomes]
    first = [outcome["time_to_first_token_seconds"] for outcome in outcomes]
    pace = [outcome["inter_token_latency_seconds"] for outcome in outcomes]
    document = {
        "requests": len(log),
        "failed": sum(1 for value in first if value is None),
        "firstTokenSeconds": _compared(simulated[0].tolist(), first),
        "perTokenSeconds": _compared(
            simulated[1][simulated[2]].tolist(), [value for value in pace if value is not None]
        ),
        "keptPercent": {
            "simulated": _kept(simulated[0].tolist(), simulated[1].tolist()),
            "emulated": _kept(first, [0.0 if value is None else value for value in pace]),
        },
        "medianErrorOfOneRequestPercent": round(
            statistics.median(
                100 * abs(a - b) / b for a, b in zip(simulated[0].tolist(), first, strict=True) if b is not None
            ),
            1,
        ),
        "sendLagSecondsP99": round(float(np.quantile(lags, 0.99)), 4),
        "loadAverage": round(os.getloadavg()[0], 1),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    return 0


def _emulated(arrivals: Any) -> list[dict[str, Any]]:
    """What a caller saw, in the order of arrival."""
    with tempfile.TemporaryDirectory() as folder, _engine() as url:
        trace = Path(folder) / "trace.csv"
        rows = "".join(f"{a.arrival_seconds!r},{a.input_tokens},{a.output_tokens}\n" for a in arrivals)
        trace.write_text("arrival_s,input_tokens,output_tokens\n" + rows, encoding="utf-8")
        command = [sys.executable, "-m", "inference_fleet.load", "--url", url, "--model", MODEL, "--trace", str(trace)]
        done = subprocess.run([*command, "--timeout", "600"], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted((line for line in lines if line["kind"] == "outcome"), key=lambda line: line["arrival_seconds"])


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


def _compared(simulated: Sequence[float], emulated: Sequence[float | None]) -> dict[str, Any]:
    """Quantiles of both, and how far the simulated one is off."""
    known = [value for value in emulated if value is not None]
    found = {}
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        one, other = float(np.quantile(simulated, share)), float(np.quantile(known, share))
        found[name] = {
            "simulated": round(one, 4),
            "emulated": round(other, 4),
            "errorPercent": round(100 * (one - other) / other, 1),
        }
    return found


def _kept(first: Sequence[float | None], pace: Sequence[float]) -> float:
    good = [a is not None and a <= FIRST_SECONDS and b <= PACE_SECONDS for a, b in zip(first, pace, strict=True)]
    return round(100 * sum(good) / len(good), 2)


if __name__ == "__main__":
    raise SystemExit(main())
