"""What pages show is true: specs are accepted, fields and commands exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from builders.pages import ROOT, command_blocks, yaml_blocks
from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd
from inference_fleet.api.intent import overlay
from inference_fleet.cli.main import cli, run

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
# A block of YAML that begins so is a part of a spec, to be laid over this one.
PART = "spec:\n"
BASE: Mapping[str, Any] = {
    "apiVersion": "inferencefleet.io/v1alpha1",
    "kind": "InferenceDeployment",
    "metadata": {"name": "llama-8b", "namespace": "chat"},
    "spec": {
        "model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}},
        "engine": {"vllm": {"version": "0.33.0", "maxModelLen": 8192}},
        "variants": [{"name": "l40s", "acceleratorClassName": "nvidia-l40s"}],
        "scaling": {"minReplicas": 1, "maxReplicas": 4},
    },
}
FIELD = re.compile(
    r"`(?P<path>(?:spec\.|status\.)?(?:model|engine|pod|drain|variants|objectives|scaling|rollout|routing|cost|devices"
    r"|performance|suspend|replicas|acceptedRisks|updateAvailable|warnings|conditions|summary|endpoint)"
    r"(?:\[\])?(?:\.\w+(?:\[\])?)+)`"
)


def specs(page: str) -> Iterator[dict[str, Any]]:
    """InferenceDeployments that a page shows, whole or in part."""
    for block in yaml_blocks(page):
        if block.startswith(PART):
            yield overlay(BASE, yaml.safe_load(block))
            continue
        for obj in yaml.safe_load_all(block):
            if isinstance(obj, dict) and obj.get("kind") == "InferenceDeployment":
                yield obj


def classes(page: str) -> list[dict[str, Any]]:
    """AcceleratorClasses that a page shows."""
    found = [obj for block in yaml_blocks(page) for obj in yaml.safe_load_all(block) if isinstance(obj, dict)]
    return [obj for obj in found if obj.get("kind") == "AcceleratorClass"]


@pytest.mark.parametrize("page", [page for page in PAGES if any(specs(page))])
def test_every_spec_that_is_shown_is_accepted(page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, obj in enumerate(specs(page)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump_all([*classes(page), obj]), encoding="utf-8")
        status = run(["plan", "-f", str(file)])
        printed = capsys.readouterr()
        assert status == 0, printed.out + printed.err


def fields(node: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """All paths of a schema, without the marks of lists."""
    for name, inner in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here
        yield from fields(inner.get("items", inner), here)
        if "additionalProperties" in inner:
            yield f"{here}.*"


@cache
def all_fields() -> set[str]:
    found = set()
    for crd in (inference_deployment_crd(), accelerator_class_crd()):
        (version,) = crd["spec"]["versions"]
        found |= set(fields(version["schema"]["openAPIV3Schema"]))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_field_that_is_named_exists(page: str) -> None:
    known = all_fields()
    text = (ROOT / page).read_text(encoding="utf-8")
    if page == "docs/how-to/migrate.md":
        # The first column has the fields of others.
        text = re.sub(r"^\|[^|]*\|", "", text, flags=re.MULTILINE)
    named = {match["path"] for match in FIELD.finditer(text)}
    for path in named:
        if path.endswith((".json", ".yaml", ".md", ".py")):
            continue
        plain = path.replace("[]", "")
        forms = {plain, f"spec.{plain}", f"status.{plain}", f"spec.engine.vllm.{plain}", f"spec.variants.{plain}"}
        assert forms & known, path


def invocations(page: str) -> Iterator[list[str]]:
    """The words of every call of our command that a page shows in a block or between backticks."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [line for block in command_blocks(page) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
        # Not the chart or the Deployment of the same name, and not a list of commands as `run, plan`.
        if re.search(r"\b(helm|deployment|lease)\b|\[OPTIONS]|run, ", line):
            continue
        for call in re.findall(r"(?:^|[\s(|])(?:kubectl )?inference-fleet ([a-z][^|>#;)]*)", line):
            yield call.split()


@pytest.mark.parametrize("page", [page for page in PAGES if any(invocations(page))])
def test_every_command_and_option_that_is_named_exists(page: str) -> None:
    for words in invocations(page):
        command: click.Command | None = cli
        rest = list(words)
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-") and rest[0] != "COMMAND":
            context = click.Context(command)
            command = command.get_command(context, rest.pop(0))
            assert command is not None, words
        assert command is not None
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        given = rest[: rest.index("--")] if "--" in rest else rest
        options = {word.partition("=")[0] for word in given if re.match(r"--?[a-z]", word)}
        assert options <= known | {"--help", "-h"}, words
