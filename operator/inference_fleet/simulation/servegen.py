"""ServeGen's client tables (github.com/alibaba/ServeGen, data/<category>/<model>): a folder becomes a trace.

The tables hold no requests. Per client, `chunk-N-trace.csv` has a row per window of 600 s: start, requests a second,
coefficient of variation of the gaps, `Gamma` or `Weibull`, its shape and scale; `chunk-N-dataset.json` has the
distribution of prompt and output lengths per window of hours, as text of a mapping from length to probability.
Every window gets as many requests as its rate and scale ask for, at gaps of the fitted shape (stretched to fill the
window and turned by a random offset), with lengths drawn from the newest distribution that began before.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.request_log import Arrivals
from inference_fleet.simulation.scenario import Workload

WINDOW_SECONDS: Final = 600.0
MOST_TOKENS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """Requests of one client from `start` on, for ten minutes. shape: of the gaps' distribution, by its name."""

    start: float
    rate: float
    pattern: str
    shape: float


class BadTable(Exception):
    """A table that cannot be used: file and line, and what is wrong."""


def read_servegen(folder: Path, *, scale: float, seed: int, begin: float = 0.0, end: float = math.inf) -> Workload:
    """The clients' windows that start in [begin, end) as one trace, at `scale` times the recorded rate.

    Raises BadTable.
    """
    chance = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed} servegen {folder.name}".encode())))
    digest = hashlib.sha256(f"{seed} {scale} {begin} {end}".encode())
    columns: list[tuple[Any, Any, Any]] = []
    files = sorted(folder.glob("chunk-*-trace.csv"), key=lambda file: int(file.name.split("-")[1]))
    if not files:
        raise BadTable(f"{folder}: no chunk-*-trace.csv in it")
    for file in files:
        windows = _windows(file)
        lengths = _lengths(file.with_name(file.name.replace("-trace.csv", "-dataset.json")))
        digest.update(file.read_bytes())
        for window in windows:
            if not begin <= window.start < end or not lengths:
                continue
            count = int(chance.poisson(window.rate * WINDOW_SECONDS * scale))
            if not count:
                continue
            known = [start for start in lengths if start <= window.start] or [min(lengths)]
            prompts, outputs = lengths[max(known)]
            columns.append(
                (
                    window.start - begin + _times(window, count, chance),
                    chance.choice(len(prompts), size=count, p=prompts),
                    chance.choice(len(outputs), size=count, p=outputs),
                )
            )
    if not columns:
        raise BadTable(f"{folder}: no request in the chosen time")
    seconds, prompts, outputs = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Workload(f"servegen-{folder.name}", digest.hexdigest(), Arrivals.sorted(seconds, prompts, outputs))


def _times(window: Window, count: int, chance: np.random.Generator) -> Any:
    draw = chance.standard_gamma if window.pattern == "Gamma" else chance.weibull
    moments = np.cumsum(draw(window.shape, size=count))
    filled = moments / moments[-1] * WINDOW_SECONDS
    return (filled + chance.random() * WINDOW_SECONDS) % WINDOW_SECONDS


def _windows(file: Path) -> list[Window]:
    found = []
    with file.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.reader(lines), start=1):
            try:
                start, rate, _, pattern, shape, _ = row
                if not pattern:
                    continue  # a window without requests
                window = Window(float(start), float(rate), pattern, float(shape))
            except ValueError as error:
                raise BadTable(f"{file}:{number}: {error}") from error
            usable = pattern in ("Gamma", "Weibull") and window.shape > 0 and 0 <= window.rate < math.inf
            if not usable or window.start < 0:
                raise BadTable(f"{file}:{number}: not a window: {','.join(row)}")
            found.append(window)
    return found


def _lengths(file: Path) -> dict[float, tuple[Any, Any]]:
    """Start of a window -> probabilities of prompt and output lengths, by length."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return {
            float(start): (_distribution(fields["input_tokens"]), _distribution(fields["output_tokens"]))
            for start, fields in said.items()
            if _mapping(fields["input_tokens"]) and _mapping(fields["output_tokens"])
        }
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError) as error:
        raise BadTable(f"{file}: {error or type(error).__name__}") from error


def _mapping(text: str | Mapping[str, float]) -> dict[int, float]:
    said = ast.literal_eval(text) if isinstance(text, str) else text
    return {int(length): float(share) for length, share in said.items()}


def _distribution(text: str | Mapping[str, float]) -> Any:
    shares = _mapping(text)
    if min(shares) < 0 or max(shares) > MOST_TOKENS or min(shares.values()) < 0:
        raise ValueError(f"lengths must be 0 to {MOST_TOKENS}, shares 0 or more")
    table = np.zeros(max(shares) + 1)
    table[list(shares)] = list(shares.values())
    return table / table.sum()
