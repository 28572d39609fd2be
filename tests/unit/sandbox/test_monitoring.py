from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.sandbox import monitoring

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "scrape-engines.md"


@pytest.fixture
def config() -> dict[str, Any]:
    return monitoring.prometheus_config(
        scrape_interval_seconds=2.5, authority=Path("/ca"), client=(Path("/crt"), Path("/key"))
    )


def _target(job: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str] | None:
    """What relabelling makes of a discovered pod's port; None where it is no target. The actions used here only."""
    found = dict(labels)
    for rule in job["relabel_configs"]:
        value = ";".join(found.get(label, "") for label in rule["source_labels"])
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        match rule.get("action", "replace"):
            case "keep" if not matches:
                return None
            case "drop" if matches:
                return None
            case "replace":
                found[rule["target_label"]] = value
    return {name: value for name, value in found.items() if not name.startswith("__") and value}


def _pod(**changes: str) -> dict[str, str]:
    meta = "__meta_kubernetes_pod_"
    labels = {
        "__meta_kubernetes_namespace": "chat",
        f"{meta}name": "llama-abc-x1",
        f"{meta}phase": "Running",
        f"{meta}container_name": "engine",
        f"{meta}container_port_name": "http",
        f"{meta}labelpresent_inferencefleet_io_deployment": "true",
        f"{meta}label_inferencefleet_io_deployment": "llama",
        f"{meta}label_inferencefleet_io_variant": "l40s",
        f"{meta}label_inferencefleet_io_revision": "abcdefghij",
    }
    return {**labels, **{meta + name: value for name, value in changes.items()}}


def test_an_engine_pods_series_say_whose_they_are(config: dict[str, Any]) -> None:
    assert _target(config["scrape_configs"][0], _pod()) == {
        "namespace": "chat",
        "pod": "llama-abc-x1",
        "inference_deployment": "llama",
        "inference_variant": "l40s",
        "inference_revision": "abcdefghij",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"labelpresent_inferencefleet_io_deployment": ""},
        {"container_name": "side-car"},
        {"container_port_name": "admin"},
        {"phase": "Failed"},
        {"phase": "Pending"},
    ],
)
def test_nothing_else_is_scraped_as_an_engine(config: dict[str, Any], changes: dict[str, str]) -> None:
    assert _target(config["scrape_configs"][0], _pod(**changes)) is None


def test_the_operators_own_labels_win(config: dict[str, Any]) -> None:
    job = config["scrape_configs"][1]
    assert job["honor_labels"] is True
    operator = _pod(label_app_kubernetes_io_name="inference-fleet", container_name="operator")
    assert _target(job, operator) == {"namespace": "chat", "pod": "llama-abc-x1"}
    assert _target(job, _pod()) is None


def test_the_interval_is_the_one_asked_for(config: dict[str, Any]) -> None:
    assert config["global"] == {"scrape_interval": "2500ms", "scrape_timeout": "2500ms"}


def test_the_how_to_shows_the_same_rules(config: dict[str, Any]) -> None:
    block = re.search(r"```yaml\n(scrape_configs:.*?)```", HOW_TO.read_text(), re.DOTALL)
    assert block is not None
    shown = yaml.safe_load(block.group(1))["scrape_configs"]
    for job, ours in zip(shown, config["scrape_configs"], strict=True):
        assert job["job_name"] == ours["job_name"]
        assert job["relabel_configs"] == ours["relabel_configs"]
        assert job.get("honor_labels") == ours.get("honor_labels")
