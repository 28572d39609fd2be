"""The load generator as a process of its own, inside the sandbox, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Sequence
from typing import Any, Final

from inference_fleet.cli.demonstration.observation import Observations
from inference_fleet.load.judgement import Fate, Outcome

# An outcome line is short; a whole summary is not.
_LINE_BYTES: Final = 1 << 20
_END_SECONDS: Final = 20.0


class LoadFailed(Exception):
    """The load generator ended before it had sent everything."""


async def run_load(argv: Sequence[str], seen: Observations) -> None:
    """Run the generator to its end and collect what it says into `seen`. Cancelling ends it and its requests."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=_LINE_BYTES
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        async for line in process.stdout:
            take_line(line, seen)
        status = await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        if process.returncode is None:
            process.kill()
        raise
    finally:
        said = (await errors).decode(errors="replace").strip()
    if status != 0:
        raise LoadFailed(f"the load generator ended with status {status}: {said[-800:]}")


def take_line(line: bytes, seen: Observations) -> None:
    """One JSON line of the generator."""
    data: dict[str, Any] = json.loads(line)
    kind = data.pop("kind")
    if kind == "progress":
        seen.sent, seen.in_flight = data["sent"], data["inFlight"]
    elif kind == "summary":
        seen.in_flight = 0
    elif kind == "outcome":
        seen.outcomes.append(Outcome(**{**data, "fate": Fate(data["fate"])}))
