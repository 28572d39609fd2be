"""The image as far as a machine without a container engine can hold it: its steps run, its last stage has no shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
DOCKERFILE: Final = (ROOT / "Dockerfile").read_text(encoding="utf-8")
# What only the sandbox, the laboratory, the emulator and the tests need.
NOT_IN_PRODUCTION: Final = ("numpy", "grpc", "pytest", "hypothesis", "uvicorn", "transformers")
ROOMS_NOT_IN_PRODUCTION: Final = ("emulator", "load", "sandbox", "simulation")


def instructions() -> list[tuple[str, str]]:
    """(instruction, its words), continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    parts = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, words.strip()) for name, _, words in parts]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    begin = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[begin:]


def test_base_images_are_taken_by_digest_alone() -> None:
    stages = [words for name, words in instructions() if name == "FROM"]
    assert [re.sub(r" AS \w+$", "", words) for words in stages] == [
        "docker.io/library/python@${PYTHON_DIGEST}",
        "gcr.io/distroless/python3-debian12@${RUNTIME_DIGEST}",
    ]
    assert [words for name, words in instructions() if name == "ARG"] == ["PYTHON_DIGEST", "RUNTIME_DIGEST"]


def test_the_last_stage_only_copies_and_runs_as_nobody() -> None:
    stage = last_stage()
    assert {name for name, _ in stage} == {"FROM", "LABEL", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}
    words = dict(stage)
    assert words["USER"] == "65532:65532"
    assert words["ENTRYPOINT"].startswith('["python3",'), "a list needs no shell"


@pytest.mark.timeout(300)
def test_its_steps_run_in_a_clean_place_and_what_they_make_is_the_operator(tmp_path: Path) -> None:
    source, app = tmp_path / "src", tmp_path / "app"
    source.mkdir()
    for name, words in instructions():
        if name == "COPY" and "--from" not in words:
            *froms, to = words.split()
            for each in froms:
                path, target = ROOT / each, source / to
                if path.is_dir():
                    shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(path, target)
    # The image's own uv is the one that `make setup` has.
    uv = next(path for path in _uvs() if path.exists())
    assert f"uv=={re.search(r'uv-([0-9.]+)/', str(uv))[1]}" in DOCKERFILE  # type: ignore[index]
    steps = [words for name, words in instructions() if name == "RUN" and not words.startswith("pip install")]
    assert len(steps) == 1
    # Compiling is most of the time and changes nothing that is looked at here.
    script = steps[0].replace("/app", str(app)).replace(" --compile-bytecode", "")
    # As in the image: there is one Python, and no virtual environment.
    foreign = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if key not in foreign}
    environment |= {"PATH": f"{uv.parent}:/usr/bin:/bin", "UV_PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", "-ec", script], cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    def python(*words: str) -> subprocess.CompletedProcess[str]:
        # Isolated from this environment's packages: only the standard library and /app.
        command = (sys.executable, "-S", *words)
        return subprocess.run(
            command, env={"PYTHONPATH": str(app), "PATH": ""}, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    shown = python("-m", "inference_fleet", "run", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "--prometheus-url" in shown.stdout
    whole = python("-c", "import inference_fleet.controller.run")
    assert whole.returncode == 0, whole.stderr
    there = [name for name in NOT_IN_PRODUCTION if (app / name).exists()]
    assert there == []
    rooms = {path.name for path in (app / "inference_fleet").iterdir()}
    assert "controller" in rooms
    assert rooms.isdisjoint(ROOMS_NOT_IN_PRODUCTION)
    # What is offered can be called.
    listed = python("-m", "inference_fleet", "--help").stdout.partition("Commands:")[2]
    commands = re.findall(r"^  (\w+)  ", listed, re.MULTILINE)
    assert {"run", "plan", "explain"} <= set(commands)
    assert [name for name in commands if python("-m", "inference_fleet", name, "--help").returncode] == []


def _uvs() -> list[Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-fleet"
    version = re.search(r"^UV_VERSION := ([0-9.]+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    return [cache / f"uv-{version[1]}" / "bin" / "uv"]
