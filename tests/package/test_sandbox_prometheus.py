from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from inference_fleet.sandbox import monitoring
from inference_fleet.sandbox.tools import tool_path


def test_prometheus_accepts_the_sandboxs_configuration(tmp_path: Path) -> None:
    for name in ("ca", "crt", "key"):
        (tmp_path / name).touch()
    config = monitoring.prometheus_config(
        scrape_interval_seconds=2.5, authority=tmp_path / "ca", client=(tmp_path / "crt", tmp_path / "key")
    )
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    command = (tool_path("promtool"), "check", "config", "--syntax-only", path)
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
