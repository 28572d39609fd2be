"""`simulate` and `compare`: documents, tables, refusals, exit statuses."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.cli.compare import goals_missed
from inference_fleet.cli.main import EXIT_GOAL_MISSED, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, run
from inference_fleet.cli.simulation_offer import offer_of
from inference_fleet.engine.catalogue import built_in_accelerators

ROOT = Path(__file__).parents[3]
SMALL = ("--jobs", "1", "--max", "4", "--start", "2")

# The loop is compiled at its first use.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "small.csv"
    rows = "\n".join(f"{second * 0.5},200,20" for second in range(1200))
    file.write_text(f"arrival_s,input_tokens,output_tokens\n{rows}\n")
    return file


def json_of(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, Any]:
    status = run([*argv, *SMALL, "-o", "json"])
    return status, json.loads(capsys.readouterr().out)


def test_simulate_answers_with_its_document(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = json_of(capsys, "simulate", "--trace", str(trace))
    assert status == EXIT_OK
    assert document["schemaVersion"] == "inference-fleet/simulate/v1"
    assert document["scenario"]["trace"] == "small"
    assert document["policy"] == {"name": "fleet", "tuned": False, "parameters": {}}
    result = document["result"]
    assert (result["sent"], result["completed"], result["failed"]) == (1200, 1200, 0)
    assert result["attainmentPercent"] == 100.0


def test_simulate_takes_the_promise_from_a_deployment(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = ROOT / "manifests/samples/llama-8b.yaml"
    _, document = json_of(capsys, "simulate", "--trace", str(trace), "-f", str(sample))
    assert [each["metric"] for each in document["scenario"]["objectives"]] == ["TimeToFirstToken", "InterTokenLatency"]


def test_targets_that_differ_are_said_to_be_judged_as_one(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = ROOT / "manifests/samples/llama-8b.yaml"
    spec = yaml.safe_load(sample.read_text(encoding="utf-8"))
    files = []
    for target in ("99", "90"):
        spec["spec"]["objectives"][0].update(targetPercent="99")
        spec["spec"]["objectives"][1].update(targetPercent=target)
        files.append(tmp_path / f"of-{target}.yaml")
        files[-1].write_text(yaml.safe_dump(spec))
    words = "judged      as one promise, though targets differ: every threshold, by 99 %"
    run(["simulate", "--trace", str(trace), "-f", str(files[0]), *SMALL])
    assert words not in capsys.readouterr().out
    run(["simulate", "--trace", str(trace), "-f", str(files[1]), *SMALL])
    assert words in capsys.readouterr().out


def test_simulate_takes_the_window_from_a_deployment(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = (ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8")
    hourly = tmp_path / "hourly.yaml"
    hourly.write_text(sample.replace("    thresholdMilliseconds:", "    windowHours: 1\n    thresholdMilliseconds:"))
    _, document = json_of(capsys, "simulate", "--trace", str(trace), "-f", str(hourly))
    assert {each["windowHours"] for each in document["scenario"]["objectives"]} == {1}


def test_without_objectives_the_answer_says_what_is_scaled_for(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = yaml.safe_load((ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8"))
    del deployment["spec"]["objectives"]
    file = tmp_path / "saturation.yaml"
    file.write_text(json.dumps(deployment))
    assert run(["simulate", "--trace", str(trace), "-f", str(file), *SMALL]) == EXIT_OK
    words = "no objective, 100.00 % served; scaled as for 99 % within 2.5 s to the first token and 200 ms a token, with"
    assert words in capsys.readouterr().out.splitlines()[0]


def test_a_deployments_limits_of_the_queue_are_simulated(tmp_path: Path) -> None:
    deployment = yaml.safe_load((ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8"))
    deployment["spec"]["engine"]["vllm"]["batching"] = {"maxNumQueuedReqs": 7, "maxNumQueuedTokens": 8000}
    file = tmp_path / "limited.yaml"
    file.write_text(yaml.safe_dump(deployment))
    (_, limited, _), *_ = offer_of(str(file)).engines()
    assert (limited.max_num_queued_reqs, limited.max_num_queued_tokens) == (7, 8000)
    (_, unlimited, _), *_ = offer_of(str(ROOT / "manifests/samples/llama-8b.yaml")).engines()
    assert unlimited.max_num_queued_reqs is unlimited.max_num_queued_tokens is None


def test_a_cost_has_its_unit(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = (ROOT / "manifests/samples/llama-8b.yaml").read_text(encoding="utf-8")
    assert run(["simulate", "--trace", str(trace), "-f", str(priced(tmp_path, sample)), *SMALL]) == EXIT_OK
    (cost,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  cost ")]
    assert re.fullmatch(r"  cost        \d+\.\d\d EUR \(\d+\.\d\d replica-hours\)", cost)
    argv = ["compare", "--trace", str(trace), "--policy", "static", *SMALL]
    assert run([*argv, "-f", str(priced(tmp_path, sample))]) == EXIT_OK
    assert "\ncost: EUR; a replica costs" in capsys.readouterr().out
    assert run([*argv, "--report", str(tmp_path / "r.html")]) == EXIT_OK
    assert "\ncost: replica-hours; a replica costs" in capsys.readouterr().out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<th>cost, replica-hours</th>" in page
    assert "<th>times the optimum</th>" in page
    assert "a fleet that knew the traffic beforehand" in page


def priced(folder: Path, deployment: str) -> Path:
    """The deployment beside a class of its own with a price."""
    h100 = built_in_accelerators()["nvidia-h100-80gb"]
    spec = {**h100["spec"], "cost": {"perDeviceHour": "3.5", "currency": "EUR"}}
    file = folder / "priced.yaml"
    file.write_text(yaml.safe_dump({**h100, "spec": spec}) + "---\n" + deployment)
    return file


def test_every_seed_is_a_run(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, documents = json_of(capsys, "simulate", "--trace", str(trace), "--seeds", "2", "--policy", "hpa-concurrency")
    assert [document["scenario"]["seed"] for document in documents] == [0, 1]


def test_a_table_says_what_was_kept(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--trace", str(trace), "--policy", "static", "--replicas", "2", *SMALL]) == EXIT_OK
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "small: promise kept, 100.00 % of 99 %, with 2.00 replicas on average (static)"
    assert "  traffic     1,200 requests in 10 min (smooth), seed 0" in rest
    assert "  replicas    2 at first, at most 2; 0 changes, 0 turns between up and down" in rest
    # No class, no price: hours are all that can be said.
    assert [line for line in rest if "cost" in line] == ["  cost        0.33 replica-hours"]
    assert any(line.startswith("  first token p50 ") and line.endswith("(2.50 s promised)") for line in rest)


def test_a_trace_of_one_request_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "one.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n5,100,20\n")
    assert run(["simulate", "--trace", str(trace), "--policy", "static", *SMALL]) == EXIT_OK
    assert "  traffic     1 request in 5 s (smooth), seed 0" in capsys.readouterr().out.splitlines()


def test_a_broken_promise_stands_in_the_first_line(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["simulate", "--trace", str(trace), "--policy", "static", "--replicas", "1", "--first-token", "0.001"]
    assert run([*argv, *SMALL]) == EXIT_OK
    assert capsys.readouterr().out.startswith("small: promise MISSED, 0.00 % of 99 %")


def test_what_was_repaired_in_a_trace_is_said_beside_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "odd.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,10,10\n1,0,10\n")
    assert run(["simulate", "--trace", str(trace), "-o", "json", "--seeds", "2", *SMALL]) == EXIT_OK
    said = capsys.readouterr()
    remark = "1 of 2 requests have no prompt or no output tokens (first in line 3): counted as one token"
    assert said.err == f"{trace}: {remark}\n"
    assert [each["scenario"]["traceRemarks"] for each in json.loads(said.out)] == [[remark], [remark]]


def test_a_promise_of_every_hour_is_judged_by_the_worst_hour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "late.csv"
    # Two hours, and in the last minutes prompts that take longer than is promised.
    rows = [f"{second},{400 if second < 6900 else 8000},5" for second in range(0, 7200, 10)]
    trace.write_text("arrival_s,input_tokens,output_tokens\n" + "\n".join(rows))
    argv = ["simulate", "--trace", str(trace), "--policy", "static", "--replicas", "1", "--first-token", "0.5"]
    assert run([*argv, "--target", "95"]) == EXIT_OK
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("late: promise kept, 95.45 % of 95 %, with 1.00 replicas")
    assert any(line.startswith("  promise     95.45 % of all; worst hour 91.") for line in rest)
    assert run([*argv, "--target", "95", "--window-hours", "1"]) == EXIT_OK
    assert capsys.readouterr().out.startswith("late: promise MISSED, 91.")


def test_tables_and_pictures_of_a_report_can_be_read_on_a_phone(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.html"
    assert run(["simulate", "--trace", str(trace), "--policy", "static", "--report", str(report), *SMALL]) == EXIT_OK
    page = report.read_text(encoding="utf-8")
    assert 'name="viewport"' in page
    wide = '<div class="wide">'
    assert page.count("<table>") == page.count(f"{wide}<table>") == 1
    assert page.count("<img ") == page.count(f"{wide}<img ") == 2
    capsys.readouterr()


def test_a_report_that_cannot_be_written_is_said_before_the_runs(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["simulate", "--trace", str(trace), "--report"]
    assert run([*argv, str(tmp_path / "none/r.html")]) == EXIT_USAGE
    assert f"there is no folder {tmp_path}/none" in capsys.readouterr().err
    assert run([*argv, str(tmp_path)]) == EXIT_USAGE


def test_a_single_run_is_reported_without_a_picture_of_one_point(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "r.html"
    argv = ["simulate", "--trace", str(trace), "--policy", "static", "--replicas", "1", "--report", str(report)]
    assert run([*argv, *SMALL]) == EXIT_OK
    assert report.read_text().count("data:image/png") == 2
    assert capsys.readouterr().err == f"report: {report}\n"


def test_a_scenario_file_sets_options(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(f"trace: {trace}\nrate-scale: 2\nseed: 3\n")
    _, document = json_of(capsys, "simulate", "--scenario", str(scenario))
    assert document["scenario"]["rateScale"] == 2
    assert document["scenario"]["requests"] == 2400
    assert document["scenario"]["seed"] == 3


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["simulate", "--policy", "guess"], EXIT_USAGE),
        (["simulate", "--replicas", "2"], EXIT_USAGE),
        (["simulate", "--shape", "guess"], EXIT_USAGE),
        (["simulate", "--min", "5", "--max", "4", "--duration", "60"], EXIT_USAGE),
        (["simulate", "--trace", "/none.csv"], EXIT_USAGE),
        (["simulate", "--scenario", "/none.yaml"], 1),
        (["compare", "--policy", "guess"], EXIT_USAGE),
        (["compare", "--policy", "fleet-tuned"], EXIT_USAGE),
    ],
)
def test_wrong_use_is_refused(argv: list[str], status: int) -> None:
    assert run(argv) == status


def test_a_bad_row_is_named_by_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("arrival_s,input_tokens,output_tokens\n1,1,1\nx,1,1\n")
    assert run(["simulate", "--trace", str(bad)]) == 1
    assert "bad.csv:3:" in capsys.readouterr().err


def test_a_refused_spec_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "infd.yaml"
    spec.write_text(
        "apiVersion: inferencefleet.io/v1alpha1\nkind: InferenceDeployment\nmetadata: {name: a}\nspec: {}\n"
    )
    assert run(["simulate", "-f", str(spec)]) == EXIT_REFUSED


def test_compare_sets_policies_against_the_optimum(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    status, document = json_of(
        capsys,
        "compare",
        "--trace",
        str(trace),
        "--policy",
        "static-tuned",
        "--policy",
        "fleet",
        "--report",
        str(report),
    )
    assert status == EXIT_OK
    assert document["schemaVersion"] == "inference-fleet/compare/v1"
    assert document["optimum"][0]["frontier"][-1]["attainmentPercent"] == 100.0
    everywhere = {row["policy"]: row for row in document["summary"] if row["traceClass"] == "all"}
    # One replica is enough: the best static fleet is the optimum but for what runs at the start.
    assert everywhere["static"]["ratioGeomean"] == pytest.approx(1.0, abs=0.4)
    assert everywhere["static"]["tuned"]
    page = report.read_text()
    # Cost against attainment, the course of the fleet, latencies; nothing is fetched from elsewhere.
    assert page.count("data:image/png") == 3
    assert "http" not in page


def test_a_missed_target_is_a_missed_goal_only_where_the_optimum_keeps_it() -> None:
    def document(best: float) -> dict[str, Any]:
        run_ = {
            "scenario": {"trace": "t", "seed": 0, "objectives": [{"target": 0.99}]},
            "policy": {"name": "fleet"},
            "result": {"attainmentPercent": 98.0},
        }
        frontier = [{"attainmentPercent": best, "cost": 1.0}]
        return {"runs": [run_], "optimum": [{"trace": "t", "seed": 0, "frontier": frontier}]}

    assert goals_missed(document(99.5)) == ["missed: fleet kept 98.00 % of 99 % on t, seed 0"]
    assert goals_missed(document(98.5)) == []
    assert EXIT_GOAL_MISSED == 3


def test_accelerators_stand_side_by_side(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = ROOT / "manifests/samples/llama-8b.yaml"
    argv = ["simulate", "--trace", str(trace), "-f", str(sample), "--accelerator", "nvidia-l4=0.8"]
    argv += ["--accelerator", "nvidia-h100-80gb=3", "--accelerator", "nvidia-t4"]
    assert run([*argv, *SMALL]) == EXIT_OK
    head, l4, h100, t4, *_ = capsys.readouterr().out.splitlines()
    assert head.startswith("accelerator")
    # The light load fits both; the cheaper one stands first.
    assert l4.startswith("nvidia-l4 ")
    assert h100.startswith("nvidia-h100-80gb ")
    assert "refused" in t4
    _, documents = json_of(capsys, *argv)
    assert [each["accelerator"] for each in documents] == ["nvidia-l4", "nvidia-h100-80gb", "nvidia-t4"]
    assert documents[0]["result"]["cost"] < documents[1]["result"]["cost"]
    assert "bfloat16" in documents[2]["refusal"] or documents[2]["refusal"]


def test_a_class_without_a_price_is_not_ranked_by_cost(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = ROOT / "docs/tutorials/first-model.yaml"
    # Counted as 1 an hour it would be the cheaper one.
    argv = ["--accelerator", "nvidia-h100-80gb", "--accelerator", "nvidia-l4=9"]
    assert run(["simulate", "--trace", str(trace), "-f", str(sample), *argv, *SMALL]) == EXIT_OK
    _, l4, h100, _, note = capsys.readouterr().out.splitlines()
    assert l4.startswith("nvidia-l4 ")
    assert h100.split()[0] == "nvidia-h100-80gb"
    assert h100.split()[-2:] == ["-", "-"]
    assert "no cost where the class has no price" in note


@pytest.mark.parametrize(
    "argv",
    [
        ["--accelerator", "nvidia-l4"],
        ["-f", "SAMPLE", "--accelerator", "none"],
        ["-f", "SAMPLE", "--accelerator", "cpu=x"],
    ],
)
def test_an_accelerator_needs_a_deployment_a_class_and_a_price(argv: list[str], trace: Path) -> None:
    sample = str(ROOT / "manifests/samples/llama-8b.yaml")
    said = [sample if each == "SAMPLE" else each for each in argv]
    assert run(["simulate", "--trace", str(trace), *said]) == EXIT_USAGE


def test_traces_are_joined_day_after_day(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("simulate", "--trace", str(trace), "--trace", str(trace), "--join", "--policy", "static", "--replicas", "1")
    _, document = json_of(capsys, *argv)
    assert document["scenario"]["requests"] == 2400
    assert document["scenario"]["spanSeconds"] == pytest.approx(86_400 + 599.5)


def test_every_key_of_the_answer_is_in_camel_case(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def keys(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(key for each in value.values() for key in keys(each))]
        return [key for each in value for key in keys(each)] if isinstance(value, list) else []

    _, document = json_of(capsys, "simulate", "--trace", str(trace), *SMALL)
    assert {"thresholdSeconds", "perPrefillTokenSeconds"} <= set(keys(document))
    assert [key for key in keys(document) if "_" in key] == []


@pytest.mark.parametrize("name", ["simulate", "compare"])
def test_who_watches_is_told_at_once_that_traffic_is_read(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run([name, "--policy", "nobody"]) == EXIT_USAGE
    assert capsys.readouterr().err.startswith("reading traffic...")
