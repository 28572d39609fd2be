"""What the commands that need no cluster read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from inference_fleet.cli.documents import read_documents

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
