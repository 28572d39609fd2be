"""What the scaler remembers: frozen, bounded, serialisable, and empty is valid."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Final

MAXIMUM_BYTES: Final = 64 * 1024
SCHEMA_VERSION: Final = "inference-fleet/scaler-memory/v1"
# A pod's counters are only needed for the next difference; this many fit well into the bound.
MAXIMUM_PODS: Final = 200
MAXIMUM_NEEDS: Final = 240
MAXIMUM_LOADS: Final = 40
MAXIMUM_COLD_STARTS: Final = 20


@dataclass(frozen=True)
class PodCounters:
    """The counters of one pod at its last believed sample."""

    sample_time: float
    prompt_tokens: float
    generation_tokens: float
    finished_requests: float
    rejected_requests: float


@dataclass(frozen=True)
class VariantMemory:
    """What was learned of one variant."""

    cold_start_seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class ScalerMemory:
    """Everything carried from one decision to the next.

    started: when this memory began (its windows are not yet full before). needs: (time, replicas) of past ticks with
    known signals, for the hold. loads: (time, requests) of the newest such ticks, for the trend. idle_since: since
    when idleness is proved. last_down: time of the last step down. prompt_per_generated: prompt tokens per generated
    token, averaged; None until seen.
    """

    started: float | None = None
    needs: tuple[tuple[float, int], ...] = ()
    loads: tuple[tuple[float, float], ...] = ()
    idle_since: float | None = None
    unknown_since: float | None = None
    last_down: float | None = None
    prompt_per_generated: float | None = None
    pods: tuple[tuple[str, PodCounters], ...] = ()
    variants: tuple[tuple[str, VariantMemory], ...] = field(default=())

    @classmethod
    def empty(cls) -> ScalerMemory:
        """Knows nothing."""
        return cls()

    def variant(self, name: str) -> VariantMemory:
        """What was learned of this variant; empty if nothing."""
        return dict(self.variants).get(name, VariantMemory())

    def to_json(self) -> str:
        """As text of at most 64 KiB. Counters of pods are left out first: they only cost one difference."""
        text = json.dumps(_plain(self), separators=(",", ":"))
        if len(text.encode()) > MAXIMUM_BYTES:
            text = json.dumps(_plain(replace(self, pods=())), separators=(",", ":"))
        return text

    @classmethod
    def from_json(cls, text: str) -> ScalerMemory | None:
        """The memory back from its text; None if the text is damaged or of another version."""
        try:
            data = json.loads(text)
            if data["schemaVersion"] != SCHEMA_VERSION:
                return None
            return cls(
                started=_optional(data["started"]),
                needs=tuple((_finite(time), int(count)) for time, count in data["needs"])[-MAXIMUM_NEEDS:],
                loads=tuple((_finite(time), _finite(load)) for time, load in data["loads"])[-MAXIMUM_LOADS:],
                idle_since=_optional(data["idleSince"]),
                unknown_since=_optional(data["unknownSince"]),
                last_down=_optional(data["lastDown"]),
                prompt_per_generated=_optional(data["promptPerGenerated"]),
                pods=tuple(
                    (str(pod), PodCounters(*(_finite(number) for number in numbers))) for pod, numbers in data["pods"]
                )[:MAXIMUM_PODS],
                variants=tuple(
                    (str(name), VariantMemory(tuple(_finite(number) for number in numbers)[-MAXIMUM_COLD_STARTS:]))
                    for name, numbers in data["variants"]
                ),
            )
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return None


def _plain(memory: ScalerMemory) -> dict[str, Any]:
    return {
        "schemaVersion": SCHEMA_VERSION,
        "started": memory.started,
        "needs": memory.needs,
        "loads": memory.loads,
        "idleSince": memory.idle_since,
        "unknownSince": memory.unknown_since,
        "lastDown": memory.last_down,
        "promptPerGenerated": memory.prompt_per_generated,
        "pods": [
            (
                pod,
                (
                    counters.sample_time,
                    counters.prompt_tokens,
                    counters.generation_tokens,
                    counters.finished_requests,
                    counters.rejected_requests,
                ),
            )
            for pod, counters in memory.pods
        ],
        "variants": [(name, learned.cold_start_seconds) for name, learned in memory.variants],
    }


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _optional(value: Any) -> float | None:
    return None if value is None else _finite(value)
