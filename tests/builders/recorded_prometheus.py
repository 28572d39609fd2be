"""A real Prometheus that holds series as scrapes would have left them."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from inference_fleet.sandbox.tools import tool_path
from inference_fleet.sandbox.tools.progress import silent

KUBERNETES = "1.37.1"
STARTS_WITHIN_SECONDS = 30.0


class Recorded(NamedTuple):
    """One sample of one series."""

    name: str
    labels: Mapping[str, str]
    time: float
    value: float


@contextmanager
def recorded_prometheus(folder: Path, samples: Iterable[Recorded]) -> Iterator[str]:
    """Its URL; it ends with the block."""
    text = folder / "samples.txt"
    lines = sorted((sample.name, _words(sample.labels), sample.time, sample.value) for sample in samples)
    text.write_text("".join(f"{name}{{{labels}}} {value} {at:.3f}\n" for name, labels, at, value in lines) + "# EOF\n")
    data = folder / "data"
    promtool = tool_path("promtool", kubernetes_version=KUBERNETES, progress=silent)
    command = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(data)]
    subprocess.run(command, check=True, capture_output=True)
    config = folder / "prometheus.yml"
    config.write_text("{}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            str(tool_path("prometheus", kubernetes_version=KUBERNETES, progress=silent)),
            f"--config.file={config}",
            f"--storage.tsdb.path={data}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.retention.time=100y",
            "--log.level=error",
        ]
    )
    try:
        _wait(f"{url}/-/ready")
        yield url
    finally:
        process.terminate()
        process.wait()


def _words(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))


def _wait(url: str) -> None:
    until = time.monotonic() + STARTS_WITHIN_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
