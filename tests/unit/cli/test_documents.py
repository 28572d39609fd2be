"""What the commands that need no cluster read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from inference_fleet.cli.documents import read_deployments, read_documents

_CLASS = "apiVersion: inferencefleet.io/v1alpha1\nkind: AcceleratorClass\nmetadata: {name: %s}\n"


def test_a_folder_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(_CLASS % "b", encoding="utf-8")
    (tmp_path / "a.yml").write_text(_CLASS % "a", encoding="utf-8")
    (tmp_path / "notes.txt").write_text(": not : yaml", encoding="utf-8")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.yaml").write_text(_CLASS % "c", encoding="utf-8")
    assert list(read_documents(str(tmp_path)).accelerator_classes) == ["a", "b"]


def test_a_folder_without_manifests_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"this folder holds no \.yaml, \.yml, \.json file"):
        read_documents(str(tmp_path))


def test_a_broken_file_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [1\n", encoding="utf-8")
    with pytest.raises(click.ClickException, match=r"broken\.yaml, line 2"):
        read_documents(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}\n", r"m\.yaml, line 3: the key c is given twice"),
        ("a:\n\tb: 2\n", r"m\.yaml, line 2: a tab, or a character that no value may begin with"),
        ("a:\n  b: 1\n c: 2\n", r"m\.yaml, line 3: the indentation does not match"),
        ("a: !!set {b}\n", r"m\.yaml, line 1: could not determine a constructor"),
    ],
)
def test_what_kubectl_would_not_read_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(click.ClickException, match=words):
        read_documents(str(tmp_path / "m.yaml"))


def test_values_are_those_that_json_has(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(
        f"{_CLASS % 'a'}spec: &all {{date: 2024-01-01, 2: one, yes: on, <<: {{2: two, more: !!binary aGk=}}}}\n",
        encoding="utf-8",
    )
    (found,) = read_documents(str(file)).accelerator_classes.values()
    assert found["spec"] == {"date": "2024-01-01", "2": "one", "true": True, "more": "aGk="}


def test_text_in_another_encoding_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("a: b", encoding="utf-16")
    with pytest.raises(click.ClickException, match="not text in UTF-8"):
        read_documents(str(tmp_path / "m.yaml"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no InferenceDeployment: it is empty"),
        ("just words", "or not a Kubernetes object"),
        ("apiVersion: v1\nkind: Service\n", "holds no InferenceDeployment, but Service"),
        (_CLASS % "a", "holds no InferenceDeployment, but AcceleratorClass"),
        ("apiVersion: inferencefleet.io/v1alpha1\nkind: InferenceDeploymnt\n", "did you mean InferenceDeployment?"),
        ("apiVersion: inferencefleet.io/v1alpha1\n", "set InferenceDeployment or AcceleratorClass"),
    ],
)
def test_a_file_without_a_deployment_is_told_what_it_has_instead(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(click.ClickException) as caught:
        read_deployments(str(tmp_path / "m.yaml"))
    assert words in str(caught.value)
