"""A demonstration from curtain to curtain: set the stage, send the load, watch, and wait until it is quiet again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from inference_fleet.cli.demonstration.load_process import LoadFailed, run_load
from inference_fleet.cli.demonstration.observation import Observations
from inference_fleet.cli.demonstration.screen import Screen
from inference_fleet.cli.demonstration.stage import NAME, Stage, StageFailed
from inference_fleet.cli.demonstration.summary import FEWEST_PEAK_REPLICAS, summarize
from inference_fleet.cli.demonstration.watcher import decision_line, devices_per_replica, take_object
from inference_fleet.load.conversations import ConversationLoad, conversation_trace
from inference_fleet.load.judgement import Objectives
from inference_fleet.load.trace import Trace, TraceRefusal, read_part, write_trace

# One emulated replica at this pace finishes about two requests a second: the peak is more than three times that.
BASE_REQUESTS_PER_SECOND: Final = 1.0
PEAK_REQUESTS_PER_SECOND: Final = 6.5
DEFAULT_DURATION_SECONDS: Final = 220.0
# A tiny model on processor cores: enough to see tokens flow.
REAL_BASE_REQUESTS_PER_SECOND: Final = 0.4
REAL_PEAK_REQUESTS_PER_SECOND: Final = 4.0
REAL_DURATION_SECONDS: Final = 110.0
_READY_WITHIN_SECONDS: Final = {"emulated": 150.0, "vllm": 300.0}
# Three cold starts held, then some steps down; all of them would make the demonstration too long.
_QUIET_WITHIN_SECONDS: Final = {"emulated": 80.0, "vllm": 330.0}
_WATCH_SECONDS: Final = 1.0
_RATE_WINDOW_SECONDS: Final = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says."""

    engine: str
    trace: Path | None
    duration_seconds: float | None
    start_seconds: float
    rate_scale: float
    seed: int
    folder: Path
    """For the trace; removed afterwards by whoever made it."""


def chosen_trace(options: Options) -> Trace | TraceRefusal:
    """The load: a file's, or the built-in conversations."""
    if options.trace is not None:
        return read_part(
            options.trace,
            rate_scale=options.rate_scale,
            start_seconds=options.start_seconds,
            duration_seconds=options.duration_seconds,
        )
    emulated = options.engine == "emulated"
    default = DEFAULT_DURATION_SECONDS if emulated else REAL_DURATION_SECONDS
    base = BASE_REQUESTS_PER_SECOND if emulated else REAL_BASE_REQUESTS_PER_SECOND
    peak = PEAK_REQUESTS_PER_SECOND if emulated else REAL_PEAK_REQUESTS_PER_SECOND
    load = ConversationLoad(
        duration_seconds=options.duration_seconds or default,
        base_requests_per_second=base * options.rate_scale,
        peak_requests_per_second=peak * options.rate_scale,
        # The fall begins early, so that there is time to see the fleet come down again.
        quiet_share=0.05,
        rise_share=0.45,
        peak_share=0.15,
        fall_share=0.10,
        answer_tokens=80 if emulated else 60,
    )
    return conversation_trace(load, seed=options.seed)


def perform(options: Options, trace: Trace, *, console: Console) -> tuple[Observations, dict[str, Any]]:
    """Run it all. Raises StageFailed and LoadFailed; an interruption ends in a summary that says so."""

    def say(words: str) -> None:
        console.print(f"demo       {words}", highlight=False)

    with Stage(name="demo", engine=options.engine, say=say) as stage:
        obj = stage.wait_until_ready(within_seconds=_READY_WITHIN_SECONDS[options.engine])
        seen = Observations(
            objectives=_objectives(obj),
            duration_seconds=max(trace.span_seconds, 1.0),
            devices_per_replica=devices_per_replica(obj),
        )
        path = options.folder / "trace.csv"
        write_trace(trace, path)
        interrupted = False
        with Screen(console, headline=stage.headline) as screen:
            try:
                quiet = _QUIET_WITHIN_SECONDS[options.engine]
                asyncio.run(_act(stage, seen, screen, trace_path=path, minimum=_minimum(obj), quiet=quiet))
            except KeyboardInterrupt:
                interrupted = True
        seen.overrun_p99 = stage.overrun_p99() if options.engine == "emulated" else None
        summary = summarize(
            seen,
            engine=options.engine,
            rate_scale=options.rate_scale,
            seed=options.seed,
            # The built-in load is made to need four; what another load needs is not known beforehand.
            needed_peak=FEWEST_PEAK_REPLICAS if options.engine == "emulated" and options.trace is None else 1,
            interrupted=interrupted,
        )
    return seen, summary


async def _act(
    stage: Stage, seen: Observations, screen: Screen, *, trace_path: Path, minimum: int, quiet: float
) -> None:
    command = stage.load_command(["--model", NAME, "--trace", str(trace_path)])
    load = asyncio.create_task(run_load(command, seen))
    watch = asyncio.create_task(_watch(stage, seen, screen, until=lambda: load.done(), minimum=minimum, quiet=quiet))
    try:
        await asyncio.gather(load, watch)
    finally:
        for task in (load, watch):
            task.cancel()
        for task in (load, watch):
            with contextlib.suppress(asyncio.CancelledError, LoadFailed, StageFailed):
                await task


async def _watch(
    stage: Stage, seen: Observations, screen: Screen, *, until: Callable[[], bool], minimum: int, quiet: float
) -> None:
    """Sample the object once a second, until the load is over and the fleet is back at its minimum."""
    began, clock = time.time(), time.monotonic()
    sent: list[tuple[float, int]] = []
    over_at: float | None = None
    while True:
        at = time.monotonic() - clock
        obj = await asyncio.to_thread(stage.deployment)
        sent = [(when, count) for when, count in sent if when >= at - _RATE_WINDOW_SECONDS] + [(at, seen.sent)]
        span = at - sent[0][0]
        rate = (seen.sent - sent[0][1]) / span if span else 0.0
        take_object(obj, seen, at_seconds=at, began=began, requests_per_second=rate)
        screen.show(seen, at_seconds=at, decision=decision_line(obj))
        if until():
            over_at = at if over_at is None else over_at
            last = seen.samples[-1]
            if last.wanted <= minimum and last.starting == 0:
                return
            if at - over_at > quiet:
                return
        await asyncio.sleep(_WATCH_SECONDS)


def _objectives(obj: dict[str, Any]) -> Objectives:
    thresholds = {o["metric"]: o["thresholdMilliseconds"] / 1000 for o in obj["spec"].get("objectives") or []}
    return Objectives(
        time_to_first_token_seconds=thresholds.get("TimeToFirstToken"),
        inter_token_latency_seconds=thresholds.get("InterTokenLatency"),
    )


def _minimum(obj: dict[str, Any]) -> int:
    return int((obj["spec"].get("scaling") or {}).get("minReplicas", 1))
