"""Probes of the engine. /health answers 200 only once the model is loaded; there is no other readiness endpoint."""

from __future__ import annotations

from typing import Any, Final

from inference_fleet.api.names import ENGINE_PORT_NAME

PROBE_PERIOD_SECONDS: Final = 5
# A start within this time is slow, not broken: loading, compiling and capturing graphs of a mid-sized model.
BASE_START_BUDGET_SECONDS: Final = 1800
# A hub or network volume at 200 MB/s: 5 s per GB of weights on top.
START_SECONDS_PER_GIGABYTE: Final = 5
# A container that failed a probe has nothing to drain: it does not get the long grace of a retiring pod.
FAILED_GRACE_SECONDS: Final = 30


def start_budget_seconds(*, weights_bytes: int | None) -> int:
    """How long a start may take before the container is restarted, from the size of the weights if it is known."""
    gigabytes = (weights_bytes or 0) / 1e9
    return BASE_START_BUDGET_SECONDS + int(gigabytes * START_SECONDS_PER_GIGABYTE)


def probes(*, weights_bytes: int | None) -> dict[str, Any]:
    """startupProbe, readinessProbe and livenessProbe of the engine's container."""
    check = {"httpGet": {"path": "/health", "port": ENGINE_PORT_NAME}}
    failures = start_budget_seconds(weights_bytes=weights_bytes) // PROBE_PERIOD_SECONDS
    return {
        "startupProbe": {
            **check,
            "periodSeconds": PROBE_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
            "terminationGracePeriodSeconds": FAILED_GRACE_SECONDS,
        },
        # Two misses in a row: a busy engine may be late once.
        "readinessProbe": {**check, "periodSeconds": PROBE_PERIOD_SECONDS, "timeoutSeconds": 5, "failureThreshold": 2},
        # A restart costs a full load: only an engine that is gone for a minute gets one.
        "livenessProbe": {
            **check,
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 6,
            "terminationGracePeriodSeconds": FAILED_GRACE_SECONDS,
        },
    }
