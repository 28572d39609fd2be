"""What the tutorial and the README tell people to type works, word by word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from builders.api_server import ApiServer
from builders.operator_sandbox import OperatorSandbox
from builders.pages import ROOT, command_blocks, yaml_blocks
from inference_fleet.sandbox.tools import silent, tool_path

TUTORIAL = "docs/tutorials/first-model.md"
# All but the installation itself, which test_releases.py does with Helm and kustomize.
ON_YOUR_CLUSTER = "docs/tutorials/on-your-cluster.md"
# What a block of the tutorial shows, by words in the block: the promise of the text around it.
SHOWN = {
    "get nodes": ["node-1", "node-2"],
    "inference-fleet plan": ["accepted", "vLLM 0.33.0 on nvidia-l4"],
    "wait --for=condition=Ready infd/phi-4-mini -n first --timeout=5m\nkubectl get": ["True", "Serving", "1/1"],
    "create --raw": ['"completion_tokens": 8'],
    "maxNumSeqs: 48": ["RollingOut", "condition met"],
    '"maxModelLen": 131072': ["spec.engine.vllm.maxModelLen", "131072", "replica serves"],
}
# The two main commands are tests of their own.
MAIN_COMMANDS = "make demo"


def run(script: str, *, folder: Path, environment: dict[str, str], seconds: float) -> list[str]:
    """Run blocks as one session of bash that ends at the first failure; what each printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-O", "expand_aliases", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.split("--- block\n")[1:]


def joined(blocks: list[str]) -> str:
    return "\n".join(f"echo '--- block'\necho $SECONDS s >&2\n{block}" for block in blocks)


@pytest.mark.timeout(600)
def test_the_tutorial_can_be_followed_word_by_word() -> None:
    blocks = command_blocks(TUTORIAL)
    home = Path(os.environ["XDG_STATE_HOME"]) / "h"
    home.mkdir()
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("XDG_STATE_HOME", "KUBECONFIG", "MAKEFLAGS")
    }
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": cache}
    try:
        printed = run(joined(blocks), folder=ROOT, environment=environment, seconds=540)
    finally:
        down = [sys.executable, "-m", "inference_fleet", "sandbox", "down", "--name", "tutorial"]
        subprocess.run(down, env=environment, capture_output=True, timeout=60, check=False)
    assert len(printed) == len(blocks)
    for words, expected in SHOWN.items():
        (at,) = (number for number, block in enumerate(blocks) if words in block)
        assert [each for each in expected if each not in printed[at]] == [], printed[at]


@pytest.mark.timeout(300)
def test_a_model_on_your_cluster_can_be_followed_word_by_word(operator_world: OperatorSandbox, tmp_path: Path) -> None:
    for block in yaml_blocks(ON_YOUR_CLUSTER):
        name = block.splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(block, encoding="utf-8")
    blocks = command_blocks(ON_YOUR_CLUSTER)
    kubectl = tool_path("kubectl", progress=silent)
    environment = {
        "PATH": f"{kubectl.parent}:{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(operator_world.sandbox.kubeconfig),
    }
    printed = run(joined(blocks), folder=tmp_path, environment=environment, seconds=280)
    assert len(printed) == len(blocks)
    shown = {
        "api-resources": ["infd", "AcceleratorClass"],
        "get nodes -L": ["NVIDIA-L40S", "46068"],
        "inference-fleet plan": ["accepted", "1.10 USD/h"],
        "create --raw": ['"completion_tokens": 8'],
        "inference-fleet status": ["all ready", "qwen-7b serves with 1 replica"],
    }
    for words, expected in shown.items():
        (at,) = (number for number, block in enumerate(blocks) if words in block)
        assert [each for each in expected if each not in printed[at]] == [], printed[at]


def test_what_the_readme_says_works(tmp_path: Path) -> None:
    (model,) = (block for block in yaml_blocks("README.md") if "kind: InferenceDeployment" in block)
    (tmp_path / "my-model.yaml").write_text(model, encoding="utf-8")
    for name in ("manifests", "crds"):
        (tmp_path / name).symlink_to(ROOT / name)
    blocks = [block for block in command_blocks("README.md") if MAIN_COMMANDS not in block]
    kubectl = tool_path("kubectl", progress=silent)
    with ApiServer() as server:
        script = f'kubectl() {{ "{kubectl}" "$@"; }}\n' + joined(blocks)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        environment = {"PATH": path, "HOME": str(tmp_path), "KUBECONFIG": str(server.kubeconfig)}
        printed = run(script, folder=tmp_path, environment=environment, seconds=120)
    assert len(printed) == len(blocks)
    assert "llama-8b" in "".join(printed)
    assert "accepted" in "".join(printed)


@pytest.mark.timeout(300)
def test_the_demo_serves_a_short_load_and_reports(tmp_path: Path) -> None:
    requests = "".join(f"{number / 2},40,8\n" for number in range(20))
    (tmp_path / "trace.csv").write_text(f"arrival_s,input_tokens,output_tokens\n{requests}", encoding="utf-8")
    command = [sys.executable, "-m", "inference_fleet", "demo", "--trace", "trace.csv", "--duration", "10"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    summary = json.loads((tmp_path / "demo-summary.json").read_text(encoding="utf-8"))
    # So little load makes no second replica, and on a busy machine it may say that it cannot judge.
    assert done.returncode in (1, 3), done.stdout + done.stderr
    assert summary["verdict"] == "invalid" or summary["failures"] == ["it never scaled up"]
    assert summary["requests"] == {"sent": 20, "completed": 20, "failed": 0, "cut": 0}
    assert "<html" in (tmp_path / "demo-report.html").read_text(encoding="utf-8")
