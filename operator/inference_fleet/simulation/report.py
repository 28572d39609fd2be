"""A self-contained page on runs: cost against attainment, replicas and load over time, latency percentiles."""

from __future__ import annotations

import base64
import html
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from inference_fleet.simulation.batch import Finished
from inference_fleet.simulation.documents import (
    Document,
    Frontier,
    compare_document,
    is_kept,
    judged_percent,
    ratio_of,
    shown_percent,
    target_percent,
)

_STYLE: Final = (
    "body{font:15px/1.55 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1f2933}"
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem;border-top:1px solid #d5dbe1;padding-top:1.2rem}"
    "table{border-collapse:collapse;margin:1rem 0;font-variant-numeric:tabular-nums}"
    "td,th{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #e4e8ec}th{font-weight:600}"
    "td:first-child,th:first-child{text-align:left}tr.own td{font-weight:600;background:#eef5fc}"
    "td.missed{color:#b42318}figure{margin:1.2rem 0}figcaption,.words{color:#52606d;font-size:.9rem}img{max-width:100%}"
    "tr>:first-child{white-space:nowrap}.wide{overflow-x:auto}"
    # Figures that a phone's width would make illegible keep their size, and move under the finger instead.
    "@media(max-width:45rem){img{max-width:none;width:44rem}body{margin:1rem auto}}"
)
_WORDS: Final = (
    "kept: requests that met every objective, of all sent (red: less than promised, in the promise's window);"
    " worst 10 min: the same in the worst ten minutes; p99: what 99 % of requests do not exceed; changes: how often the"
    " number of replicas changed"
)
_WORDS_OF_OPTIMUM: Final = (
    "; times the optimum: the cost divided by that of a fleet that knew the traffic beforehand and kept the promise as"
    " often; 1.00 is the best there is."
)
_OWN: Final = "#1769c2"
_OPTIMUM: Final = "#111111"
_STATIC: Final = "#8a94a0"
_STATIC_TUNED: Final = "#4b5561"
_OTHERS: Final = ("#e07a1f", "#2f9e5b", "#b8432f", "#7d58c2", "#a0782c", "#d957a8", "#1c9db0", "#7f8c1f", "#5b6b7b")
_MARKERS: Final = "osD^vP*Xh"
# More lines than this over time are a tangle.
_LINES_OVER_TIME: Final = 4
_MOST_POINTS: Final = 1500
_HOURS_FROM_SECONDS: Final = 3 * 3600


def report_page(finished: Sequence[Finished], frontiers: Sequence[Frontier]) -> str:
    """One page of HTML with its pictures inside."""
    import matplotlib

    matplotlib.use("Agg")
    optimum = {(each.trace, each.seed): each for each in frontiers}
    groups: dict[tuple[str, int], list[Finished]] = {}
    for each in finished:
        scenario = each.document["scenario"]
        groups.setdefault((scenario["trace"], scenario["seed"]), []).append(each)
    colours = _colours(finished)
    sections = [_section(runs, optimum.get(key), colours) for key, runs in groups.items()]
    summary = _summary(finished, frontiers) if frontiers and len(groups) > 1 else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Scaling policies</title><style>{_STYLE}</style></head><body>"
        f"<h1>Scaling policies on simulated fleets</h1>{summary}{''.join(sections)}</body></html>\n"
    )


# --- tables ---------------------------------------------------------------------------------------------------------


def _section(runs: Sequence[Finished], frontier: Frontier | None, colours: Mapping[str, tuple[str, str]]) -> str:
    scenario = runs[0].document["scenario"]
    promises = ", ".join(
        f"{'first token' if each['metric'] == 'TimeToFirstToken' else 'time per token'} within"
        f" {_seconds(each['thresholdSeconds'])} for {100 * each['target']:g} %"
        for each in scenario["objectives"]
    )
    pictures = []
    if len(runs) > 1 or frontier is not None:
        # One point alone says no more than the table.
        pictures += [
            ("Cost and promise kept; up and to the left is better.", _against_optimum(runs, frontier, colours))
        ]
    pictures += [
        ("Requests that come, and replicas that are asked for.", _over_time(runs, colours)),
        ("Latencies: median, 95 % and 99 % quantile; dashed: what is promised.", _latencies(runs, colours)),
    ]
    return (
        f"<h2>{html.escape(scenario['trace'])}, seed {scenario['seed']}</h2>"
        f"<p>{scenario['requests']:,} requests in {scenario['spanSeconds'] / 3600:.1f} h ({scenario['traceClass']})."
        f" Promised: {html.escape(promises) or 'nothing'}.</p>{_table(runs, frontier)}"
        + "".join(_picture(figure, caption) for caption, figure in pictures)
    )


def _table(runs: Sequence[Finished], frontier: Frontier | None) -> str:
    columns = ["policy", "kept %", "worst 10 min %", "first token p99", "per token p99", _cost(runs)]
    columns += ["times the optimum"] if frontier is not None else []
    columns += ["mean replicas", "peak", "changes"]
    head = "".join(f"<th>{column}</th>" for column in columns)
    rows = "".join(_row(run.document, frontier) for run in runs)
    words = _WORDS + (_WORDS_OF_OPTIMUM if frontier is not None else ".")
    return f'{_wide(f"<table><tr>{head}</tr>{rows}</table>")}<p class="words">{words}</p>'


def _row(document: Document, frontier: Frontier | None) -> str:
    result = document["result"]
    cells = [
        shown_percent(result["attainmentPercent"]),
        shown_percent(result["worstTenMinutesPercent"]),
        _seconds(result["timeToFirstTokenSeconds"]["p99"]),
        _seconds(result["interTokenLatencySeconds"]["p99"]),
        _number(result["cost"]),
    ]
    if frontier is not None:
        ratio = ratio_of(document, {(frontier.trace, frontier.seed): frontier.points})
        cells.append(_number(ratio))
    cells += [_number(result["meanReplicas"]), str(result["peakReplicas"]), str(result["scaleEvents"])]
    first = f'<td class="{"kept" if is_kept(document) else "missed"}">{cells[0]}</td>'
    own = ' class="own"' if document["policy"]["name"] == "fleet" else ""
    rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[1:])
    return f"<tr{own}><td>{html.escape(_name(document))}</td>{first}{rest}</tr>"


def _summary(finished: Sequence[Finished], frontiers: Sequence[Frontier]) -> str:
    document = compare_document([each.document for each in finished], frontiers)
    rows = []
    for row in document["summary"]:
        if row["traceClass"] != "all":
            continue
        interval = "-" if row["ratioCi95"] is None else "{:.2f} to {:.2f}".format(*row["ratioCi95"])
        name = row["policy"] + ("-tuned" if row["tuned"] else "")
        own = ' class="own"' if row["policy"] == "fleet" else ""
        rows.append(
            f"<tr{own}><td>{html.escape(name)}</td><td>{_number(row['ratioGeomean'])}</td><td>{interval}</td>"
            f"<td>{shown_percent(row['minAttainmentPercent'])}</td></tr>"
        )
    head = "".join(f"<th>{each}</th>" for each in ("policy", "times the optimum", "95 % interval", "least kept %"))
    return (
        "<p>Over all traces. Times the optimum: the geometric mean of the cost divided by that of a fleet that knew the"
        " traffic beforehand and kept the promise as often; least kept: the share of requests on the worst trace.</p>"
        + _wide(f"<table><tr>{head}</tr>{''.join(rows)}</table>")
    )


# --- pictures -------------------------------------------------------------------------------------------------------


def _against_optimum(
    runs: Sequence[Finished], frontier: Frontier | None, colours: Mapping[str, tuple[str, str]]
) -> Any:
    figure, axes = _figure(width=9, height=4.4)
    if frontier is not None and frontier.points:
        axes.plot(
            [point.cost for point in frontier.points],
            [_nines(point.attainment_percent) for point in frontier.points],
            color=_OPTIMUM,
            marker=".",
            markersize=4,
            linewidth=1.2,
            label="optimum",
        )
    for run in runs:
        result, name = run.document["result"], _name(run.document)
        if result["attainmentPercent"] is None:
            continue
        colour, marker = colours[name]
        axes.scatter(
            [result["cost"]],
            [_nines(result["attainmentPercent"])],
            color=colour,
            marker=marker,
            s=110 if name == "fleet" else 55,
            zorder=4 if name == "fleet" else 3,
            label=name,
        )
    target = target_percent(runs[0].document)
    if 0 < target < 100:
        axes.axhline(_nines(target), color=_STATIC, linestyle="--", linewidth=1)
    shares = [run.document["result"]["attainmentPercent"] or 0.0 for run in runs]
    shown = [_nines(share) for share in (*shares, *([target] if 0 < target < 100 else []))]
    low, high = min(shown), max(_nines(99.9), *shown)
    ticks = [
        tick
        for tick in (0.0, 50.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)
        if low - 0.3 <= _nines(tick) <= high + 0.2
    ]
    axes.set_yticks([_nines(tick) for tick in ticks], [f"{tick:g} %" for tick in ticks])
    axes.set_ylim(low - 0.1, high + 0.15)
    axes.set_xscale("log")
    _plain_ticks(axes)
    axes.set_xlabel(f"{_cost(runs)} (logarithmic)")
    axes.set_ylabel("promise kept")
    axes.grid(color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _over_time(runs: Sequence[Finished], colours: Mapping[str, tuple[str, str]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    moments = max(runs, key=lambda run: len(run.moments)).moments
    step = max(1, len(moments) // (_MOST_POINTS // 5))
    picked = moments[::step]
    unit, seconds = ("hours", 3600) if moments[-1].time >= _HOURS_FROM_SECONDS else ("minutes", 60)
    times = [moment.time / seconds for moment in picked[1:]]
    rates = [
        (after.arrived - before.arrived) / (after.time - before.time) for before, after in itertools.pairwise(picked)
    ]
    above.fill_between(times, rates, color="#c9d3dd", linewidth=0)
    above.set_ylabel("requests/s")
    above.set_ylim(bottom=0)
    for run in _worth_a_line(runs):
        name = _name(run.document)
        kept = run.moments[:: max(1, len(run.moments) // _MOST_POINTS)]
        below.step(
            [moment.time / seconds for moment in kept],
            [moment.desired for moment in kept],
            where="post",
            color=colours[name][0],
            linewidth=1.8 if name == "fleet" else 1.1,
            zorder=4 if name == "fleet" else 3,
            label=name,
        )
    below.set_xlabel(unit)
    below.set_ylabel("replicas")
    below.set_ylim(bottom=0)
    for axes in (above, below):
        axes.grid(color="#e4e8ec", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(x=0)
    below.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _latencies(runs: Sequence[Finished], colours: Mapping[str, tuple[str, str]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.9 + 0.32 * len(runs)), layout="constrained")
    pair = figure.subplots(1, 2, sharey=True)
    names = [_name(run.document) for run in runs]
    for axes, key, metric, title in zip(
        pair,
        ("timeToFirstTokenSeconds", "interTokenLatencySeconds"),
        ("TimeToFirstToken", "InterTokenLatency"),
        ("first token, seconds", "time per token after it, seconds"),
        strict=True,
    ):
        for place, run in enumerate(runs):
            quantiles = [run.document["result"][key][each] for each in ("p50", "p95", "p99")]
            if None in quantiles:
                continue
            shown = [max(each, 1e-3) for each in quantiles]
            colour = colours[names[place]][0]
            axes.plot(shown, [place] * 3, color=colour, linewidth=2.2, solid_capstyle="round", zorder=2)
            for value, size in zip(shown, (28, 36, 52), strict=True):
                axes.scatter([value], [place], color=colour, s=size, zorder=3, edgecolor="white", linewidth=0.6)
        for objective in runs[0].document["scenario"]["objectives"]:
            if objective["metric"] == metric:
                axes.axvline(objective["thresholdSeconds"], color="#b42318", linestyle="--", linewidth=1)
        axes.set_xscale("log")
        _plain_ticks(axes)
        axes.set_title(title, fontsize="medium")
        axes.grid(axis="x", color="#e4e8ec", linewidth=0.8)
        axes.set_axisbelow(True)
    pair[0].set_yticks(range(len(names)), names)
    pair[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _worth_a_line(runs: Sequence[Finished]) -> list[Finished]:
    """Ours, and of the others those that keep the target at the least cost, or come nearest to it."""

    def rank(run: Finished) -> tuple[bool, float]:
        result = run.document["result"]
        kept = is_kept(run.document)
        return (not kept, result["cost"] if kept else -(judged_percent(run.document) or 0.0))

    own = [run for run in runs if run.document["policy"]["name"] == "fleet"]
    others = sorted((run for run in runs if run not in own), key=rank)
    return [*others[: _LINES_OVER_TIME - len(own)], *own]


def _colours(finished: Sequence[Finished]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every policy, the same in all pictures."""
    found: dict[str, tuple[str, str]] = {}
    for run in finished:
        name = _name(run.document)
        if name == "fleet":
            found[name] = (_OWN, "*")
        elif name.startswith("static"):
            found.setdefault(name, (_STATIC_TUNED, "D") if name.startswith("static-tuned") else (_STATIC, "s"))
        elif name not in found:
            place = sum(1 for colour, _ in found.values() if colour in _OTHERS)
            found[name] = (_OTHERS[place % len(_OTHERS)], _MARKERS[place % len(_MARKERS)])
    return found


def _figure(*, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _plain_ticks(axes: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _picture(figure: Any, caption: str) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    image = base64.b64encode(data.getvalue()).decode()
    shown = _wide(f'<img alt="{html.escape(caption)}" src="data:image/png;base64,{image}">')
    return f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _wide(content: str) -> str:
    return f'<div class="wide">{content}</div>'


# --- words ----------------------------------------------------------------------------------------------------------


def _nines(percent: float) -> float:
    return -math.log10(max(1e-5, 1 - percent / 100))


def _cost(runs: Sequence[Finished]) -> str:
    return f"cost, {runs[0].document['scenario']['costUnit']}"


def _name(document: Document) -> str:
    named = str(document["policy"]["name"]) + ("-tuned" if document["policy"]["tuned"] else "")
    return f"{named} on {document['accelerator']}" if "accelerator" in document else named


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
