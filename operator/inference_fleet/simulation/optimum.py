"""What a scaler that knew the future would have paid: an offline optimum for a fleet of one variant.

Every number of replicas serves the whole trace once, which tells how many requests of every minute miss. A dynamic
programme then chooses a number for every minute: replica-seconds, plus the cold start of every replica that is added,
plus a price on every miss. Several prices give several plans; each plan is simulated, with starts a cold start early
and no chance in them, and only simulated figures are used. The plan is approximate where a backlog outlives its minute.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.observe import Sight
from inference_fleet.simulation.outcome import met
from inference_fleet.simulation.policies.own import StaticFleet
from inference_fleet.simulation.run import SLOT_SECONDS, Run, simulate_policy
from inference_fleet.simulation.scenario import Scenario

# Shares of requests that may miss, one plan for each.
BUDGETS: Final = (0.4, 0.2, 0.1, 0.05, 0.03, 0.02, 0.015, 0.0125, 0.01, 0.008, 0.006, 0.004, 0.002, 0.001, 0.0005)
COUNTS: Final = (*range(1, 13), *range(14, 25, 2), *range(27, 64, 3))
# Prices of a miss in replica-seconds that are tried: 0.01 to 100,000.
PRICES: Final = tuple(10 ** (exponent / 8) for exponent in range(-16, 41))
# Once this share of a fleet's misses is left no larger fleet is tried.
NO_MISSES: Final = 1e-5


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A plan that was simulated: what it kept and what it cost."""

    attainment_percent: float
    replica_hours: float
    cost: float


class PlannedFleet:
    """Follows a plan of replicas per minute; starts what is needed later a cold start early."""

    def __init__(self, counts: Sequence[int], *, cold_start_seconds: float) -> None:
        self._counts = counts
        self._ahead = math.ceil(cold_start_seconds / SLOT_SECONDS) + 1
        self._cold_start_seconds = cold_start_seconds

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """The most that the plan wants from now until a start begun now would be ready."""
        now, last = sight.now, len(self._counts) - 1
        begin = min(last, int(now // SLOT_SECONDS))
        # A tick of 15 s and a probe of 5 s: what is begun at this tick is ready by then.
        end = min(last, int((now + self._cold_start_seconds + 20.0) // SLOT_SECONDS))
        return (max(self._counts[begin : end + 1]),)


def frontier(scenario: Scenario, *, progress: Callable[[float], None] | None = None) -> tuple[FrontierPoint, ...]:
    """The least cost found at each of several attainments, ascending; points that another beats are left out."""
    sure = replace(
        scenario, variants=tuple(replace(variant, cold_start_cv=0.0) for variant in scenario.variants), model_error=0.0
    )
    counts, misses, arrived = _misses(sure, progress)
    plans = _plans(sure, counts, misses, arrived)
    points = []
    for number, plan in enumerate(plans):
        policy = PlannedFleet(plan, cold_start_seconds=sure.variants[0].cold_start_seconds)
        outcome = simulate_policy(sure, policy, name="optimum", parameters={}).outcome
        points.append(FrontierPoint(outcome.attainment_percent, outcome.replica_hours, outcome.cost))
        if progress is not None:
            progress(0.5 + 0.5 * (number + 1) / len(plans))
    return _undominated(points)


def cost_at(points: Sequence[FrontierPoint], attainment_percent: float) -> float:
    """The frontier's cost at this attainment, linear in log10 of the missing share; its ends beyond its ends."""
    if not points:
        return math.nan
    wanted = _nines(attainment_percent)
    marks = [_nines(point.attainment_percent) for point in points]
    return float(np.interp(wanted, marks, [point.cost for point in points]))


def ratio(run: Run, points: Sequence[FrontierPoint]) -> float:
    """What a run cost by what the optimum costs at the attainment the run reached."""
    return run.outcome.cost / cost_at(points, run.outcome.attainment_percent)


def _nines(attainment_percent: float) -> float:
    return -math.log10(max(1e-6, 1 - attainment_percent / 100))


def _misses(scenario: Scenario, progress: Callable[[float], None] | None) -> tuple[list[int], Any, int]:
    """Fleet sizes tried; misses[size, minute]; requests that count. Every size serves the whole trace."""
    slots = math.ceil(scenario.workload.span_seconds / SLOT_SECONDS)
    tried: list[int] = []
    rows: list[Any] = []
    arrived = 1
    for number, count in enumerate(COUNTS):
        if not scenario.min_replicas <= count <= scenario.max_replicas:
            continue
        static = replace(scenario, start=(count,))
        run = simulate_policy(static, StaticFleet(count, variants=1), name="static", parameters={})
        good = met(run.log, static)
        row = np.zeros(slots)
        arrived = 0
        for seconds, kept in zip(run.log.arrival, good, strict=True):
            if seconds >= scenario.warm_up:
                arrived += 1
                row[min(slots - 1, int(seconds // SLOT_SECONDS))] += not kept
        tried.append(count)
        rows.append(row)
        if progress is not None:
            progress(0.5 * (number + 1) / len(COUNTS))
        if (
            len(rows) > 1
            and (row.sum() <= NO_MISSES * arrived or row.sum() >= 0.999 * rows[-2].sum() > 0)
            and (row.sum() < BUDGETS[-1] * arrived or rows[-2].sum() < 0.05 * arrived)
        ):
            break
    sizes = list(range(tried[0], tried[-1] + 1))
    table = np.array(rows)
    filled = np.array([np.interp(sizes, tried, table[:, slot]) for slot in range(slots)]).T
    return sizes, filled, arrived


def _plans(scenario: Scenario, sizes: list[int], misses: Any, arrived: int) -> list[tuple[int, ...]]:
    """For every budget the cheapest plan, over all prices, that is expected to keep it."""
    cold_start = scenario.variants[0].cold_start_seconds
    candidates = []
    for price in PRICES:
        plan = _cheapest(sizes, misses, price=price, cold_start=cold_start, start=scenario.start[0])
        places = np.array(plan) - sizes[0]
        missed = float(misses[places, np.arange(len(plan))].sum())
        cost = SLOT_SECONDS * sum(plan) + cold_start * float(np.maximum(0, np.diff(plan)).sum())
        candidates.append((missed / arrived, cost, plan))
    chosen: list[tuple[int, ...]] = []
    for budget in BUDGETS:
        kept = [(cost, plan) for missed, cost, plan in candidates if missed <= budget]
        plan = min(kept)[1] if kept else min(candidates)[2]
        if plan not in chosen:
            chosen.append(plan)
    return chosen


def _cheapest(sizes: list[int], misses: Any, *, price: float, cold_start: float, start: int) -> tuple[int, ...]:
    """The sizes, minute by minute, of least 60 n + price x misses + cold start x replicas added."""
    size = np.array(sizes, dtype=float)
    count, slots = misses.shape
    best = cold_start * np.maximum(0.0, size - start)
    came_from = np.zeros((slots, count), dtype=np.int32)
    for slot in range(slots):
        # From above nothing is paid; from below a cold start for every replica added.
        above = np.minimum.accumulate(best[::-1])[::-1]
        below = np.minimum.accumulate(best - cold_start * size)
        up = below + cold_start * size < above
        came_from[slot] = np.where(up, _first_reaching(best - cold_start * size), _last_reaching(best))
        best = np.where(up, below + cold_start * size, above) + SLOT_SECONDS * size + price * misses[:, slot]
    place = int(np.argmin(best))
    plan = []
    for slot in range(slots - 1, -1, -1):
        plan.append(sizes[place])
        place = int(came_from[slot, place])
    return tuple(reversed(plan))


def _first_reaching(values: Any) -> Any:
    """For every place: where the least value up to and at it is."""
    lowest = np.minimum.accumulate(values)
    fresh = np.concatenate(([True], lowest[1:] < lowest[:-1]))
    return np.maximum.accumulate(np.where(fresh, np.arange(len(values)), 0))


def _last_reaching(values: Any) -> Any:
    """For every place: where the least value from it on is."""
    return len(values) - 1 - _first_reaching(values[::-1])[::-1]


def _undominated(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    kept: list[FrontierPoint] = []
    for point in sorted(points, key=lambda p: (-p.attainment_percent, p.cost)):
        if not kept or point.cost < kept[-1].cost:
            kept.append(point)
    return tuple(reversed(kept))
