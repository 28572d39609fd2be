"""The built-in accelerator classes are valid and say where their memory was seen."""

from __future__ import annotations

import json
from importlib import resources

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.parse import parse_accelerator_class
from inference_fleet.engine.catalogue import built_in_accelerators


def test_every_class_is_one_the_api_takes() -> None:
    classes = built_in_accelerators()

    assert {"nvidia-h100-80gb", "nvidia-l40s", "amd-mi300x", "cpu"} <= set(classes)
    for name, obj in classes.items():
        spec = parse_accelerator_class(obj)
        assert isinstance(spec, AcceleratorClassSpec), (name, spec)
        assert (spec.devices is None) == (spec.platform == "CPU")
        assert spec.cost is None


def test_every_memory_has_a_source() -> None:
    text = resources.files("inference_fleet.engine").joinpath("data", "accelerators.json").read_text(encoding="utf-8")

    assert all(row["memorySource"] for row in json.loads(text)["classes"])
