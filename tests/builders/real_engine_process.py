"""A real vLLM server as a process of the test: started, asked, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox.real_engine import ENVIRONMENT, RealEngine

# Seen: 62 s on two cores with warm caches, 90 s with cold ones and other work beside it.
READY_TIMEOUT_SECONDS = 300
POLL_SECONDS = 0.25
MODEL_NAME = "tiny"


@dataclass(frozen=True)
class ServingEngine:
    """A server that answers; `url` without a path."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_after_seconds: float


@contextlib.contextmanager
def serving(engine: RealEngine, *, folder: Path, arguments: Sequence[str] = ()) -> Iterator[ServingEngine]:
    """The engine serving its tiny model as "tiny", with these arguments besides; killed at the end if it still runs."""
    port = free_port()
    own = ("--model", str(engine.model), "--served-model-name", MODEL_NAME, "--host", "127.0.0.1", "--port", str(port))
    log = folder / "engine.log"
    environment = {**os.environ, **ENVIRONMENT, "VLLM_CACHE_ROOT": str(folder / "vllm-cache")}
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            engine.command((*own, *arguments)),
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Its helper processes end with it, as one group.
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_healthy(url, process=process, log=log)
            yield ServingEngine(url, process, log, ready_after_seconds=time.monotonic() - began)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_healthy(url: str, *, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when /health answers 200; AssertionError with the log's end if it does not in time."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the engine ended with {process.returncode}:\n{log_end(log)}"
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"not healthy after {READY_TIMEOUT_SECONDS} s:\n{log_end(log)}")


def log_end(log: Path) -> str:
    """The last lines of the engine's output."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
