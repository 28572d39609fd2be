"""Reading manifests for the commands that need no cluster."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inference_fleet.api.names import ACCELERATOR_CLASS_KIND, GROUP, INFERENCE_DEPLOYMENT_KIND
from inference_fleet.cli.strict_yaml import documents_of

if TYPE_CHECKING:
    from inference_fleet.engine.model_facts import ModelFacts

Document = Mapping[str, Any]

# What kubectl takes from a folder.
_SUFFIXES = (".yaml", ".yml", ".json")
_KINDS = (INFERENCE_DEPLOYMENT_KIND, ACCELERATOR_CLASS_KIND)
# What the parser says of the commonest mistakes, in words about the file.
_YAML_WORDS = {
    "found character that cannot start any token": "a tab, or a character that no value may begin with",
    "did not find expected key": "the indentation does not match the lines above, or a colon is missing",
    "did not find expected <document start>": "something stands behind a value that has ended; look at the quotes",
}


@dataclass(frozen=True)
class Documents:
    """What a stream of manifests has of our two kinds, in its order. others: the kinds that are left aside."""

    deployments: tuple[Document, ...]
    accelerator_classes: Mapping[str, Document]
    others: tuple[str, ...] = ()


def read_documents(file: str) -> Documents:
    """Read a YAML or JSON file, all such files of a folder as kubectl does, or standard input for `-`.

    Raises ClickException, with the file's name; also for a kind of our group that there is not.
    """
    documents = [document for name in _files(file) for document in _read(name)]
    kinds = [str(each.get("kind") or "(none)") for each in documents]
    for kind, each in zip(kinds, documents, strict=True):
        if kind not in _KINDS and str(each.get("apiVersion", "")).partition("/")[0] == GROUP:
            near = difflib.get_close_matches(kind, _KINDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"set {' or '.join(_KINDS)}"
            raise click.ClickException(f"{_called(file)}: kind: {kind} is not a kind of {GROUP}; {hint}")
    # Whatever their version: a wrong one is refused, not overlooked.
    deployments = tuple(each for each in documents if each.get("kind") == INFERENCE_DEPLOYMENT_KIND)
    classes = {_name(each): each for each in documents if each.get("kind") == ACCELERATOR_CLASS_KIND}
    others = tuple(dict.fromkeys(kind for kind in kinds if kind not in _KINDS))
    return Documents(deployments=deployments, accelerator_classes=classes, others=others)


def read_deployments(file: str) -> Documents:
    """The same, where at least one InferenceDeployment is needed. Raises ClickException if there is none."""
    documents = read_documents(file)
    if not documents.deployments:
        found = [*([ACCELERATOR_CLASS_KIND] if documents.accelerator_classes else []), *documents.others]
        but = f", but {', '.join(found)}" if found else ": it is empty, or not a Kubernetes object"
        raise click.ClickException(f"{_called(file)}: holds no InferenceDeployment{but}")
    return documents


def _files(file: str) -> tuple[str, ...]:
    if file == "-" or not Path(file).is_dir():
        return (file,)
    found = tuple(str(path) for path in sorted(Path(file).iterdir()) if path.suffix in _SUFFIXES and path.is_file())
    if not found:
        raise click.UsageError(f"{file}: this folder holds no {', '.join(_SUFFIXES)} file")
    return found


def _read(file: str) -> list[Document]:
    import yaml

    name = _called(file)
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        return list(_flat(documents_of(text)))
    except FileNotFoundError as error:
        raise click.UsageError(f"{name}: there is no such file") from error
    except OSError as error:
        raise click.ClickException(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name}: cannot be read: it is not text in UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise click.ClickException(f"{name}{where}: {_YAML_WORDS.get(problem, problem)}") from error


def _called(file: str) -> str:
    return "standard input" if file == "-" else file


def read_model_config(file: str) -> ModelFacts:
    """A model's config.json. Raises ClickException, with the file's name."""
    from inference_fleet.engine.model_config import facts_of_config

    try:
        config = json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise click.UsageError(f"{file}: there is no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise click.ClickException(f"{file}: is not JSON: {error}") from error
    facts = facts_of_config(config)
    if isinstance(facts, str):
        raise click.ClickException(f"{file}: {facts}")
    return facts


def _flat(documents: Iterable[Any]) -> Iterator[Document]:
    for document in documents:
        if not isinstance(document, Mapping):
            continue
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, Sequence):
            yield from _flat(items)
        else:
            yield document


def _name(document: Document) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""
