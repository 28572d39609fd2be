"""The operator's own queries, asked of Prometheus' engine over series as scrapes leave them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from builders.recorded_prometheus import Recorded, recorded_prometheus
from inference_fleet.adapters.histogram_totals import histogram_query
from inference_fleet.adapters.prometheus import POD_QUERIES, PrometheusSignals
from inference_fleet.sandbox.tools import tool_path
from inference_fleet.sandbox.tools.progress import silent

AT = 1_780_000_000.0
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


async def test_pods_whose_samples_are_ahead_of_the_clock_are_found_with_their_time(tmp_path: Path) -> None:
    labels = {"namespace": "chat", "inference_deployment": "llama", "inference_variant": "a", "engine": "0"}
    # Of each pod a sample each 15 s for five minutes, the last so many seconds after the moment that is asked about.
    last = {"now": -5, "a minute": 60, "nearly five": 285, "more": 315, "ten": 595}
    samples = [
        Recorded("vllm:num_requests_running", {**labels, "pod": pod}, AT + ahead - back, 3.0)
        for pod, ahead in last.items()
        for back in range(0, 300, 15)
    ]
    with recorded_prometheus(tmp_path, samples) as url:
        signals = PrometheusSignals(url)
        fleet = await signals.sample(at=AT, promised=())
        await signals.close()
    assert fleet.problem is None
    seen = {pod: sample.sample_time for (_, pod), sample in fleet.pods.items()}
    assert seen == {pod: AT + ahead for pod, ahead in last.items()}
