"""What `render` prints is what the operator would create."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, run

SAMPLES = Path(__file__).resolve().parents[3] / "manifests" / "samples"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "all.yaml"
    texts = [(SAMPLES / name).read_text() for name in ("accelerator-class.yaml", "llama-8b.yaml")]
    path.write_text("\n---\n".join(texts))
    return path


def test_render_prints_every_child_as_yaml(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "-f", str(sample)]) == EXIT_OK
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [obj["kind"] for obj in objects] == [
        "ControllerRevision",
        "ServiceAccount",
        "ReplicaSet",
        "Service",
        "Service",
        "PodDisruptionBudget",
    ]
    assert {obj["metadata"]["namespace"] for obj in objects} == {"chat"}


def test_render_prints_a_list_as_json(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", "-f", str(sample), "-o", "json"]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["kind"] == "List"


def test_render_twice_prints_the_same(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["render", "-f", str(sample)])
    first = capsys.readouterr().out
    run(["render", "-f", str(sample)])
    assert capsys.readouterr().out == first


def test_a_refused_spec_prints_why_and_nothing_else(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample.write_text(sample.read_text().replace('version: "0.32.0"', 'version: "0.1.0"'))
    assert run(["render", "-f", str(sample)]) == EXIT_REFUSED
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "spec.engine.vllm.version" in printed.err


def test_a_file_without_a_deployment_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("kind: Service\n")
    assert run(["render", "-f", str(path)]) == EXIT_FAILED
    assert "holds no InferenceDeployment" in capsys.readouterr().err


def test_what_kubectl_would_refuse_prints_no_objects(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample.write_text(sample.read_text(encoding="utf-8").replace("v1alpha1", "v1beta1"), encoding="utf-8")
    assert run(["render", "-f", str(sample)]) == EXIT_REFUSED
    printed = capsys.readouterr()
    assert (printed.out, "v1beta1 is not a version that this operator has" in printed.err) == ("", True)
