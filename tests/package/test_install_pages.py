"""What the pages on installing tell people to type is taken by the tools as it stands.

The tutorials and the README are run word by word (tests/cluster/test_pages.py), and releases come and go for real in
tests/cluster/test_releases.py. Here are the commands with names that are the reader's own: another registry, another
address. `make image` and `docker push` need a container engine and a registry: what make would run is looked at.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from builders.pages import ROOT, command_blocks, yaml_blocks
from inference_fleet.sandbox.tools import silent, tool_path

INSTALL = "docs/how-to/install.md"
PAGES = ["README.md", INSTALL, "docs/how-to/upgrade-and-uninstall.md", "docs/how-to/monitor.md"]
IMAGE = "registry.example.com/inference-fleet/operator"
# Where the page's reader has a copy of this repository.
COPY = "https://example.com/your/copy/inference-fleet//"


def called(name: str, *words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    binary = str(tool_path(name, progress=silent))
    return subprocess.run([binary, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def commands(program: str) -> list[list[str]]:
    """The words of every call of a program in the pages' blocks."""
    text = "\n".join(block for page in PAGES for block in command_blocks(page)).replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0] == program]


@pytest.mark.parametrize("helm", ["helm", "helm3"])
@pytest.mark.parametrize("words", commands("helm"), ids=" ".join)
def test_helm_takes_the_command(helm: str, words: list[str]) -> None:
    verb, *rest = words
    known = called(helm, verb, "--help").stdout
    assert [word for word in rest if word.startswith("--") and f"{word.partition('=')[0]} " not in known] == []
    if verb in ("install", "upgrade"):
        # `template` renders the same without a cluster, and has no owner to ask.
        done = called(helm, "template", "--kube-version=1.37.1", *(word for word in rest if word != "--take-ownership"))
        assert done.returncode == 0, done.stderr
        assert "kind: Deployment" in done.stdout


def test_there_are_commands_for_each_step() -> None:
    assert {words[0] for words in commands("helm")} >= {"install", "upgrade", "uninstall"}


def test_the_overlay_of_the_page_sets_image_and_prometheus(tmp_path: Path) -> None:
    (overlay,) = (block for block in yaml_blocks(INSTALL) if "kind: Kustomization" in block)
    (tmp_path / "copy").symlink_to(ROOT)
    folder = tmp_path / "my-overlay"
    folder.mkdir()
    assert COPY in overlay
    (folder / "kustomization.yaml").write_text(overlay.replace(COPY, "../copy/"), encoding="utf-8")
    done = called("kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", "my-overlay", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    objects = [obj for obj in yaml.safe_load_all(done.stdout) if obj]
    (deployment,) = (obj for obj in objects if obj["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{IMAGE}:0.1.0"
    address = {"name": "INFERENCE_FLEET_PROMETHEUS_URL", "value": "http://prometheus.monitoring.svc:9090"}
    assert [each for each in container["env"] if each["name"] == address["name"]] == [address]
    assert {"PodMonitor", "PrometheusRule"} <= {obj["kind"] for obj in objects}


def test_every_folder_and_file_of_a_kubectl_command_is_there() -> None:
    named = [
        words[index + 1]
        for words in commands("kubectl")
        for index, word in enumerate(words[:-1])
        if word in ("-k", "-f") and words[index + 1] not in ("my-overlay", "my-model.yaml")
    ]
    assert "manifests/base" in named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_make_image_would_build_and_name_what_is_pushed_afterwards() -> None:
    (image,) = (words for words in commands("make") if words[0] == "image")
    (push,) = commands("docker")
    # Within `make test` this is a make within a make, which would say so.
    command = ["make", "--no-print-directory", "-n", *image]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    built = shlex.split(done.stdout.replace("\\\n", " "))
    assert built[:2] == ["docker", "build"]
    assert built[built.index("--tag") + 1] == push[1] == f"{IMAGE}:0.1.0"
    for stage in ("PYTHON_DIGEST", "RUNTIME_DIGEST"):
        assert any(word.startswith(f"{stage}=") for word in built)
