"""The recording rules and alerts do what their pages say, judged by Prometheus' own rule tester."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from inference_fleet.sandbox.tools import tool_path
from inference_fleet.sandbox.tools.progress import silent

ROOT = Path(__file__).resolve().parents[2]
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


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    pages = {page.stem for page in (ROOT / "docs/runbooks").glob("Inference*.md")}
    assert alerts == pages
