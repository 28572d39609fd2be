"""The cheapest course of fleet sizes, minute by minute, when every miss has a price: an exact dynamic programme.

Two kinds of replicas at most; a fleet of one kind has a second of which there are none. What is added pays a cold
start, what is removed pays nothing, so that the way from one fleet to the next splits into one way per kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.engines import compiled

SLOT_SECONDS: Final = 60.0
# What does not count is held at this share of its price, so that no plan holds more than it has use for.
FREE_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of replicas in a plan: the sizes that may be chosen (ascending), cost of a second, seconds of a start, and
    how many there are before the first minute."""

    sizes: tuple[int, ...]
    cost: float
    cold_start_seconds: float
    start: int


NONE: Final = Kind(sizes=(0,), cost=0.0, cold_start_seconds=0.0, start=0)


def cheapest_plan(
    kinds: Sequence[Kind], misses: Any, *, price: float, free_slots: int = 0
) -> tuple[tuple[int, ...], ...]:
    """Replicas of every kind in every minute. misses: [size of the first kind, (size of the second,) minute].
    free_slots: as many minutes at the beginning are not paid for (their misses are: they stand for a backlog)."""
    first, second = (*kinds, NONE)[:2]
    table = np.ascontiguousarray(misses, dtype=np.float64).reshape(len(first.sizes), len(second.sizes), -1)
    # A start for the minutes after the free ones lies partly in them.
    slots = np.arange(table.shape[-1])
    seconds = np.array([[first.cold_start_seconds], [second.cold_start_seconds]])
    after = np.where(free_slots, (slots - free_slots) * SLOT_SECONDS, np.inf)
    starts = np.clip(after, FREE_SHARE * seconds, seconds) * np.array([[first.cost], [second.cost]])
    places = _plan(
        np.array(first.sizes, dtype=np.float64),
        np.array(second.sizes, dtype=np.float64),
        np.array([first.cost, second.cost]),
        starts,
        np.where(slots < free_slots, FREE_SHARE, 1.0) * SLOT_SECONDS,
        np.array([float(first.start), float(second.start)]),
        table,
        price,
    )
    chosen = [(first.sizes[a], second.sizes[b]) for a, b in places.tolist()]
    return tuple(pair[: len(kinds)] for pair in chosen)


@compiled
def _plan(first: Any, second: Any, cost: Any, cold_start: Any, paid: Any, start: Any, misses: Any, price: float) -> Any:
    """Places of the sizes in every minute. cold_start: [kind, minute]; paid: seconds of every minute."""
    rows, columns, slots = misses.shape
    best = np.zeros((rows, columns))
    for a in range(rows):
        for b in range(columns):
            best[a, b] = cold_start[0, 0] * max(0.0, first[a] - start[0])
            best[a, b] += cold_start[1, 0] * max(0.0, second[b] - start[1])
    from_first = np.zeros((slots, rows, columns), dtype=np.int16)
    from_second = np.zeros((slots, rows, columns), dtype=np.int16)
    for slot in range(slots):
        between = np.empty((rows, columns))
        for b in range(columns):
            _reach(best[:, b], first, cold_start[0, slot], between[:, b], from_first[slot, :, b])
        for a in range(rows):
            _reach(between[a], second, cold_start[1, slot], best[a], from_second[slot, a])
            for b in range(columns):
                held = cost[0] * first[a] + cost[1] * second[b]
                best[a, b] += paid[slot] * held + price * misses[a, b, slot]
    a, b = 0, 0
    for row in range(rows):
        for column in range(columns):
            if best[row, column] < best[a, b]:
                a, b = row, column
    places = np.empty((slots, 2), dtype=np.int64)
    for slot in range(slots - 1, -1, -1):
        places[slot, 0] = a
        places[slot, 1] = b
        b = from_second[slot, a, b]
        a = from_first[slot, a, b]
    return places


@compiled
def _reach(before: Any, sizes: Any, cold_start: float, after: Any, origin: Any) -> None:
    """The least cost of having every size, and the size it came from: from above for nothing, from below for starts."""
    count = sizes.shape[0]
    place = count - 1
    for size in range(count - 1, -1, -1):
        if before[size] < before[place]:
            place = size
        after[size] = before[place]
        origin[size] = place
    place = 0
    for size in range(count):
        if before[size] - cold_start * sizes[size] < before[place] - cold_start * sizes[place]:
            place = size
        up = before[place] + cold_start * (sizes[size] - sizes[place])
        if up < after[size]:
            after[size] = up
            origin[size] = place
