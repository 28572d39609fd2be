"""The recording rules and alerts do what their pages say, judged by Prometheus' own rule tester."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.sandbox.tools import tool_path
from inference_fleet.sandbox.tools.progress import silent

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
RULES = ROOT / "manifests/monitoring/rules.yaml"


@pytest.fixture(scope="module")
def promtool() -> Path:
    return tool_path("promtool", kubernetes_version="1.37.1", progress=silent)


def test_rules_are_valid_and_say_what_they_promise(promtool: Path) -> None:
    checked = subprocess.run([promtool, "check", "rules", "--lint-fatal", RULES], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = subprocess.run(
        [promtool, "test", "rules", Path(__file__).with_name("rules_test.yaml")], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("Inference*.md")}
    assert {alert["alert"] for alert in alerts()} == pages


def test_every_alert_leads_to_its_runbook() -> None:
    for alert in alerts():
        name, address = alert["alert"], alert["annotations"]["runbook_url"]
        assert address.endswith(f"/docs/runbooks/{name}.md")
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n")
        assert [part for part in ("**Meaning**", "**Look**", "**Do**") if part not in page] == [], name


def test_every_alert_is_seen_to_fire() -> None:
    tested = yaml.safe_load(Path(__file__).with_name("rules_test.yaml").read_text(encoding="utf-8"))["tests"]
    cases = [case for test in tested for case in test.get("alert_rule_test", ())]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {alert["alert"] for alert in alerts()}


def test_prometheus_reads_every_query_of_every_dashboard(promtool: Path, tmp_path: Path) -> None:
    variables = {"$__rate_interval": "5m", "$namespace": "chat", "$deployment": "llama"}
    rules = []
    for path in sorted((ROOT / "manifests/monitoring/dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in variables.items():
                    query = query.replace(name, value)
                assert "$" not in query
                rules.append({"record": f"dashboard:query{len(rules)}", "expr": query})
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}), encoding="utf-8")
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
