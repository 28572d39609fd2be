"""The data file of each release against that release: its words, its defaults, and every single number."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders.release_data import disagreements, numbers, with_another_number
from builders.vllm_validator import newer_release
from inference_fleet.cli.engine_description import ProbeFailure, difference, probe
from inference_fleet.engine import data
from inference_fleet.sandbox.real_engine import find_real_engine

FACTS = Path(__file__).with_name("release_facts.py")


@dataclass(frozen=True)
class Release:
    document: Mapping[str, Any]
    description: Mapping[str, Any]
    facts: Mapping[str, Any]


@pytest.fixture(scope="module", params=["installed", "newest"])
def release(request: pytest.FixtureRequest) -> Release:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    version, folder = (engine.version, None) if request.param == "installed" else newer_release()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_TARGET_DEVICE", "cpu")
        if folder is not None:
            patch.setenv("PYTHONPATH", str(folder))
        description = probe(str(engine.python))
        asked = subprocess.run(
            [str(engine.python), str(FACTS)], capture_output=True, text=True, env=dict(os.environ), check=False
        )
    assert not isinstance(description, ProbeFailure), description.message
    assert asked.returncode == 0, asked.stderr[-2000:]
    file = Path(data.__path__[0]) / f"vllm-{version.rpartition('.')[0]}.json"
    return Release(json.loads(file.read_text(encoding="utf-8")), description, json.loads(asked.stdout))


def test_the_data_is_what_the_release_says_of_itself(release: Release) -> None:
    found = list(disagreements(release.document, description=release.description, facts=release.facts))

    assert release.description["version"].partition("+")[0] == release.document["version"]
    assert difference(release.description).empty, difference(release.description)
    assert found == []


def test_one_number_changed_is_noticed(release: Release) -> None:
    changed = list(numbers(release.document))
    unnoticed = [
        path
        for path in changed
        if not any(
            disagreements(
                with_another_number(release.document, path), description=release.description, facts=release.facts
            )
        )
    ]

    assert len(changed) > 100
    assert unnoticed == []
