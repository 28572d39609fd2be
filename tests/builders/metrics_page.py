"""Reads a `/metrics` page down to what must be equal on two engines: families, types, labels, closed sets, buckets.

`python tests/builders/metrics_page.py PAGE` prints the skeleton of a recorded page as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

# Labels whose values depend on the machine or the traffic, not on the engine's vocabulary.
_OPEN_LABELS = {"model_name", "engine", "le", "handler", "method", "status", "generation"}
_OPEN_FAMILIES = {"python_info", "vllm:cache_config_info", "vllm:lora_requests_info"}


def samples(page: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Values by sample name and sorted labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(page: str, name: str, **labels: str) -> float:
    """The one value of `name` whose labels include `labels`."""
    matching = [v for have, v in samples(page)[name].items() if set(labels.items()) <= set(have)]
    assert len(matching) == 1, f"{len(matching)} series of {name} match {labels}"
    return matching[0]


def skeleton(page: str) -> dict[str, Any]:
    """{sample family: {type, labels, values, buckets}} of a page; `_created` gauges count as families."""
    types: dict[str, str] = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
    by_name = samples(page)
    found: dict[str, Any] = {}
    for name, kind in types.items():
        sample_name = f"{name}_bucket" if kind == "histogram" else f"{name}_count" if kind == "summary" else name
        series = [dict(labels) for labels in by_name.get(sample_name, {})]
        entry: dict[str, Any] = {"type": kind, "labels": sorted({label for labels in series for label in labels})}
        if name not in _OPEN_FAMILIES:
            entry["values"] = {
                label: sorted({labels[label] for labels in series if label in labels})
                for label in entry["labels"]
                if label not in _OPEN_LABELS
            }
        if kind == "histogram":
            entry["buckets"] = sorted({float(labels["le"]) for labels in series})
            entry["buckets"] = [edge if edge != float("inf") else "+Inf" for edge in entry["buckets"]]
        found[name] = entry
    return found


if __name__ == "__main__":
    print(json.dumps(skeleton(Path(sys.argv[1]).read_text(encoding="utf-8")), indent=1, sort_keys=True))
