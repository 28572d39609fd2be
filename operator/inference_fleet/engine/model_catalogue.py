"""Models whose shape is known without asking anybody: `data/models.json`, each entry with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from inference_fleet.api.checkpoint import Checkpoint
from inference_fleet.engine.model_facts import ModelFacts


def catalogued(model: Checkpoint) -> ModelFacts | None:
    """The facts of a checkpoint by its repository's name, in any spelling of its case; None if it is not known.

    Weights from a volume, an image or object storage have no name that says what they are.
    """
    return find_model(model.hugging_face.repository) if model.hugging_face else None


def find_model(repository: str) -> ModelFacts | None:
    """The facts of a repository of the Hugging Face Hub."""
    row = _rows().get(repository.casefold())
    return _facts(row["repository"]) if row else None


def known_models() -> tuple[Mapping[str, Any], ...]:
    """Every entry as it stands in the file."""
    return tuple(_file()["models"])


@cache
def _facts(repository: str) -> ModelFacts:
    return ModelFacts.model_validate(_rows()[repository.casefold()])


@cache
def _rows() -> Mapping[str, Mapping[str, Any]]:
    names = ((name, row) for row in known_models() for name in (row["repository"], *row.get("aliases", ())))
    return MappingProxyType({name.casefold(): row for name, row in names})


@cache
def _file() -> Mapping[str, Any]:
    file = resources.files("inference_fleet.engine").joinpath("data", "models.json")
    data: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data
