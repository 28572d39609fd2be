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

# Shares of requests that may miss, one plan (and its corrections) for each, from the loosest.
BUDGETS: Final = (0.2, 0.05, 0.02, 0.01, 0.005, 0.002, 0.0005)
COUNTS: Final = (*range(1, 13), *range(14, 25, 2), *range(27, 64, 3))
# Prices of a miss in replica-seconds between which the right one is sought.
PRICES: Final = (1e-3, 1e5)
BISECTIONS: Final = 18
# Below this share of misses no larger fleet is tried.
NO_MISSES: Final = 2e-4
MOST_CORRECTIONS: Final = 5
# A plan that misses this many times its budget, or less, is good enough: its point is where it is.
ACCEPTED_OVERRUN: Final = 1.1


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
    sizes, misses = _misses(sure, progress)
    points: list[FrontierPoint] = []
    tried: set[tuple[int, ...]] = set()
    for number, budget in enumerate(BUDGETS):
        points += _corrected(sure, sizes, misses, budget=budget, tried=tried)
        if progress is not None:
            progress(0.5 + 0.5 * (number + 1) / len(BUDGETS))
    return _undominated(points)


def _corrected(
    scenario: Scenario, sizes: list[int], misses: Any, *, budget: float, tried: set[tuple[int, ...]]
) -> list[FrontierPoint]:
    """Plan, simulate, and plan again with the misses that were seen, until the plan keeps its budget.

    A minute's misses with n replicas depend on the minutes before, which a fleet of n all along does not show. Where a
    plan fared worse than foreseen, that size and smaller ones are charged what was seen, in that minute and the one
    before. `misses` keeps the corrections for the budgets to come, `tried` the plans that were simulated.
    """
    points = []
    for _ in range(MOST_CORRECTIONS):
        plan = _plan(scenario, sizes, misses, budget=budget)
        if plan in tried:
            break
        tried.add(plan)
        policy = PlannedFleet(plan, cold_start_seconds=scenario.variants[0].cold_start_seconds)
        run = simulate_policy(scenario, policy, name="optimum", parameters={})
        outcome = run.outcome
        points.append(FrontierPoint(outcome.attainment_percent, outcome.replica_hours, outcome.cost))
        seen = _misses_by_slot(run, slots=len(plan))
        if 1 - outcome.attainment_percent / 100 <= ACCEPTED_OVERRUN * budget:
            break
        places = np.array(plan) - sizes[0]
        worse = seen > misses[places, np.arange(len(plan))] + 1
        for slot in np.flatnonzero(worse):
            for charged in (slot - 1, slot):
                if charged >= 0:
                    column = misses[: places[charged] + 1, charged]
                    np.maximum(column, seen[slot], out=column)
    return points


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


def _misses(scenario: Scenario, progress: Callable[[float], None] | None) -> tuple[list[int], Any]:
    """Fleet sizes tried, and misses[size, minute] when every size serves the whole trace."""
    slots = math.ceil(scenario.workload.span_seconds / SLOT_SECONDS)
    requests = max(1, len(scenario.workload.arrivals))
    tried: list[int] = []
    rows: list[Any] = []
    for number, count in enumerate(COUNTS):
        if not scenario.min_replicas <= count <= scenario.max_replicas:
            continue
        static = replace(scenario, start=(count,))
        run = simulate_policy(static, StaticFleet(count, variants=1), name="static", parameters={})
        tried.append(count)
        rows.append(_misses_by_slot(run, slots=slots))
        if progress is not None:
            progress(0.5 * (number + 1) / len(COUNTS))
        left = rows[-1].sum()
        before = rows[-2].sum() if len(rows) > 1 else math.inf
        # Some requests miss whatever the fleet (prompts too long for the promise): stop where size no longer helps.
        if left <= NO_MISSES * requests or (left < 0.05 * requests and left > 0.97 * before):
            break
    sizes = list(range(tried[0], tried[-1] + 1))
    table = np.array(rows)
    return sizes, np.array([np.interp(sizes, tried, table[:, slot]) for slot in range(slots)]).T


def _misses_by_slot(run: Run, *, slots: int) -> Any:
    missed = ~met(run.log, run.scenario)
    minutes = np.minimum(slots - 1, (run.log.arrival // SLOT_SECONDS).astype(np.int64))
    return np.bincount(minutes[missed], minlength=slots).astype(float)


def _plan(scenario: Scenario, sizes: list[int], misses: Any, *, budget: float) -> tuple[int, ...]:
    """Of the plans of all prices the one of least cost that is expected to keep the budget; else the one that comes
    nearest. Found by bisection on the price: a higher one never misses more."""
    cold_start = scenario.variants[0].cold_start_seconds
    requests = max(1, len(scenario.workload.arrivals))
    low, high = PRICES
    best = cheapest_plan(sizes, misses, price=high, cold_start=cold_start, start=scenario.start[0])
    for _ in range(BISECTIONS):
        price = math.sqrt(low * high)
        plan = cheapest_plan(sizes, misses, price=price, cold_start=cold_start, start=scenario.start[0])
        missed = misses[np.array(plan) - sizes[0], np.arange(len(plan))].sum()
        if missed <= budget * requests:
            best, high = plan, price
        else:
            low = price
    return best


def cheapest_plan(sizes: list[int], misses: Any, *, price: float, cold_start: float, start: int) -> tuple[int, ...]:
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
