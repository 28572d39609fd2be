"""A release's data file beside what that vLLM says of itself: every number in it, and most words."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from inference_fleet.engine.versions import read_release

# Devices of tests/engine/release_facts.py, as GiB and compute capability.
DEVICES = ((180, "10.0"), (160, "10.0"), (159, "9.0"), (70, "9.0"), (69, "9.0"), (80, "8.0"), (119, "12.1"), (1, "7.5"))
# Kernels that one scheme of a class needs beyond the class itself (online/nvfp4.py asks for Blackwell).
_CAPABILITY_OF_SCHEME = {"nvfp4_per_token": 100}
# Bounds within objects that are the operator's own: vLLM takes such a number and makes nothing of it.
_OWN_BOUNDS = {
    "compilation_config.properties.cudagraph_capture_sizes.items.minimum": 1,
    "compilation_config.properties.compile_sizes.items.minimum": 1,
    "compilation_config.properties.max_cudagraph_capture_size.minimum": 1,
    "compilation_config.properties.cudagraph_num_of_warmups.minimum": 0,
    "limit_mm_per_prompt.additionalProperties.minimum": 0,
    "quantization_config.minProperties": 1,
}


def disagreements(
    document: Mapping[str, Any], *, description: Mapping[str, Any], facts: Mapping[str, Any]
) -> Iterator[str]:
    """Where the document is not what vLLM says; description: of its parser, facts: of release_facts.py."""
    yield from _flags(document, description)
    yield from _objects(document, facts)
    yield from _defaults(document, description, facts)
    yield from _quantization(document, facts)
    yield from _words(document, facts)


def numbers(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all numbers in a document."""
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        yield path
    for key, inner in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from numbers(inner, (*path, key))


def with_another_number(document: Mapping[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The document with the number at `path` one higher."""
    changed = copy.deepcopy(dict(document))
    node: Any = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] += 1
    return changed


def _flags(document: Mapping[str, Any], description: Mapping[str, Any]) -> Iterator[str]:
    said = {flag["name"]: flag for flag in description["flags"]}
    for row in document["flags"]:
        theirs = said[row["name"]]
        default = None if theirs["default"] == "==SUPPRESS==" else theirs["default"]
        if row.get("default") != default or row.get("bounds", {}) != theirs["bounds"]:
            yield row["flag"]


def _objects(document: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    expected: dict[str, Any] = dict(_OWN_BOUNDS)
    for field, bounds in facts["eplb"].items():
        least = bounds["gt"] + 1 if "gt" in bounds else bounds.get("ge")
        if least is not None:
            expected[f"eplb_config.properties.{field}.minimum"] = least
    for index, mode in enumerate(facts["compilationModes"]):
        expected[f"compilation_config.properties.mode.enum.{index}"] = mode
    for row in document["flags"]:
        for path in numbers(row.get("schema", {})):
            node = row["schema"]
            for key in path:
                node = node[key]
            name = ".".join(str(part) for part in (row["name"], *path))
            if expected.get(name) != node:
                yield name


def _defaults(document: Mapping[str, Any], description: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    release = read_release(document, version=document["version"])
    share = next(flag["default"] for flag in description["flags"] if flag["name"] == "gpu_memory_utilization")
    if document["defaults"]["gpuMemoryUtilizationPercent"] != round(share * 100):
        yield "gpuMemoryUtilizationPercent"
    for (gibibytes, architecture), theirs in zip(DEVICES, facts["batchDefaults"], strict=True):
        mine = release.batch_defaults(
            platform="CUDA", architecture=architecture, device_memory_bytes=gibibytes * 2**30, processes=1
        )
        if [mine.max_num_batched_tokens, mine.max_num_seqs] != theirs:
            yield f"defaults of {gibibytes} GiB, {architecture}"
    for processes, theirs in zip((1, 2), facts["batchDefaultsCPU"], strict=True):
        mine = release.batch_defaults(platform="CPU", architecture="x86_64", device_memory_bytes=0, processes=processes)
        if [mine.max_num_batched_tokens, mine.max_num_seqs] != theirs:
            yield f"defaults of a CPU, {processes}"
    # A step at 0 GiB is the last resort.
    if document["defaults"]["byDeviceMemory"][-1]["minimumGibibytes"] != 0:
        yield "no defaults for small devices"


def _quantization(document: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    theirs = facts["quantization"]["methods"]
    if {row["method"] for row in document["quantization"]} != theirs.keys():
        yield "quantization methods"
        return
    for row in document["quantization"]:
        name, said = row["method"], theirs[row["method"]]
        least = _CAPABILITY_OF_SCHEME.get(name, said["minimumCapability"])
        if row["minimumCapability"] != least or row.get("deprecated", False) != said["deprecated"]:
            yield f"quantization {name}"
        types = facts["quantization"]["onlineActivationTypes"] if name in _ONLINE_ALONE else said["activationTypes"]
        if sorted(row["activationTypes"]) != types:
            yield f"activation types of {name}"
        if "onlineActivationTypes" in row and (
            sorted(row["onlineActivationTypes"]) != facts["quantization"]["onlineActivationTypes"]
        ):
            yield f"activation types of {name} while loading"
        for platform, listed in facts["platforms"].items():
            refused = {"rocm": "ROCm", "xpu": "XPU"}[platform] in row.get("unsupported", {})
            if refused == (name in listed):
                yield f"{name} on {platform}"


_ONLINE_ALONE = (
    "online",
    "fp8_per_tensor",
    "fp8_per_block",
    "fp8_per_channel",
    "int8_per_channel_weight_only",
    "nvfp4_per_token",
)


# vLLM finds the layers by a type that the published files have and transformers' own class has not.
_OTHER_TYPES = {"InklingForCausalLM"}


def _words(document: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    mine, theirs = document["speculative"], facts["speculative"]
    # Listed by vLLM, and no longer anything that it runs: the data names a successor.
    if set(theirs["methods"]) - set(mine["methods"]) - mine["removed"].keys() or set(mine["methods"]) - set(
        theirs["methods"]
    ):
        yield "speculative methods"
    if sorted(mine["keys"]) != theirs["keys"]:
        yield "speculative keys"
    yield from (f"draft {name}" for name in mine["draftArchitectures"] if name not in theirs["architectures"])
    listed = {*mine["mtpArchitectures"]} - _OTHER_TYPES
    yield from (f"layers of {name}" for name, has in theirs["furtherLayers"].items() if has != (name in listed))
    if sorted(document["kvCacheTypes"]) != facts["kvCacheTypes"]:
        yield "KV cache types"
