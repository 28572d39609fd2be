"""The verdict and the figures of a demonstration, as `demo/v1`."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from inference_fleet.cli.demonstration.observation import Observations
from inference_fleet.load.judgement import summarise

SCHEMA_VERSION: Final = "inference-fleet/demo/v1"
# Emulators that lag more than this behind their own step model say nothing about a fleet.
MOST_OVERRUN: Final = 0.10
# What the built-in load must bring the fleet to.
FEWEST_PEAK_REPLICAS: Final = 4


def summarize(
    seen: Observations, *, engine: str, rate_scale: float, seed: int, needed_peak: int, interrupted: bool
) -> dict[str, Any]:
    """The summary. needed_peak: replicas that must have been ready at once for the demonstration to show scaling."""
    figures = summarise(seen.outcomes, seen.objectives)
    counts = [sample.ready for sample in seen.samples] or [0]
    span = seen.samples[-1].at_seconds - seen.samples[0].at_seconds if len(seen.samples) > 1 else 0.0
    failures = _failures(seen, needed_peak=needed_peak, interrupted=interrupted)
    overrun = seen.overrun_p99
    invalid = engine == "emulated" and (overrun is None or overrun > MOST_OVERRUN)
    if invalid:
        words = (
            "is not known" if overrun is None else f"was {100 * overrun:.0f} % at p99 (most {100 * MOST_OVERRUN:.0f})"
        )
        failures.append(f"the emulators' lag behind their step model {words}: the machine was too busy to judge")
    return {
        "schemaVersion": SCHEMA_VERSION,
        "engine": engine,
        "durationSeconds": round(seen.duration_seconds, 1),
        "rateScale": rate_scale,
        "seed": seed,
        "requests": {
            "sent": figures.sent,
            "completed": figures.completed,
            "failed": figures.failed,
            "cut": figures.cut,
        },
        "attainmentPercent": _rounded(figures.attainment_percent),
        "timeToFirstTokenSeconds": _all_rounded(dataclasses.asdict(figures.time_to_first_token_seconds)),
        "interTokenLatencySeconds": _all_rounded(dataclasses.asdict(figures.inter_token_latency_seconds)),
        "replicas": {
            "min": min(counts),
            "mean": round(seen.replica_seconds / span, 2) if span else 0.0,
            "max": max(counts),
        },
        "replicaSeconds": round(seen.replica_seconds, 1),
        "gpuSeconds": round(seen.replica_seconds * seen.devices_per_replica, 1),
        "scaleEvents": [
            {
                "atSeconds": round(event.at_seconds, 1),
                "variant": event.variant,
                "from": event.from_replicas,
                "to": event.to_replicas,
                "rule": event.rule,
                "message": event.message,
            }
            for event in seen.events
        ],
        "emulatorOverrunPercent": {"p99": None if overrun is None else round(100 * overrun, 1)},
        "verdict": _verdict(failures, invalid=invalid),
        "failures": failures,
    }


def _verdict(failures: list[str], *, invalid: bool) -> str:
    # A failure beside the lag may be the lag's doing: nothing is claimed of it.
    if invalid:
        return "invalid"
    return "failed" if failures else "passed"


def _failures(seen: Observations, *, needed_peak: int, interrupted: bool) -> list[str]:
    figures = summarise(seen.outcomes, seen.objectives)
    found = []
    if interrupted:
        found.append("it was interrupted")
    if not figures.sent:
        found.append("no request was sent")
    if figures.failed or figures.cut:
        first = next(outcome.error for outcome in seen.outcomes if outcome.error)
        found.append(f"{figures.failed} requests failed and {figures.cut} were cut; the first: {first}")
    peak = max((sample.ready for sample in seen.samples), default=0)
    if peak < needed_peak:
        found.append(f"at most {peak} replicas were ready; {needed_peak} were to be reached")
    if not any(event.to_replicas > event.from_replicas for event in seen.events):
        found.append("it never scaled up")
    highest = max((sample.wanted for sample in seen.samples), default=0)
    last = seen.samples[-1].wanted if seen.samples else 0
    if highest and last >= highest and needed_peak > 1:
        found.append(f"it never came back down: {last} replicas are wanted at the end")
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _all_rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {key: None if value is None else round(value, 4) for key, value in values.items()}
