"""`engine`: what is known of a release, and an installed vLLM beside it (played here by a small script)."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.parse import parse_accelerator_class
from inference_fleet.cli.engine_description import difference
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from inference_fleet.engine.versions import EngineVersion, engine_version


def described(version: str = "0.33.0") -> dict[str, Any]:
    """The description that a vLLM would give whose command line is the one we know."""
    release = engine_version("0.33.0")
    assert isinstance(release, EngineVersion)
    flags = [
        {
            "name": flag.name,
            "spellings": [flag.flag],
            "choices": list(flag.choices),
            "kind": flag.kind,
            "values": flag.values,
            "default": flag.default,
            "words": list(flag.words),
            "bounds": dict(flag.bounds),
        }
        for flag in release.flags.values()
    ]
    return {"version": version, "flags": flags, "parsed": []}


def interpreter(folder: Path, *, answer: str) -> str:
    path = folder / "python"
    (folder / "answer").write_text(answer, encoding="utf-8")
    path.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {folder}/answer\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_flags_of_a_release_are_listed_with_field_or_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "flags", "--version", "0.32.0"]) == EXIT_OK
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}

    assert "spec.engine.vllm.batching.maxNumSeqs" in lines["--max-num-seqs"]
    assert "allowed" in lines["--seed"]
    assert "denied" in lines["--middleware"]


def test_flags_can_be_chosen_by_mark_and_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "flags", "--mark", "typed", "-o", "json"]) == EXIT_OK
    found = json.loads(capsys.readouterr().out)

    assert (found["schemaVersion"], found["version"]) == ("inference-fleet/engine-flags/v1", "0.33.0")
    assert {row["mark"] for row in found["flags"]} == {"typed"}


def test_an_unknown_release_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "flags", "--version", "0.1.0"]) == EXIT_USAGE
    assert "known are 0.32 and 0.33. Set 0.33.0." in capsys.readouterr().err


def test_an_installed_vllm_that_is_known_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = interpreter(tmp_path, answer=json.dumps(described("0.33.0+cu130")))

    assert run(["engine", "describe", "--python", python]) == EXIT_OK
    assert "vLLM 0.33.0: the same command line" in capsys.readouterr().out


def test_differences_are_named_and_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = described()
    answer["flags"] = [flag for flag in answer["flags"] if flag["name"] != "seed"]
    answer["flags"].append({**answer["flags"][0], "name": "new_thing", "spellings": ["--new-thing"]})
    python = interpreter(tmp_path, answer=json.dumps(answer))

    assert run(["engine", "describe", "--python", python, "-o", "json"]) == EXIT_FAILED
    found = json.loads(capsys.readouterr().out)
    assert (found["newFlags"], found["goneFlags"], found["changedFlags"]) == (["new_thing"], ["seed"], [])


def test_other_choices_or_spellings_are_a_change() -> None:
    answer = described()
    for flag in answer["flags"]:
        if flag["name"] == "dtype":
            flag["choices"] = ["auto"]
        if flag["name"] == "seed":
            flag["spellings"] = ["--seed", "--seeds"]

    assert difference(answer).changed_flags == ("dtype", "seed")


def test_an_unknown_release_is_not_compared_flag_by_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = interpreter(tmp_path, answer=json.dumps(described("0.40.0")))

    assert run(["engine", "describe", "--python", python]) == EXIT_FAILED
    assert capsys.readouterr().out == "vLLM 0.40.0: not known to this operator (known: 0.32.0, 0.33.0)\n"


@pytest.mark.parametrize("answer", ["", "no json"])
def test_a_python_without_vllm_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: str) -> None:
    assert run(["engine", "describe", "--python", interpreter(tmp_path, answer=answer)]) == EXIT_FAILED
    assert "no output" in capsys.readouterr().err


def test_a_python_that_does_not_exist_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "describe", "--python", str(tmp_path / "nothing")]) == EXIT_FAILED
    assert "No such file" in capsys.readouterr().err


def test_known_accelerators_are_listed_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "accelerators"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["NAME", "PLATFORM", "ARCHITECTURE", "GIB", "GB/S", "A", "NODE", "DENSE", "TERAFLOPS"]
    assert next(line for line in lines if line.startswith("nvidia-h100-80gb ")).split()[1:6] == [
        "CUDA", "9.0", "79.2", "3,350", "8",
    ]  # fmt: skip
    assert next(line for line in lines if line.startswith("cpu ")).split()[1:] == [
        "CPU",
        "x86_64",
        "64.0",
        "-",
        "1",
        "-",
    ]


def test_known_accelerators_are_objects_that_a_cluster_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "accelerators", "-o", "yaml"]) == EXIT_OK
    objects = list(yaml.safe_load_all(capsys.readouterr().out))

    assert len(objects) >= 25
    for each in objects:
        assert isinstance(parse_accelerator_class(each), AcceleratorClassSpec), each["metadata"]["name"]
