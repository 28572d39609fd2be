"""Generates docs/explanation/memory.md: how device memory is reckoned, and how far that was off in logged starts."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
# The logs, and what reads them as intents of ours, stand with the tests that hold the figures.
sys.path.append(str(_ROOT / "tests"))

from builders.observed_fit import (  # noqa: E402
    PARTS,
    activation_fit,
    errors_of,
    errors_of_the_sum,
    fitting_half,
    graph_fit,
    judging_half,
)
from builders.observed_misses import CACHE, OUTCOME, WEIGHTS, Compared  # noqa: E402

PATH = "docs/explanation/memory.md"


def generate() -> dict[str, str]:
    """The page, from scripts/memory_page.template.md and the logs."""
    template = (_ROOT / "scripts" / "memory_page.template.md").read_text(encoding="utf-8")
    for name, text in _blocks().items():
        template = template.replace("{{" + name + "}}", text)
    return {PATH: template}


def _blocks() -> Mapping[str, str]:
    on_device = sum(start.foretold_on_this_device == start.happened for start in OUTCOME.starts)
    own = [start for start in WEIGHTS.starts if "checkpoint" not in start.log]
    own_right = len(own) - sum("checkpoint" not in miss.start.log for miss in WEIGHTS.misses)
    activations, graphs = activation_fit(), graph_fit()
    return {
        "starts": str(len(OUTCOME.starts)),
        "told": _right(OUTCOME),
        "told on device": _share(on_device, len(OUTCOME.starts)),
        "weights": _right(WEIGHTS),
        "weights own": _share(own_right, len(own)),
        "cache": _right(CACHE),
        "activation fit": f"{activations.base:.2f} GiB + {activations.slope:.1f} bytes x sequences x vocabulary",
        "activation experts": f"{activations.experts:.2f} GiB",
        "graph fit": f"{graphs.base:.2f} GiB + {graphs.slope:.4f} GiB x layers",
        "graph experts": f"{graphs.experts:.2f} GiB",
        "halves": _halves(),
        "outcome misses": _misses(OUTCOME, ours="predicted"),
        "weights misses": _misses(WEIGHTS, ours="calculated"),
        "cache misses": _misses(CACHE, ours="calculated"),
    }


def _right(compared: Compared) -> str:
    return _share(len(compared.starts) - len(compared.misses), len(compared.starts))


def _share(right: int, of: int) -> str:
    return f"{right} of {of} ({100 * right / of:.1f} %)"


def _halves() -> str:
    rows = ["| | logs | median | nine of ten within | largest |", "|---|---|---|---|---|"]
    for name, (key, part) in PARTS.items():
        for half, title in ((fitting_half(key), "fitted on"), (judging_half(key), "judged on")):
            found = errors_of(half, key, part)
            rows.append(_row(f"{name}, {title}", len(found.errors), found.median, found.ninth_tenth, found.largest))
    for half, title in ((fitting_half("activationGib"), "fitted on"), (judging_half("activationGib"), "judged on")):
        total = errors_of_the_sum(half)
        rows.append(_row(f"**sum**, {title}", len(total.errors), total.median, total.ninth_tenth, total.largest))
    return "\n".join(rows)


def _row(title: str, logs: int, median: float, ninth_tenth: float, largest: float) -> str:
    return f"| {title} | {logs} | {median:.2f} | {ninth_tenth:.2f} | {largest:.2f} |"


def _misses(compared: Compared, *, ours: str) -> str:
    rows = [f"| log | model, release | {ours} | logged | why |", "|---|---|---|---|---|"]
    for miss in compared.misses:
        log = miss.start.log
        release = log.get("vllmVersion") or log.get("month") or "release not stated"
        about = f"{log.get('checkpoint', log['model'])}, {release}, TP {log['tensorParallelSize']}"
        rows.append(f"| {miss.identifier} | {about} | {miss.ours} | {miss.theirs} | {compared.reason_of(miss)} |")
    return "\n".join(rows)
