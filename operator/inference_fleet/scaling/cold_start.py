"""How long a replica takes from its creation to Ready: the 80 % quantile of the newest starts of a variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

# Until three starts were seen. Source: design, section 3.4.
DEFAULT_SECONDS: Final = 120.0
KNOWN_AFTER: Final = 3
QUANTILE: Final = 0.8
MAXIMUM_REMEMBERED: Final = 20


def cold_start_seconds(starts: Sequence[float], *, told: float | None) -> float:
    """From the starts seen, else what the variant was told, else the default. 10 20 30 40 50 -> 40."""
    if len(starts) < KNOWN_AFTER:
        return DEFAULT_SECONDS if told is None else told
    return sorted(starts)[math.ceil(QUANTILE * len(starts)) - 1]


def remembered(known: tuple[float, ...], seen: tuple[float, ...]) -> tuple[float, ...]:
    """A fleet that has shrunk shows fewer starts than were learned: what was learned stays."""
    starts = seen if len(seen) >= min(len(known), KNOWN_AFTER) else known
    return starts[-MAXIMUM_REMEMBERED:]
