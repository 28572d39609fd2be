"""The metric table is what real engines export, and nothing reads a family that is not in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from inference_fleet.adapters import prometheus
from inference_fleet.engine.metrics import (
    OBJECTIVE_FAMILIES,
    MetricFamily,
    metric_families,
    speculative_families,
    thresholds_seconds,
)
from inference_fleet.engine.versions import KNOWN_MINORS

PAGES = Path(__file__).parents[2] / "data" / "vllm-metrics"
RECORDED = ["0.32.0-cpu", "0.32.0-cpu-ngram-lora", "0.33.0-cpu-ngram"]


def page(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def agree(family: MetricFamily, recorded: dict[str, Any]) -> None:
    labels = {label for label in recorded["labels"] if label != "le"}
    buckets = tuple(edge for edge in recorded.get("buckets", ()) if edge != "+Inf")
    values = {label: set(found) for label, found in (recorded["values"] or {}).items() if label in family.closed}

    assert recorded["type"] == family.kind, family.name
    assert labels == set(family.labels), family.name
    assert buckets == family.buckets, family.name
    assert values == {label: set(closed) for label, closed in family.closed.items()}, family.name


@pytest.mark.parametrize("recorded", RECORDED)
def test_families_types_labels_values_and_buckets_are_those_of_the_recorded_page(recorded: str) -> None:
    found = page(recorded)

    for name, family in metric_families(recorded.rsplit(".", 1)[0]).items():
        agree(family, found[name])


@pytest.mark.parametrize("recorded", ["0.32.0-cpu-ngram-lora", "0.33.0-cpu-ngram"])
def test_speculation_brings_its_own_families(recorded: str) -> None:
    found = page(recorded)

    for name, family in speculative_families(recorded.rsplit(".", 1)[0]).items():
        agree(family, found[name])
        assert name not in page("0.32.0-cpu")


@pytest.mark.parametrize("minor", KNOWN_MINORS)
def test_what_the_scaler_asks_prometheus_for_is_exported_by_every_release(minor: str) -> None:
    asked = set(re.findall(r"vllm:[a-z_0-9]+", Path(prometheus.__file__).read_text(encoding="utf-8")))
    exported = {"vllm:cache_config_info"}
    for name, family in metric_families(minor).items():
        suffixes = ("_bucket", "_sum", "_count", "") if family.kind == "histogram" else ("",)
        exported |= {name + suffix for suffix in suffixes}

    assert asked
    assert asked <= exported


def test_every_objective_has_a_histogram_with_thresholds_in_ascending_order() -> None:
    for metric in OBJECTIVE_FAMILIES:
        edges = thresholds_seconds(metric)  # type: ignore[arg-type]
        assert list(edges) == sorted(set(edges))
        assert edges


def test_an_unknown_release_has_no_families() -> None:
    assert not metric_families("0.9")
    assert not speculative_families("0.9")
