"""The built-in accelerator classes: valid, sourced, and no slice larger than its device."""

from __future__ import annotations

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.parse import parse_accelerator_class
from inference_fleet.engine.catalogue import accelerator_sources, built_in_accelerators


def spec(name: str) -> AcceleratorClassSpec:
    parsed = parse_accelerator_class(built_in_accelerators()[name])
    assert isinstance(parsed, AcceleratorClassSpec), (name, parsed)
    return parsed


def test_every_class_is_one_the_api_takes() -> None:
    for name in built_in_accelerators():
        parsed = spec(name)
        assert (parsed.devices is None) == (parsed.platform == "CPU"), name
        assert parsed.cost is None, name
        assert parsed.performance is not None or parsed.platform == "CPU", name


def test_there_are_devices_of_every_platform_and_age() -> None:
    names = set(built_in_accelerators())

    assert len(names) >= 25
    assert {"nvidia-t4", "nvidia-h100-80gb", "nvidia-b200", "amd-mi300x", "amd-mi325x", "intel-arc-pro-b60"} <= names
    assert {spec(name).platform for name in names} == {"CUDA", "ROCm", "XPU", "CPU"}
    assert sum("-mig-" in name for name in names) >= 3


def test_every_figure_has_a_source() -> None:
    sources = accelerator_sources()

    assert set(sources) == set(built_in_accelerators())
    assert [name for name, source in sources.items() if not all(len(text) > 10 for text in source.values())] == []
    # What was not seen is called an estimate.
    assert sum(source["memorySource"].startswith("estimate") for source in sources.values()) < len(sources) / 2


def test_a_slice_is_no_larger_than_its_share_of_the_device() -> None:
    slices = [name for name in built_in_accelerators() if "-mig-" in name]

    assert slices
    for name in slices:
        part, whole = spec(name), spec(name.partition("-mig-")[0])
        units = int(name.partition("-mig-")[2][0])
        assert part.device_memory_bytes < whole.device_memory_bytes * (units + 1) / 8 * 1.01, name
        assert part.performance is not None
        assert whole.performance is not None
        for kind, peak in (part.performance.dense_teraflops or {}).items():
            assert peak <= (whole.performance.dense_teraflops or {})[kind] * units / 7, name
        assert part.devices_per_node == 1
