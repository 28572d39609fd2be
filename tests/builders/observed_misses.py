"""Where the memory check and the logs differ: which starts, by how much, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

_OUTCOME_REASONS: Mapping[str, str] = {
    "obs-001": _HELD,
    "obs-032": _HELD,
    "obs-039": _HELD,
    "obs-043": _GRAPHS,
    "obs-044": _GRAPHS,
    "obs-071": "0.11 took 3.3 GiB less for this model's profile than other releases until 0.16 did",
    "obs-099": "0.6 on a virtual GPU: 4 GiB were neither its weights nor PyTorch's",
    "obs-100": "started; ran out later, under load (0.6)",
}
_WEIGHTS_REASONS: Mapping[str, str] = {
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
_CACHE_REASONS: Mapping[str, str] = {
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


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One figure that logs state. key: its name in a log. reasons: of every miss, by the log's identifier."""

    key: str
    missed: Callable[[ObservedStart], Miss | None]
    reasons: Mapping[str, str]

    @property
    def starts(self) -> Sequence[ObservedStart]:
        """Those whose log has it."""
        return [start for start in observed_starts() if start.log.get(self.key)]

    @property
    def misses(self) -> Sequence[Miss]:
        return [miss for start in self.starts if (miss := self.missed(start)) is not None]

    def reason_of(self, miss: Miss) -> str:
        return self.reasons[miss.identifier].format(checkpoint=miss.start.log.get("checkpoint"))


def _outcome_missed(start: ObservedStart) -> Miss | None:
    if start.foretold == start.happened:
        return None
    return Miss(start=start, ours=start.foretold, theirs=str(start.log["outcome"]))


def _weights_missed(start: ObservedStart) -> Miss | None:
    ours, theirs = (start.report.weights_bytes or 0) / GIBIBYTE, start.log["weightsGib"]
    if abs(ours / theirs - 1) <= WEIGHTS_WITHIN:
        return None
    return Miss(start=start, ours=f"{ours:.2f} GiB", theirs=f"{theirs:.2f} GiB")


def _cache_missed(start: ObservedStart) -> Miss | None:
    ours, theirs = start.report.kv_bytes_per_token or 0, start.log["kvBytesPerToken"]
    if abs(ours / theirs - 1) <= CACHE_WITHIN:
        return None
    return Miss(start=start, ours=f"{ours:,}", theirs=f"{theirs:,}")


OUTCOME = Compared(key="outcome", missed=_outcome_missed, reasons=_OUTCOME_REASONS)
WEIGHTS = Compared(key="weightsGib", missed=_weights_missed, reasons=_WEIGHTS_REASONS)
CACHE = Compared(key="kvBytesPerToken", missed=_cache_missed, reasons=_CACHE_REASONS)
