"""What is known of each vLLM minor release: flags, methods, types, images and defaults, read from package data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal

# Minor releases with a data file, oldest first.
KNOWN_MINORS = ("0.32", "0.33")
VERSION_PATH = "engine.vllm.version"
# Patch numbers are users' to choose, so what is kept of them has an end; a fleet runs a handful.
KEPT_RELEASES = 16

FlagKind = Literal["switch", "presence", "text", "integer", "number", "size", "sizeOrAuto", "json", "jsonOrText"]
Mark = Literal["typed", "allowed", "denied"]

_VERSION = re.compile(r"^(\d+\.\d+)\.(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag of `vllm serve`.

    name: the key vLLM keeps its value under (`max_num_seqs`). negatives: spellings that say no to a switch, the one
    that every release takes first. values: how many words it takes. field: what to set instead of a typed flag,
    relative to the merged intent. reason: why it is denied.
    """

    flag: str
    name: str
    kind: FlagKind
    mark: Mark
    values: Literal["one", "many", "optional", "append"] = "one"
    aliases: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    default: object = None
    field: str | None = None
    reason: str | None = None
    words: tuple[str, ...] = ()
    bounds: Mapping[str, float] = member(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    needs: str | None = None
    refused: Mapping[str, str] = member(default_factory=dict)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every way to write it."""
        return (self.flag, *self.aliases, *self.negatives)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationMethod:
    """One value of --quantization.

    minimum_capability: compute capability times ten. online: quantizes an unquantized checkpoint while loading.
    activation_types: of its kernels; online_activation_types: where it quantizes while loading.
    reads: methods of checkpoints that it loads; `unquantized`, or `any`. unsupported: platform -> why not there.
    """

    method: str
    minimum_capability: int
    activation_types: tuple[str, ...]
    online_activation_types: tuple[str, ...]
    online: bool
    reads: tuple[str, ...]
    deprecated: bool
    unsupported: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDefaults:
    """What vLLM takes where nothing is said: tokens and sequences of one step."""

    max_num_batched_tokens: int
    max_num_seqs: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EngineVersion:
    """One release. reviewed: whether this very patch is the one the data was read from, or an older one.

    mtp_architectures: classes of checkpoints that have layers for further tokens. draft_architectures: of drafts.
    """

    version: str
    minor: str
    data_version: str
    reviewed: bool
    flags: Mapping[str, Flag]
    quantization: Mapping[str, QuantizationMethod]
    removed_quantization: Mapping[str, str]
    speculative_methods: tuple[str, ...]
    speculative_keys: tuple[str, ...]
    removed_speculative: Mapping[str, str]
    deprecated_speculative: Mapping[str, str]
    mtp_architectures: frozenset[str]
    draft_architectures: frozenset[str]
    kv_cache_types: tuple[str, ...]
    images: Mapping[str, str]
    gpu_memory_utilization_percent: int
    defaults: Mapping[str, Any]

    def flag(self, name: str) -> Flag:
        """The flag whose value vLLM keeps under `name`."""
        return self.flags[name]

    def image(self, platform: str) -> str | None:
        """The project's image for a platform; None where it publishes none."""
        pattern = self.images.get(platform)
        return pattern.format(version=self.version) if pattern else None

    def batch_defaults(
        self, *, platform: str, architecture: str, device_memory_bytes: int, processes: int
    ) -> BatchDefaults:
        """vLLM's own defaults for a server, by platform and device memory. `processes`: tensor x pipeline."""
        if platform == "CPU":
            cpu = self.defaults["CPU"]
            return BatchDefaults(
                max_num_batched_tokens=cpu["maxNumBatchedTokensPerProcess"] * processes,
                max_num_seqs=cpu["maxNumSeqsPerProcess"] * processes,
            )
        for row in self.defaults["byDeviceMemory"]:
            large_enough = device_memory_bytes >= row["minimumGibibytes"] * 2**30
            if large_enough and architecture not in row.get("exceptArchitectures", ()):
                break
        return BatchDefaults(max_num_batched_tokens=row["maxNumBatchedTokens"], max_num_seqs=row["maxNumSeqs"])


def engine_version(version: str) -> EngineVersion | Refusal:
    """The release, or why it cannot be used. A patch newer than the data is taken, with `reviewed` false."""
    match = _VERSION.match(version)
    if match is None or match[1] not in KNOWN_MINORS:
        known = " and ".join(KNOWN_MINORS)
        return Refusal(
            VERSION_PATH,
            Reason.UNKNOWN_VERSION,
            f"vLLM {version} is not known to this operator; known are {known}.",
            f"Set {known_versions()[-1]}.",
        )
    return _load(version, match[1])


@cache
def known_versions() -> tuple[str, ...]:
    """The releases that the data files were read from, oldest first."""
    return tuple(str(_data(minor)["version"]) for minor in KNOWN_MINORS)


@cache
def _data(minor: str) -> dict[str, Any]:
    file = resources.files("inference_fleet.engine").joinpath("data", f"vllm-{minor}.json")
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return data


@lru_cache(maxsize=KEPT_RELEASES)
def _load(version: str, minor: str) -> EngineVersion:
    return read_release(_data(minor), version=version)


def read_release(data: Mapping[str, Any], *, version: str) -> EngineVersion:
    """The release that a data file describes; version: one of its patches."""
    data_patch = int(data["version"].rsplit(".", 1)[1])
    return EngineVersion(
        version=version,
        minor=data["minor"],
        data_version=data["version"],
        reviewed=int(version.rsplit(".", 1)[1]) <= data_patch,
        flags=MappingProxyType({row["name"]: _flag(row) for row in data["flags"]}),
        quantization=MappingProxyType({row["method"]: _method(row) for row in data["quantization"]}),
        removed_quantization=MappingProxyType(data["removedQuantization"]),
        speculative_methods=tuple(data["speculative"]["methods"]),
        speculative_keys=tuple(data["speculative"]["keys"]),
        removed_speculative=MappingProxyType(data["speculative"]["removed"]),
        deprecated_speculative=MappingProxyType(data["speculative"]["deprecated"]),
        mtp_architectures=frozenset(data["speculative"]["mtpArchitectures"]),
        draft_architectures=frozenset(data["speculative"]["draftArchitectures"]),
        kv_cache_types=tuple(data["kvCacheTypes"]),
        images=MappingProxyType(data["images"]),
        gpu_memory_utilization_percent=data["defaults"]["gpuMemoryUtilizationPercent"],
        defaults=MappingProxyType(data["defaults"]),
    )


def _flag(row: Mapping[str, Any]) -> Flag:
    lists = {key: tuple(row[key]) for key in ("aliases", "negatives", "choices", "words") if key in row}
    return Flag(**{**row, **lists})


def _method(row: Mapping[str, Any]) -> QuantizationMethod:
    return QuantizationMethod(
        method=row["method"],
        minimum_capability=row["minimumCapability"],
        activation_types=tuple(row["activationTypes"]),
        online_activation_types=tuple(row.get("onlineActivationTypes", row["activationTypes"])),
        online=row["online"],
        reads=tuple(row["reads"]),
        deprecated=row.get("deprecated", False),
        unsupported=MappingProxyType(row.get("unsupported", {})),
    )
