"""Rules, dashboards and autoscaling samples name only series that somebody exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.adapters import prometheus
from inference_fleet.adapters.histogram_totals import RETURNED_QUERY, departures_query, histogram_query
from inference_fleet.engine.metrics import OBJECTIVE_FAMILIES
from inference_fleet.engine.versions import KNOWN_MINORS

ROOT = Path(__file__).resolve().parents[3]
RULES = ROOT / "manifests/monitoring/rules.yaml"
DASHBOARDS = sorted((ROOT / "manifests/monitoring/dashboards").glob("*.json"))
RECORDED = ROOT / "tests/data/vllm-metrics"
REFERENCE = ROOT / "docs/reference/metrics.md"
# Prometheus' own.
FROM_PROMETHEUS = {"up"}
WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}


def names(expression: str) -> set[str]:
    """The series that a PromQL expression reads."""
    rest = re.sub(r'"[^"]*"', "", expression)
    rest = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", rest)
    rest = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", rest)
    found = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", rest)
    return {name for name in found if name.lower() not in WORDS}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries(path: Path) -> Iterator[str]:
    board = json.loads(path.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for choice in board["templating"]["list"]:
        if choice["type"] == "query":
            series = re.fullmatch(r"label_values\((.+), \w+\)", choice["query"]["query"])
            assert series, choice
            yield series.group(1)


def ours() -> set[str]:
    """What the operator exports, by the generated page; histograms by their three series; and what rules record."""
    page = REFERENCE.read_text(encoding="utf-8").partition("## Engines")[0]
    found = set()
    for name, kind in re.findall(r"^\| `([a-z_]+)` \| (\w+) \|", page, re.MULTILINE):
        found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")} if kind == "histogram" else {name}
    return found | {rule["record"] for rule in rules() if "record" in rule}


def engines(minor: str) -> set[str]:
    """What the recorded pages of a release have, whatever the engine's settings were."""
    found = set()
    for path in RECORDED.glob(f"{minor}.*.json"):
        for name, family in json.loads(path.read_text(encoding="utf-8")).items():
            parts = ("_bucket", "_sum", "_count") if family["type"] == "histogram" else ("",)
            found |= {name + part for part in parts}
    return found


SOURCES = {
    "rules": lambda: [rule["expr"] for rule in rules()],
    **{path.stem: lambda path=path: list(queries(path)) for path in DASHBOARDS},
    "scaler": lambda: [
        *prometheus.POD_QUERIES.values(),
        prometheus.KV_CACHE_TOKENS_QUERY,
        RETURNED_QUERY,
        *(histogram_query(metric, [1.0]) for metric in OBJECTIVE_FAMILIES),
        *(departures_query(metric, [1.0], milliseconds=15_000) for metric in OBJECTIVE_FAMILIES),
    ],
}


@pytest.mark.parametrize("minor", KNOWN_MINORS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_series_that_is_read_is_exported_by_every_release_or_by_the_operator(source: str, minor: str) -> None:
    exported = ours() | engines(minor) | FROM_PROMETHEUS
    read = {name for expression in SOURCES[source]() for name in names(expression)}
    assert read
    assert read - exported == set()


def test_names_are_found_among_functions_labels_and_ranges() -> None:
    expression = (
        'sum by (namespace, le) (rate(vllm:x_bucket{engine="0", a=~"b|c"}[5m])) / on (le) group_left () (1e6 * y)'
        " > bool 3 unless absent(up == 1) or z offset 5m and histogram_quantile(0.9, q_bucket[1h:30s])"
    )
    assert names(expression) == {"vllm:x_bucket", "y", "up", "z", "q_bucket"}


def test_no_two_dashboards_share_a_uid_and_no_two_panels_a_title() -> None:
    boards = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 4
    for board in boards:
        titles = [panel["title"] for panel in board["panels"]]
        assert len(set(titles)) == len(titles)
