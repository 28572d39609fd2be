"""What a scaler that knew the future would have paid: an offline optimum for a fleet of one or two variants.

Every fleet serves the whole trace once, which tells how many requests of every minute miss (requests that waited a
minute beyond the promise go away there, so that one hour's backlog is not booked on the next). A dynamic programme then
chooses a fleet for every minute: replica-seconds, plus the cold start of every replica that is added, plus a price on
every miss. Several prices give several plans; each plan is simulated, with starts a cold start early and no chance in
them, and only simulated figures are used. The plan is approximate where a backlog outlives its minute.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.outcome import met
from inference_fleet.simulation.plan import SLOT_SECONDS, Kind, cheapest_plan
from inference_fleet.simulation.policies.static import StaticFleet
from inference_fleet.simulation.run import Progress, Run, simulate_policy
from inference_fleet.simulation.scenario import Scenario

# Shares of requests that may miss, one plan (and its corrections) for each, from the loosest.
BUDGETS: Final = (0.2, 0.08, 0.04, 0.02, 0.014, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001, 0.0005)
COUNTS: Final = (*range(1, 13), *range(14, 25, 2), *range(27, 64, 3))
# Prices of a miss in replica-seconds between which the right one is sought.
PRICES: Final = (1e-3, 1e5)
BISECTIONS: Final = 18
# Below this share of misses no larger fleet is tried.
NO_MISSES: Final = 2e-4
# Fleets that never change are looked at from this share of misses on.
CONSTANT_MISSES: Final = 0.03
MOST_CORRECTIONS: Final = 5
# Grids of three kinds of replicas would take days.
MOST_VARIANTS: Final = 2
# While the misses of a fixed size are counted, requests that wait longer than this beyond the promise are gone: a small
# fleet's misses at noon do not follow it through the night, when it would have been large enough. Short patience books
# too little on the minutes after an overload, long patience too much: plans are sought with both.
PATIENCES_SECONDS: Final = (60.0, 300.0)
# Above this only the first, for the sake of time.
MANY_REQUESTS: Final = 1_000_000
# A plan that misses this many times its budget, or less, is good enough: its point is where it is.
ACCEPTED_OVERRUN: Final = 1.1


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A plan that was simulated: what it kept and what it cost."""

    attainment_percent: float
    replica_hours: float
    cost: float


class PlannedFleet:
    """Follows a plan of replicas per minute and variant; starts what is needed later a cold start early."""

    def __init__(self, plan: Sequence[tuple[int, ...]], *, cold_starts: Sequence[float]) -> None:
        self._plan = plan
        self._cold_starts = cold_starts

    def at(self, now: float) -> tuple[int, ...]:
        """The most that the plan wants from now until a start begun now would be ready."""
        last = len(self._plan) - 1
        begin = min(last, int(now // SLOT_SECONDS))
        # A tick of 15 s and a probe of 5 s: what is begun at this tick is ready by then.
        ends = [min(last, int((now + seconds + 20.0) // SLOT_SECONDS)) for seconds in self._cold_starts]
        return tuple(max(counts[place] for counts in self._plan[begin : end + 1]) for place, end in enumerate(ends))


@dataclass(frozen=True, slots=True)
class Survey:
    """Kinds of replicas with the sizes tried, and misses[size, (size of the second kind,) minute]."""

    kinds: tuple[Kind, ...]
    misses: Any


def frontier(scenario: Scenario, *, progress: Progress | None = None) -> tuple[FrontierPoint, ...]:
    """The least cost found at each of several attainments, ascending; points that another beats are left out."""
    sure = replace(
        scenario, variants=tuple(replace(variant, cold_start_cv=0.0) for variant in scenario.variants), model_error=0.0
    )
    if len(sure.variants) > MOST_VARIANTS:
        return ()
    points: list[FrontierPoint] = []
    tried: set[tuple[tuple[int, ...], ...]] = set()
    patiences = PATIENCES_SECONDS if len(sure.workload.arrivals) <= MANY_REQUESTS else PATIENCES_SECONDS[:1]
    for turn, patience in enumerate(patiences):
        part = _part(progress, turn, len(patiences))
        hurried = replace(sure.settings, patience_seconds=sure.threshold_first + patience)
        survey = _survey(replace(sure, settings=hurried), _part(part, 0, 2))
        points += _constant(sure, survey, tried=tried)
        for number, budget in enumerate(BUDGETS):
            points += _corrected(sure, survey, budget=budget, tried=tried)
            part(0.5 + 0.5 * (number + 1) / len(BUDGETS))
    return _undominated(points)


def _part(progress: Progress | None, turn: int, turns: int) -> Progress:
    """Progress of one of several parts of equal length."""
    return lambda share: None if progress is None else progress((turn + share) / turns)


def _constant(scenario: Scenario, survey: Survey, *, tried: set[tuple[tuple[int, ...], ...]]) -> list[FrontierPoint]:
    """Fleets of one kind that never change are courses too: the best ones on calm traffic."""
    points = []
    requests = max(1, len(scenario.workload.arrivals))
    totals = survey.misses.sum(axis=-1)
    for place, kind in enumerate(survey.kinds):
        for size in kind.sizes:
            counts = tuple(size if place == other else 0 for other in range(len(survey.kinds)))
            where = tuple(count - each.sizes[0] for count, each in zip(counts, survey.kinds, strict=True))
            plan = (counts,) * survey.misses.shape[-1]
            if any(index < 0 for index in where) or totals[where] > CONSTANT_MISSES * requests or plan in tried:
                continue
            tried.add(plan)
            outcome = simulate_policy(scenario, StaticFleet(*counts), name="optimum", parameters={}).outcome
            points.append(FrontierPoint(outcome.attainment_percent, outcome.replica_hours, outcome.cost))
    return points


def _corrected(
    scenario: Scenario, survey: Survey, *, budget: float, tried: set[tuple[tuple[int, ...], ...]]
) -> list[FrontierPoint]:
    """Plan, simulate, and plan again with the misses that were seen, until the plan keeps its budget.

    A minute's misses with a fleet depend on the minutes before, which that fleet all along does not show. Where a plan
    fared worse than foreseen, that fleet and smaller ones are charged what was seen, in that minute and the one before.
    The survey keeps the corrections for the budgets to come, `tried` the plans that were simulated.
    """
    points = []
    misses = survey.misses
    for _ in range(MOST_CORRECTIONS):
        plan = _plan(scenario, survey, budget=budget)
        if plan in tried:
            break
        tried.add(plan)
        policy = PlannedFleet(plan, cold_starts=[variant.cold_start_seconds for variant in scenario.variants])
        run = simulate_policy(scenario, policy, name="optimum", parameters={})
        outcome = run.outcome
        points.append(FrontierPoint(outcome.attainment_percent, outcome.replica_hours, outcome.cost))
        seen = _misses_by_slot(run, slots=len(plan))
        if 1 - outcome.attainment_percent / 100 <= ACCEPTED_OVERRUN * budget:
            break
        places = _places(survey, plan)
        worse = seen > misses[(*places, np.arange(len(plan)))] + 1
        for slot in np.flatnonzero(worse):
            for charged in (slot - 1, slot):
                if charged >= 0:
                    smaller = tuple(slice(place[charged] + 1) for place in places)
                    part = misses[(*smaller, charged)]
                    np.maximum(part, seen[slot], out=part)
    return points


def cost_at(points: Sequence[FrontierPoint], attainment_percent: float) -> float:
    """The frontier's cost at this attainment, linear in log10 of the missing share; its ends beyond its ends."""
    if not points:
        return math.nan
    wanted = _nines(attainment_percent)
    marks = [_nines(point.attainment_percent) for point in points]
    return float(np.interp(wanted, marks, [point.cost for point in points]))


def _nines(attainment_percent: float) -> float:
    return -math.log10(max(1e-6, 1 - attainment_percent / 100))


def _survey(scenario: Scenario, progress: Progress) -> Survey:
    """Serve the whole trace with every fleet that may be needed."""
    slots = max(1, math.ceil(scenario.workload.span_seconds / SLOT_SECONDS))
    alone = [_alone(scenario, place, slots=slots, progress=progress) for place in range(len(scenario.variants))]
    kinds = tuple(
        Kind(tuple(rows), variant.cost_per_hour, variant.cold_start_seconds, start)
        for rows, variant, start in zip(alone, scenario.variants, scenario.start, strict=True)
    )
    if len(kinds) == 1:
        rows = alone[0]
        return Survey(kinds, np.array([rows[size] for size in kinds[0].sizes]))
    # A fleet of both kinds. Where a smaller one misses nothing, or all but nothing, a larger one is not tried.
    first, second = (tuple(range(max(kind.sizes) + 1)) for kind in kinds)
    misses = np.zeros((len(first), len(second), slots))
    enough = np.zeros(misses.shape[:2], dtype=bool)
    few = NO_MISSES * max(1, len(scenario.workload.arrivals))
    for a, b in itertools.product(first, second):
        if (a and enough[a - 1, b]) or (b and enough[a, b - 1]):
            misses[a, b] = misses[a - 1, b] if a and enough[a - 1, b] else misses[a, b - 1]
            enough[a, b] = True
            continue
        known = (alone[0].get(a) if not b else None) if a else alone[1].get(b)
        misses[a, b] = _static_misses(scenario, (a, b), slots=slots) if known is None else known
        enough[a, b] = misses[a, b].sum() <= few
        progress(0.5 + 0.5 * (a * len(second) + b) / enough.size)
    both = tuple(replace(kind, sizes=sizes) for kind, sizes in zip(kinds, (first, second), strict=True))
    return Survey(both, misses)


def _alone(scenario: Scenario, place: int, *, slots: int, progress: Progress) -> dict[int, Any]:
    """Misses of every minute with every size of one variant alone."""
    requests = max(1, len(scenario.workload.arrivals))
    tried: dict[int, Any] = {}
    before = math.inf
    for number, count in enumerate(COUNTS):
        if not scenario.min_replicas <= count <= scenario.max_replicas:
            continue
        counts = tuple(count if place == other else 0 for other in range(len(scenario.variants)))
        tried[count] = _static_misses(scenario, counts, slots=slots)
        progress((number + 1) / len(COUNTS))
        left = tried[count].sum()
        # Some requests miss whatever the fleet (prompts too long for the promise): stop where size no longer helps.
        if left <= NO_MISSES * requests or (left < 0.05 * requests and left > 0.97 * before):
            break
        before = left
    table = np.array(list(tried.values()))
    sizes = range(min(tried), max(tried) + 1)
    filled = np.array([np.interp(sizes, list(tried), table[:, slot]) for slot in range(slots)]).T
    return dict(zip(sizes, filled, strict=True))


def _static_misses(scenario: Scenario, counts: tuple[int, ...], *, slots: int) -> Any:
    static = replace(scenario, start=counts)
    run = simulate_policy(static, StaticFleet(*counts), name="static", parameters={})
    return _misses_by_slot(run, slots=slots)


def _misses_by_slot(run: Run, *, slots: int) -> Any:
    missed = ~met(run.log, run.scenario)
    minutes = np.minimum(slots - 1, (run.log.arrival // SLOT_SECONDS).astype(np.int64))
    return np.bincount(minutes[missed], minlength=slots).astype(float)


def _plan(scenario: Scenario, survey: Survey, *, budget: float) -> tuple[tuple[int, ...], ...]:
    """Of the plans of all prices the one of least cost that is expected to keep the budget; else the one that comes
    nearest. Found by bisection on the price: a higher one never misses more."""
    requests = max(1, len(scenario.workload.arrivals))
    low, high = PRICES
    best = cheapest_plan(survey.kinds, survey.misses, price=high * survey.kinds[0].cost)
    for _ in range(BISECTIONS):
        price = math.sqrt(low * high)
        plan = cheapest_plan(survey.kinds, survey.misses, price=price * survey.kinds[0].cost)
        missed = survey.misses[(*_places(survey, plan), np.arange(len(plan)))].sum()
        if missed <= budget * requests:
            best, high = plan, price
        else:
            low = price
    return best


def _places(survey: Survey, plan: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """Per variant: where the plan's sizes stand among those tried."""
    return tuple(np.array(plan)[:, place] - kind.sizes[0] for place, kind in enumerate(survey.kinds))


def _undominated(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    kept: list[FrontierPoint] = []
    for point in sorted(points, key=lambda p: (-p.attainment_percent, p.cost)):
        if not kept or point.cost < kept[-1].cost:
            kept.append(point)
    return tuple(reversed(kept))
