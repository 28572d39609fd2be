"""A self-contained page on runs: cost against attainment, replicas and load over time, latency percentiles."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

from inference_fleet.simulation.batch import Finished
from inference_fleet.simulation.documents import Document, Frontier

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid"
    " #ddd}td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)
_COLUMNS = ("policy", "kept %", "worst 10 min %", "first token p99 s", "pace p99 s", "cost", "mean replicas", "peak")


def report_page(finished: Sequence[Finished], frontiers: Sequence[Frontier]) -> str:
    """One page of HTML with its pictures inside."""
    import matplotlib

    matplotlib.use("Agg")
    optimum = {(each.trace, each.seed): each for each in frontiers}
    groups: dict[tuple[str, int], list[Finished]] = {}
    for each in finished:
        scenario = each.document["scenario"]
        groups.setdefault((scenario["trace"], scenario["seed"]), []).append(each)
    sections = [
        f"<h2>{html.escape(trace)}, seed {seed}</h2>{_table(runs)}"
        f"{_picture(_against_optimum(runs, optimum.get((trace, seed))))}{_picture(_over_time(runs))}"
        for (trace, seed), runs in groups.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Scaling</title><style>{_STYLE}</style>'
        f"</head><body><h1>Scaling policies on simulated fleets</h1>{''.join(sections)}</body></html>\n"
    )


def _table(runs: Sequence[Finished]) -> str:
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(run.document)) + "</tr>" for run in runs
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _cells(document: Document) -> tuple[str, ...]:
    result = document["result"]
    numbers = (
        result["attainmentPercent"],
        result["worstTenMinutesPercent"],
        result["timeToFirstTokenSeconds"]["p99"],
        result["interTokenLatencySeconds"]["p99"],
        result["cost"],
        result["meanReplicas"],
    )
    texts = ("-" if number is None else f"{number:.2f}" for number in numbers)
    return (_name(document), *texts, str(result["peakReplicas"]))


def _against_optimum(runs: Sequence[Finished], frontier: Frontier | None) -> Any:
    figure, axes = _figure(width=8, height=4)
    if frontier is not None and frontier.points:
        axes.plot(
            [point.cost for point in frontier.points],
            [_nines(point.attainment_percent) for point in frontier.points],
            color="black",
            marker=".",
            label="optimum",
        )
    for run in runs:
        result = run.document["result"]
        if result["attainmentPercent"] is not None:
            axes.scatter([result["cost"]], [_nines(result["attainmentPercent"])], label=_name(run.document))
    ticks = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99)
    axes.set_yticks([_nines(tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
    axes.set_xscale("log")
    axes.set_xlabel("cost")
    axes.set_ylabel("promise kept")
    axes.legend(fontsize="small")
    return figure


def _over_time(runs: Sequence[Finished]) -> Any:
    figure, axes = _figure(width=10, height=4)
    for run in runs:
        hours = [moment.time / 3600 for moment in run.moments]
        axes.step(hours, [moment.desired for moment in run.moments], where="post", label=_name(run.document))
    load = axes.twinx()
    moments = runs[0].moments
    load.fill_between(
        [moment.time / 3600 for moment in moments],
        [moment.running + moment.waiting for moment in moments],
        color="grey",
        alpha=0.25,
    )
    load.set_ylabel(f"requests in flight ({_name(runs[0].document)})")
    axes.set_xlabel("hours")
    axes.set_ylabel("replicas asked for")
    axes.legend(fontsize="small", loc="upper left")
    return figure


def _figure(*, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _picture(figure: Any) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"></p>'


def _nines(percent: float) -> float:
    return -math.log10(max(1e-5, 1 - percent / 100))


def _name(document: Document) -> str:
    return str(document["policy"]["name"]) + ("-tuned" if document["policy"]["tuned"] else "")
