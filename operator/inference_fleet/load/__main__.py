"""`python -m inference_fleet.load`: replay a trace against engines and write what happens as JSON lines.

Lines: `{"kind":"progress", ...}` about twice a second, one `{"kind":"outcome", ...}` a request, and at the end
`{"kind":"summary", ...}`. Ctrl-C or SIGTERM ends the open requests, writes the summary and leaves with 130.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from inference_fleet.load.conversations import ConversationLoad, conversation_trace
from inference_fleet.load.judgement import Objectives, Outcome, summarise
from inference_fleet.load.replay import Progress, Target, replay
from inference_fleet.load.trace import Trace, TraceRefusal, read_part

_EXIT_FAILED = 1
_EXIT_USAGE = 64
_EXIT_INTERRUPTED = 130
_PROGRESS_SECONDS = 0.5
_DEFAULT_DURATION_SECONDS = 240.0


def main(argv: Sequence[str]) -> int:
    """Run one replay; returns the exit status."""
    arguments = _parser().parse_args(argv)
    trace = chosen_trace(
        arguments.trace,
        duration_seconds=arguments.duration,
        start_seconds=arguments.start,
        rate_scale=arguments.rate_scale,
        seed=arguments.seed,
        base_rate=arguments.base_rate,
        peak_rate=arguments.peak_rate,
    )
    if isinstance(trace, TraceRefusal):
        print(f"error: {trace}", file=sys.stderr)
        return _EXIT_FAILED
    target = Target(base_urls=tuple(arguments.url), model=arguments.model, timeout_seconds=arguments.timeout)
    objectives = Objectives(
        time_to_first_token_seconds=arguments.time_to_first_token,
        inter_token_latency_seconds=arguments.inter_token_latency,
    )
    return asyncio.run(_replay(trace, target, objectives))


def chosen_trace(
    path: Path | None,
    *,
    duration_seconds: float | None,
    start_seconds: float,
    rate_scale: float,
    seed: int,
    base_rate: float,
    peak_rate: float,
) -> Trace | TraceRefusal:
    """The trace of a file, or the built-in load of a seed.

    `start_seconds` and `duration_seconds` are wall-clock seconds of the replay: the file is made denser first.
    """
    if path is None:
        load = ConversationLoad(
            duration_seconds=duration_seconds or _DEFAULT_DURATION_SECONDS,
            base_requests_per_second=base_rate * rate_scale,
            peak_requests_per_second=peak_rate * rate_scale,
        )
        return conversation_trace(load, seed=seed)
    return read_part(path, rate_scale=rate_scale, start_seconds=start_seconds, duration_seconds=duration_seconds)


async def _replay(trace: Trace, target: Target, objectives: Objectives) -> int:
    progress = Progress(total=len(trace.requests))
    running = asyncio.create_task(replay(trace, target, progress=progress, on_outcome=_write_outcome))
    loop = asyncio.get_running_loop()
    interrupted = False

    def stop() -> None:
        nonlocal interrupted
        interrupted = True
        running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    while not running.done():
        _write("progress", total=progress.total, sent=progress.sent, inFlight=progress.in_flight)
        await asyncio.wait((running,), timeout=_PROGRESS_SECONDS)
    with contextlib.suppress(asyncio.CancelledError):
        await running
    _write("summary", **dataclasses.asdict(summarise(progress.outcomes, objectives)))
    return _EXIT_INTERRUPTED if interrupted else 0


def _write_outcome(outcome: Outcome) -> None:
    _write("outcome", **dataclasses.asdict(outcome))


def _write(kind: str, **fields: object) -> None:
    print(json.dumps({"kind": kind, **fields}), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m inference_fleet.load", description=__doc__, allow_abbrev=False)
    parser.add_argument("--url", action="append", required=True, help="base URL; several are taken in turn")
    parser.add_argument("--model", required=True, help="the served model's name")
    parser.add_argument("--trace", type=Path, help="CSV arrival_s,input_tokens,output_tokens (.gz too)")
    parser.add_argument("--duration", type=_positive, help="seconds of load")
    parser.add_argument("--start", type=float, default=0.0, help="where in the trace to begin, seconds")
    parser.add_argument("--rate-scale", type=_positive, default=1.0, help="how many times as dense")
    parser.add_argument("--seed", type=int, default=0, help="of the built-in load")
    parser.add_argument("--base-rate", type=_positive, default=1.0, help="requests per second of the built-in load")
    parser.add_argument("--peak-rate", type=_positive, default=10.0, help="requests per second at its peak")
    parser.add_argument("--timeout", type=_positive, default=120.0, help="seconds for one request")
    parser.add_argument("--time-to-first-token", type=float, help="objective in seconds")
    parser.add_argument("--inter-token-latency", type=float, help="objective in seconds")
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be more than 0, and finite")
    return number


class _Parser(argparse.ArgumentParser):
    def exit(self, status: int = 0, message: str | None = None) -> None:  # type: ignore[override]
        super().exit(_EXIT_USAGE if status == 2 else status, message)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
