"""Accelerator classes that are known without a cluster, for commands that run without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

_NOT_SPEC = ("name", "source", "memorySource")


@cache
def built_in_accelerators() -> Mapping[str, Mapping[str, Any]]:
    """Name -> AcceleratorClass as an object of the API. A cluster's own classes of these names may differ."""
    return MappingProxyType({row["name"]: _object(row) for row in _rows()})


def accelerator_sources() -> Mapping[str, Mapping[str, str]]:
    """Name -> where bandwidth and peaks (`source`), and where the memory (`memorySource`) are from."""
    return {row["name"]: {key: row[key] for key in ("source", "memorySource")} for row in _rows()}


@cache
def _rows() -> tuple[Mapping[str, Any], ...]:
    file = resources.files("inference_fleet.engine").joinpath("data", "accelerators.json")
    return tuple(json.loads(file.read_text(encoding="utf-8"))["classes"])


def _object(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "AcceleratorClass",
        "metadata": {"name": row["name"]},
        "spec": {key: value for key, value in row.items() if key not in _NOT_SPEC},
    }
