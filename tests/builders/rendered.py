"""What Helm and kustomize make of the installation, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from builders.helm import CHART, SYSTEM
from inference_fleet.sandbox.tools import silent, tool_path

ROOT: Final = Path(__file__).resolve().parents[2]
# "This cluster serves these kinds", for `rendered`.
MONITORING: Final = tuple(
    word
    for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")
    for word in ("-a", f"monitoring.coreos.com/v1/{kind}")
)
CLASSES: Final = ("-a", "inferencefleet.io/v1alpha1/AcceleratorClass")

Object = dict[str, Any]


def call(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool; the caller looks at the status."""
    path = tool_path(words[0], kubernetes_version="1.37.1", progress=silent)
    return subprocess.run(
        [str(path), *words[1:]], cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=120, check=False
    )


def rendered(*words: str, values: Mapping[str, Any] | None = None, folder: Path | None = None) -> list[Object]:
    """What `helm template` makes of these values."""
    given: tuple[str, ...] = ()
    if values is not None:
        assert folder is not None
        path = folder / "values.yaml"
        path.write_text(json.dumps(values), encoding="utf-8")
        given = ("-f", str(path))
    done = call(
        "helm", "template", "inference-fleet", str(CHART), "-n", SYSTEM, "--kube-version", "1.37.1", *given, *words
    )
    assert done.returncode == 0, done.stderr
    return _objects(done.stdout)


def kustomized(folder: Path) -> list[Object]:
    """What `kubectl kustomize` makes of a folder."""
    done = call("kubectl", "kustomize", str(folder))
    assert done.returncode == 0, done.stderr
    return _objects(done.stdout)


def overlay(folder: Path, *components: str, **more: str) -> list[Object]:
    """The base with components over it, made in a folder that is not there yet."""
    folder.mkdir()
    # kustomize wants relative paths.
    up = "../" * len(folder.parts[1:]) + str(ROOT).lstrip("/")
    given = {"components": [f"{up}/manifests/components/{name}" for name in components], **more}
    text = json.dumps({"kind": "Kustomization", "resources": [f"{up}/manifests/base"], **given})
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return kustomized(folder)


def _objects(text: str) -> list[Object]:
    # libyaml's loader: dashboards and definitions are long.
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
