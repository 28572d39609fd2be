"""Reading manifests for the commands that need no cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inference_fleet.api.names import GROUP

if TYPE_CHECKING:
    from inference_fleet.engine.model_facts import ModelFacts

Document = Mapping[str, Any]

# What kubectl takes from a folder.
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class Documents:
    """What a stream of manifests has of our two kinds, in its order. Other kinds are left aside."""

    deployments: tuple[Document, ...]
    accelerator_classes: Mapping[str, Document]


def read_documents(file: str) -> Documents:
    """Read a YAML or JSON file, all such files of a folder as kubectl does, or standard input for `-`.

    Raises ClickException, with the file's name.
    """
    documents = [document for name in _files(file) for document in _read(name)]
    ours = [each for each in documents if str(each.get("apiVersion", "")).partition("/")[0] == GROUP]
    deployments = tuple(each for each in ours if each.get("kind") == "InferenceDeployment")
    classes = {_name(each): each for each in ours if each.get("kind") == "AcceleratorClass"}
    return Documents(deployments=deployments, accelerator_classes=classes)


def _files(file: str) -> tuple[str, ...]:
    if file == "-" or not Path(file).is_dir():
        return (file,)
    found = tuple(str(path) for path in sorted(Path(file).iterdir()) if path.suffix in _SUFFIXES and path.is_file())
    if not found:
        raise click.UsageError(f"{file}: this folder holds no {', '.join(_SUFFIXES)} file")
    return found


def _read(file: str) -> list[Document]:
    import yaml

    name = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        # libyaml's where the build has it: it reads the same ten times as fast.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return list(_flat(yaml.load_all(text, Loader=loader)))
    except FileNotFoundError as error:
        raise click.UsageError(f"{name}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{name}: cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not YAML"
        raise click.ClickException(f"{name}{where}: {problem}") from error


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
