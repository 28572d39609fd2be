"""The report of a demonstration: one HTML file with its plots inside."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from typing import Any, Final

from inference_fleet.cli.demonstration.observation import Observations
from inference_fleet.load.judgement import percentiles

_WINDOW_SECONDS: Final = 10.0
# Beside the plot, so that no line runs through it.
_ABOVE: Final[dict[str, Any]] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "ncols": 3}
_BLUE, _ORANGE, _GREY, _RED = "#2563eb", "#ea580c", "#94a3b8", "#dc2626"


def report_page(seen: Observations, summary: dict[str, Any]) -> str:
    """The page as text."""
    verdict = summary["verdict"]
    failures = "".join(f"<li>{html.escape(failure)}</li>" for failure in summary["failures"])
    rows = "".join(
        f"<tr><td>{_clock(event['atSeconds'])}</td><td>{html.escape(event['variant'])}</td>"
        f"<td>{event['from']} &rarr; {event['to']}</td>"
        f"<td>{html.escape(event['rule'])}</td><td>{html.escape(event['message'])}</td></tr>"
        for event in summary["scaleEvents"]
    )
    return _PAGE.format(
        verdict=verdict,
        headline=html.escape(headline(summary)),
        failures=f"<ul>{failures}</ul>" if failures else "",
        plot=plot_svg(seen),
        rows=rows,
        data=html.escape(json.dumps(summary, indent=2)),
    )


def headline(summary: dict[str, Any]) -> str:
    """The figures in one line."""
    requests, replicas = summary["requests"], summary["replicas"]
    attained = summary["attainmentPercent"]
    return (
        f"{requests['sent']:,} requests, {requests['failed']} failed, {requests['cut']} cut; attainment"
        f" {'-' if attained is None else f'{attained:.1f} %'}; replicas {replicas['min']} .. {replicas['max']}"
        f" (mean {replicas['mean']:.1f}); {summary['gpuSeconds']:,.0f} GPU-seconds"
    )


def plot_svg(seen: Observations) -> str:
    """Load, replicas and latency over time as one inline SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "inference-fleet"
    times = [sample.at_seconds for sample in seen.samples]
    figure, (load, replicas, latency) = pyplot.subplots(
        3, 1, figsize=(9, 6.6), sharex=True, height_ratios=(1, 1, 1.2), layout="constrained"
    )
    load.plot(times, [sample.requests_per_second for sample in seen.samples], color=_BLUE)
    load.set_ylabel("requests/s")
    load.set_ylim(bottom=0)
    replicas.step(times, [s.wanted for s in seen.samples], where="post", color=_ORANGE, label="wanted")
    replicas.step(times, [s.ready for s in seen.samples], where="post", color=_BLUE, label="ready")
    replicas.set_ylabel("replicas")
    replicas.set_ylim(bottom=0)
    replicas.legend(**_ABOVE)
    windows, p50, p95 = _latency(seen)
    latency.plot(windows, p95, color=_ORANGE, label="first token p95")
    latency.plot(windows, p50, color=_BLUE, label="first token p50")
    if seen.objectives.time_to_first_token_seconds is not None:
        latency.axhline(seen.objectives.time_to_first_token_seconds, color=_RED, linestyle="--", label="objective")
    latency.set_ylabel("seconds")
    latency.set_ylim(bottom=0)
    latency.set_xlabel("seconds since the load began")
    latency.legend(**_ABOVE)
    for axes in (load, replicas, latency):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(visible=True, color=_GREY, alpha=0.25)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _latency(seen: Observations) -> tuple[list[float], list[float], list[float]]:
    """Middle of each window, and p50 and p95 of time to first token of the requests sent in it."""
    windows: list[float] = []
    p50: list[float] = []
    p95: list[float] = []
    end = max((outcome.sent_seconds for outcome in seen.outcomes), default=0.0)
    start = 0.0
    while start <= end:
        sent = [o for o in seen.outcomes if start <= o.sent_seconds < start + _WINDOW_SECONDS]
        figures = percentiles(outcome.time_to_first_token_seconds for outcome in sent)
        if figures.p50 is not None and figures.p95 is not None:
            windows.append(start + _WINDOW_SECONDS / 2)
            p50.append(figures.p50)
            p95.append(figures.p95)
        start += _WINDOW_SECONDS
    return windows, p50, p95


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>inference-fleet demo: {verdict}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #0f172a }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: .25rem .5rem;
border-bottom: 1px solid #e2e8f0; vertical-align: top }} svg {{ width: 100%; height: auto }}
pre {{ background: #f8fafc; padding: 1rem; overflow: auto; font-size: 12px }}
.wide {{ overflow-x: auto }}
/* On a phone the reason of a decision has a line of its own, and the plot keeps a size at which it can be read. */
@media (max-width: 45rem) {{ body {{ margin: 1rem auto }} svg {{ width: 44rem }} .decisions th {{ display: none }}
.decisions tr {{ display: flex; flex-wrap: wrap; border-bottom: 1px solid #e2e8f0 }} .decisions td {{ border: 0 }}
.decisions td:last-child {{ flex-basis: 100% }} }}
.passed {{ color: #15803d }} .failed {{ color: #b91c1c }} .invalid {{ color: #b45309 }}
</style></head><body>
<h1>Demonstration: <span class="{verdict}">{verdict}</span></h1>
<p>{headline}</p>{failures}
<div class="wide">{plot}</div>
<h2>Decisions</h2>
<table class="decisions"><tr><th>at</th><th>variant</th><th>replicas</th><th>rule</th><th>why</th></tr>{rows}</table>
<h2>Summary</h2><pre>{data}</pre>
</body></html>
"""

__all__: Sequence[str] = ("headline", "plot_svg", "report_page")
