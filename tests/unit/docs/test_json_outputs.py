"""The page on JSON outputs has the keys that the commands print, all of them and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builders.world import World
from inference_fleet.cli import explain_report, status_report, top_report
from inference_fleet.cli.demonstration.observation import FleetSample, Observations, ScaleEvent
from inference_fleet.cli.demonstration.summary import summarize
from inference_fleet.cli.deployment_view import DeploymentView, view
from inference_fleet.cli.main import run
from inference_fleet.load.judgement import Objectives

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reference/json-outputs.md").read_text(encoding="utf-8")


def shape(title: str) -> dict[str, Any]:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found: dict[str, Any] = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
    return found


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all keys; of a list, those of its elements."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}"
            yield from keys(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner, f"{path}[]")


def below(paths: set[str], *parents: str) -> set[str]:
    return {path for path in paths if any(re.match(re.escape(parent) + r"[.\[]", path) for parent in parents)}


def settled(**spec: Any) -> DeploymentView:
    world = World(**spec)
    world.settle()
    return view(world.deployment)


def refused() -> DeploymentView:
    world = World()
    world.settle()
    world.edit(engine={"vllm": {"version": "0.1.0"}})
    world.settle()
    return view(world.deployment)


def demonstration() -> dict[str, Any]:
    seen = Observations(
        objectives=Objectives(time_to_first_token_seconds=1.0, inter_token_latency_seconds=0.1),
        duration_seconds=2.0,
        overrun_p99=0.0,
    )
    seen.samples = [FleetSample(0.0, 1, 1, 0, 1.0, 1), FleetSample(1.0, 1, 1, 0, 1.0, 1)]
    seen.events = [ScaleEvent(1.0, "a", 1, 2, "Backlog", "many")]
    return summarize(seen, engine="emulated", rate_scale=1.0, seed=0, needed_peak=0, interrupted=False)


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def output(*arguments: str) -> dict[str, Any]:
        run(arguments)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return output


def test_plan(printed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    sample = (ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(sample.replace('version: "0.32.0"', 'version: "0.1.0"'), encoding="utf-8")
    fine = set(keys(printed("plan", "-f", str(ROOT / "manifests/samples/llama-8b.yaml"), "-o", "json")))
    refusals = below(set(keys(printed("plan", "-f", str(wrong), "-o", "json"))), ".results[].refusals")
    documented = set(keys(shape("plan")))
    # Warnings are written as refusals are.
    assert documented - below(documented, ".results[].warnings") == fine | refusals
    assert {path.replace("warnings", "refusals") for path in below(documented, ".results[].warnings")} == refusals


def test_status() -> None:
    assert set(keys(shape("status"))) == set(keys(status_report.status_report([settled()])))


def test_explain_and_top_add_to_status() -> None:
    report = explain_report.explain_report(refused())
    status = set(status_report.deployment_report(refused()))
    assert set(report) - status <= set(shape("explain"))
    assert set(keys(shape("explain")["hindrances"])) == set(keys(report["hindrances"]))
    assert set(shape("explain")["limits"]) == set(report["limits"])
    (one,) = top_report.top_report([settled()])["deployments"]
    assert set(one) - status == {"objectives", "scaling"}
    (objective,) = shape("explain")["objectives"]
    promise = {"name": "a", "metric": "InterTokenLatency", "thresholdMilliseconds": 75, "targetPercent": "99"}
    (shown,) = explain_report.explain_report(settled(objectives=[promise]))["objectives"]
    assert set(objective) == set(shown)


def test_demo() -> None:
    assert set(keys(shape("demo"))) == set(keys(demonstration()))


def test_engine_flags(printed: Callable[..., dict[str, Any]]) -> None:
    assert set(keys(shape("engine flags"))) == set(keys(printed("engine", "flags", "-o", "json")))


def test_engine_accelerators(printed: Callable[..., dict[str, Any]]) -> None:
    found = printed("engine", "accelerators", "-o", "json")
    # The types of an accelerator's peaks differ.
    paths = {path for path in keys(found) if ".denseTeraflops." not in path}
    assert set(keys(shape("engine accelerators"))) == paths


def test_sandbox_status() -> None:
    source = (ROOT / "operator/inference_fleet/sandbox/cluster.py").read_text(encoding="utf-8")
    body = source.partition("def status(self)")[2].partition("    def ")[0]
    assert {path.rpartition(".")[2] for path in keys(shape("sandbox status"))} == set(re.findall(r'"(\w+)":', body))


@pytest.mark.timeout(300)
def test_simulate_and_compare(printed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    trace = tmp_path / "small.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n" + "".join(f"{second},9,9\n" for second in range(120)))
    alone = ("--trace", str(trace), "--jobs", "1", "--max", "2", "--policy", "static", "-o", "json")
    documented = set(keys(shape("simulate and compare")))
    known = {".runs[]" + path for path in keys(printed("simulate", *alone))}
    # What tuning chose is each policy's own.
    chosen = below(known, ".runs[].policy.parameters")
    assert below(documented, ".runs[]") == (known - chosen) | {".runs[].accelerator"}
    compared = set(keys(printed("compare", *alone))) - chosen
    assert documented - compared == {".runs[].accelerator", ".runs[].priced"}
    assert compared <= documented
