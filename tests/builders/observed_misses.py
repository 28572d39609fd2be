"""Where the memory check and the logs differ: which starts, by how much, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builders.observed_starts import GIBIBYTE, ObservedStart, observed_starts

WEIGHTS_WITHIN = 0.03
CACHE_WITHIN = 0.005

_HELD = "another process held the device: the log's free memory is below the share that was asked for"
_GRAPHS = (
    "0.19 took its graphs from outside a share of 95 %, and ran out in the sampler's warm-up; since 0.21 they count"
)
_TOWER = "another checkpoint of this shape ran ({checkpoint}): its vision tower is not in our count"
_ROCM = "a fork for old ROCm devices, whose kernels unpack the weights"
_PADDED = "gpt-oss split over two devices: the kernel fills widths up that no source gives"
_DRAFT = "a prediction layer ran; how many tokens it guessed, each with a state of its own, is not logged"
_STAGES = "two stages: GiB of the first, tokens of the last"

OUTCOME_REASONS: Mapping[str, str] = {
    "obs-001": _HELD,
    "obs-032": _HELD,
    "obs-039": _HELD,
    "obs-043": _GRAPHS,
    "obs-044": _GRAPHS,
    "obs-071": "0.11 took 3.3 GiB less for this model's profile than other releases until 0.16 did",
    "obs-099": "0.6 on a virtual GPU: 4 GiB were neither its weights nor PyTorch's",
    "obs-100": "started; ran out later, under load (0.6)",
}
WEIGHTS_REASONS: Mapping[str, str] = {
    "obs-017": _TOWER,
    "obs-041": _TOWER,
    "obs-042": _TOWER,
    "obs-044": _PADDED,
    "obs-045": _PADDED,
    "obs-062": _TOWER,
    "obs-063": _TOWER,
    "obs-101": _ROCM,
    "obs-102": _ROCM,
    "obs-103": _ROCM,
}
CACHE_REASONS: Mapping[str, str] = {
    "obs-026": _STAGES,
    "obs-027": _STAGES,
    "obs-090": "not explained; a connector that moves caches was on",
    "obs-096": "that release charged all layers to one stage",
    "obs-105": "GiB and tokens of different devices",
    "obs-110": _DRAFT,
    "obs-113": "the type of its cache is not logged; fp8 would fit",
    "obs-117": _DRAFT,
    "obs-118": "before 0.20.2 a hybrid's tokens were counted otherwise",
}


@dataclass(frozen=True, kw_only=True)
class Miss:
    """One log that the check does not agree with, in words."""

    start: ObservedStart
    ours: str
    theirs: str

    @property
    def identifier(self) -> str:
        return str(self.start.log["id"])


def logged(key: str) -> Sequence[ObservedStart]:
    """Those whose log has this."""
    return [start for start in observed_starts() if start.log.get(key)]


def outcome_misses() -> list[Miss]:
    return [
        Miss(start=start, ours=start.foretold, theirs=str(start.log["outcome"]))
        for start in logged("outcome")
        if start.foretold != start.happened
    ]


def weights_misses() -> list[Miss]:
    return [
        Miss(
            start=start, ours=f"{_gib(start.report.weights_bytes):.2f} GiB", theirs=f"{start.log['weightsGib']:.2f} GiB"
        )
        for start in logged("weightsGib")
        if abs(_gib(start.report.weights_bytes) / start.log["weightsGib"] - 1) > WEIGHTS_WITHIN
    ]


def cache_misses() -> list[Miss]:
    return [
        Miss(start=start, ours=f"{start.report.kv_bytes_per_token:,}", theirs=f"{start.log['kvBytesPerToken']:,}")
        for start in logged("kvBytesPerToken")
        if abs((start.report.kv_bytes_per_token or 0) / start.log["kvBytesPerToken"] - 1) > CACHE_WITHIN
    ]


def reason_of(miss: Miss, reasons: Mapping[str, str]) -> str:
    return reasons[miss.identifier].format(checkpoint=miss.start.log.get("checkpoint"))


def _gib(size: int | None) -> float:
    return (size or 0) / GIBIBYTE
