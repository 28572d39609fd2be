"""GitHub's workflows do what `make` does here, and hold nothing that their linter warns of."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
WORKFLOWS: Final = sorted((ROOT / ".github/workflows").glob("*.yaml"))
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def commands(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


def test_the_linter_has_nothing_to_say() -> None:
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    done = subprocess.run(
        (zizmor, "--offline", "--no-progress", ".github/workflows"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_targets_exist_and_no_job_runs_for_ever(path: Path) -> None:
    targets = [words.split()[1] for words in commands(path) if words.startswith("make ")]
    assert targets
    for target in targets:
        assert re.search(rf"^{target}( [a-z-]+)*:", MAKEFILE, re.MULTILINE), f"make {target}"
    assert all(job["timeout-minutes"] <= 90 for job in jobs(path).values())


def test_what_runs_on_each_change_is_make_test() -> None:
    assert "make test" in commands(ROOT / ".github/workflows/test.yaml")
