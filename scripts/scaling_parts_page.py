"""docs/explanation/scaling-parts.md: what changes when one part of the scaler does, from recorded runs."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_BENCHMARKS = _ROOT / "benchmarks"
PATH = "docs/explanation/scaling-parts.md"
TARGET_PERCENT = 99.0
CLASSES = (("suite", "smooth"), ("suite", "bursty"), ("recorded", "smooth"), ("recorded", "bursty"))
KINDS = {"suite": "synthetic", "recorded": "recorded"}

Row = Mapping[str, Any]


def generate() -> dict[str, str]:
    """The page, from scripts/scaling_parts.template.md."""
    rows = json.loads((_BENCHMARKS / "results/ablations.json").read_text(encoding="utf-8"))
    documents = json.loads((_BENCHMARKS / "results/scaling.json").read_text(encoding="utf-8"))["parts"]
    text = (_ROOT / "scripts/scaling_parts.template.md").read_text(encoding="utf-8")
    for name, block in blocks(rows, documents).items():
        text = text.replace("{{" + name + "}}", block)
    return {PATH: text}


def blocks(rows: Sequence[Row], documents: Mapping[str, Any]) -> dict[str, str]:
    """What stands between braces in the template. documents: of the scaling benchmark, for its optima."""
    tables = {table: [row for row in rows if row["table"] == table] for table in {row["table"] for row in rows}}
    return {
        "foresight": _foresight(tables["foresight"], documents),
        "foresight traces": _by_trace(
            [row for row in tables["foresight"] if row["trace"] in ("chat-bursts", "chat-days", "llm-d-ramp")]
        ),
        "windows": _windows(tables["windows"]),
        "restarts": _by_trace(tables["restarts"]),
        "crowds": _crowds(tables["crowds"]),
        "scrapes": _scrapes(tables["scrapes"]),
        "scrape runs": str(len(_runs(tables["scrapes"]))),
        "constants": _constants(tables["constants"]),
        "constant runs": str(len(_runs(tables["constants"]))),
    }


def _foresight(rows: Sequence[Row], documents: Mapping[str, Any]) -> str:
    """One line for every variation; only of runs where the optimum keeps the target."""
    ratios = {(*_run(row), row["variation"]): _ratio(row, documents) for row in rows}
    variations = _variations(rows)
    heads, columns = [], []
    for part, trace_class in CLASSES:
        runs = [
            run
            for run, row in _runs(rows).items()
            if (row["part"], row["traceClass"]) == (part, trace_class) and ratios[(*run, row["variation"])]
        ]
        heads.append(f"{KINDS[part]}, {trace_class} ({len(runs)} runs)")
        columns.append([_ratio_cell(rows, ratios, runs, variation) for variation in variations])
    return _table(["", *heads], list(zip(variations, *columns, strict=True)))


def _ratio_cell(rows: Sequence[Row], ratios: Mapping[Any, float | None], runs: Sequence[Any], variation: str) -> str:
    """Mean ratio of these runs, and what they kept."""
    found = [ratio for run in runs if (ratio := ratios[(*run, variation)]) is not None]
    kept = [row["attainmentPercent"] for row in rows if _run(row) in runs and row["variation"] == variation]
    return f"{statistics.geometric_mean(found):.2f} ({_mean(kept):.1f})" if found else "-"


def _ratio(row: Row, documents: Mapping[str, Any]) -> float | None:
    """Cost by the optimum's; None where there is none, or where it does not keep the target."""
    if str(_BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(_BENCHMARKS))
    from scaling_goals import ratio_of, reach

    document = documents.get(row["part"])
    if document is None or reach(document).get((row["trace"], row["seed"]), 0.0) < TARGET_PERCENT:
        return None
    run = {
        "scenario": {"trace": row["trace"], "seed": row["seed"]},
        "result": {"attainmentPercent": row["attainmentPercent"], "cost": row["cost"]},
    }
    ratio: float | None = ratio_of(run, document)
    return ratio


def _windows(rows: Sequence[Row]) -> str:
    def said(row: Row) -> str:
        return f"{row['hoursKeptPercent']:.0f} %, {row['worstHourPercent']:.1f} %, {row['meanReplicas']:.2f}"

    heads = ["trace, seed", "24 hours: hours kept, worst, replicas", "1 hour: hours kept, worst, replicas"]
    lines = _runs(rows)
    return _table(heads, [[f"{trace}, {seed}", *_cells(rows, run, said)] for run in lines for _, trace, seed in [run]])


def _by_trace(rows: Sequence[Row]) -> str:
    """The mean over the seeds of each trace: share kept and replicas."""
    variations = _variations(rows)
    lines = []
    for trace in dict.fromkeys(row["trace"] for row in rows):
        own = [row for row in rows if row["trace"] == trace]
        seeds = len({row["seed"] for row in own})
        cells = []
        for variation in variations:
            those = [row for row in own if row["variation"] == variation]
            kept, replicas = _mean(r["attainmentPercent"] for r in those), _mean(r["meanReplicas"] for r in those)
            cells.append(f"{kept:.2f} %, {replicas:.2f}")
        lines.append([f"`{trace}`" + (f" ({seeds} seeds)" if seeds > 1 else ""), *cells])
    return _table(["", *variations], lines)


def _crowds(rows: Sequence[Row]) -> str:
    def said(row: Row) -> str:
        return f"{row['attainmentPercent']:.2f} %, {row['cost']:,.0f}"

    ends = "`daily-crowd`: {}, but before midnight, seed {}"
    quiet = next(row["trace"] for row in rows if row["trace"].startswith("a quiet week"))
    lines = [
        [ends.format("the first row", seed) if trace == "daily-crowd" else trace, *reversed(_cells(rows, run, said))]
        for run in sorted(_runs(rows), key=lambda run: (run[1] != quiet, run[1] != "daily-crowd"))
        for _, trace, seed in [run]
    ]
    return _table(["traffic", "without it", "with it"], lines)


def _scrapes(rows: Sequence[Row]) -> str:
    first, *others = _variations(rows)
    base = _of(rows, first)
    lines = [[f"{first}, six seconds before", f"{_mean(r['attainmentPercent'] for r in base.values()):.2f}", ""]]
    for variation in others:
        those = _of(rows, variation)
        kept = _mean(row["attainmentPercent"] for row in those.values())
        lines.append([variation, f"{kept:.2f}", _cost_change(those, base)])
    return _table(["pods are scraped", "kept %, on average", "cost"], lines)


def _constants(rows: Sequence[Row]) -> str:
    """One line for each constant: what less and what more of it changes."""
    first, *others = _variations(rows)
    base = _of(rows, first)
    lines: dict[str, list[str]] = {}
    factors = []
    for variation in others:
        constant, _, factor = variation.partition(" x ")
        factors.append(factor)
        those = _of(rows, variation)
        kept = _mean(row["attainmentPercent"] - base[run]["attainmentPercent"] for run, row in those.items())
        lines.setdefault(f"`{constant}`", []).append(f"{_cost_change(those, base)}, {kept:+.2f}")
    heads = [f"times {factor}: cost, kept" for factor in dict.fromkeys(factors)]
    return _table(["constant", *heads], [[constant, *cells] for constant, cells in lines.items()])


def _of(rows: Sequence[Row], variation: str) -> dict[tuple[Any, ...], Row]:
    """This variation's, by their runs."""
    return {_run(row): row for row in rows if row["variation"] == variation}


def _cost_change(those: Mapping[Any, Row], base: Mapping[Any, Row]) -> str:
    """Run by run: the geometric mean, and its standard error."""
    changes = [math.log(row["cost"] / base[run]["cost"]) for run, row in those.items()]
    error = statistics.stdev(changes) / math.sqrt(len(changes)) if len(changes) > 1 else 0.0
    return f"{100 * math.expm1(statistics.mean(changes)):+.1f} % ± {100 * error:.1f}"


def _run(row: Row) -> tuple[Any, ...]:
    return row["part"], row["trace"], row["seed"]


def _runs(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """Each traffic and seed once, in the order of the file."""
    return {_run(row): row for row in rows}


def _variations(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["variation"] for row in rows))


def _cells(rows: Sequence[Row], run: tuple[Any, ...], said: Callable[[Row], str]) -> list[str]:
    return [
        said(row)
        for variation in _variations(rows)
        for row in rows
        if (_run(row), row["variation"]) == (run, variation)
    ]


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|" + "---|" * len(heads)
    return "\n".join(["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])
