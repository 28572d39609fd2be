"""The operator's own queries, asked of Prometheus' engine over series as scrapes leave them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from inference_fleet.adapters.histogram_totals import histogram_query
from inference_fleet.adapters.prometheus import POD_QUERIES
from inference_fleet.sandbox.tools import tool_path
from inference_fleet.sandbox.tools.progress import silent

VARIANT = 'namespace="chat", inference_deployment="llama", inference_variant="a"'


def series(name: str, value: int, **labels: str) -> dict[str, str]:
    said = ", ".join(f'{key}="{text}"' for key, text in labels.items())
    return {"series": f"{name}{{{VARIANT}, {said}}}", "values": f"{value}x4"}


def answered(folder: Path, query: str, found: list[dict[str, str]], *, labels: str, value: int) -> str:
    """What promtool says against the answer; empty if it is the one."""
    test = {
        "input_series": found,
        "interval": "15s",
        "promql_expr_test": [
            {"expr": query, "eval_time": "30s", "exp_samples": [{"labels": f"{{{labels}}}", "value": value}]}
        ],
    }
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": [], "tests": [test]}))
    promtool = tool_path("promtool", kubernetes_version="1.37.1", progress=silent)
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("twice", ["job", "instance", "prometheus_replica", "replica"])
def test_a_pod_that_is_reported_twice_counts_once_and_its_cores_are_added_up(tmp_path: Path, twice: str) -> None:
    found = [
        series("vllm:num_requests_running", 3 + core, pod="p", engine=str(core), **{twice: who})
        for core in (0, 1)
        for who in ("one", "two")
    ]
    labels = 'namespace="chat", pod="p"'
    assert answered(tmp_path, POD_QUERIES["running"], found, labels=labels, value=7) == ""


@pytest.mark.parametrize("twice", ["job", "prometheus_replica"])
def test_finished_requests_of_all_reasons_are_added_up_once(tmp_path: Path, twice: str) -> None:
    found = [
        series("vllm:request_success_total", count, pod="p", engine="0", finished_reason=reason, **{twice: who})
        for reason, count in (("stop", 5), ("length", 2))
        for who in ("one", "two")
    ]
    labels = 'namespace="chat", pod="p"'
    assert answered(tmp_path, POD_QUERIES["finished_requests"], found, labels=labels, value=7) == ""


@pytest.mark.parametrize("twice", ["job", "prometheus_replica"])
def test_a_histogram_is_added_up_over_pods_and_not_over_those_who_report_it(tmp_path: Path, twice: str) -> None:
    found = [
        series("vllm:time_to_first_token_seconds_bucket", 4, pod=pod, engine="0", le="1.0", **{twice: who})
        for pod in ("p", "q")
        for who in ("one", "two")
    ]
    labels = f'{VARIANT}, le="1.0"'
    assert answered(tmp_path, histogram_query("TimeToFirstToken", [1.0]), found, labels=labels, value=8) == ""
