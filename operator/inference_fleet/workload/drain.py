"""The times of a retiring pod: out of the endpoints, SIGTERM, running requests, end."""

from __future__ import annotations

from typing import Final

from inference_fleet.api.inference_deployment import Drain

# From the end of the drain to the end of the process vLLM 0.32 took 2 s after the last stream and 11 s when idle.
EXIT_MARGIN_SECONDS: Final = 30
# A pod that never was ready has no requests to finish, but it may hold devices; vLLM ignores SIGTERM while it loads.
NEVER_READY_GRACE_SECONDS: Final = 30


def grace_period_seconds(drain: Drain) -> int:
    """terminationGracePeriodSeconds: strictly longer than the wait for balancers and the engine's own time-out."""
    return drain.endpoint_delay_seconds + drain.timeout_seconds + EXIT_MARGIN_SECONDS
