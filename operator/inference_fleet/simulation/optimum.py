"""What a scaler that knew the future would have paid: an offline optimum for a fleet of one or two variants.

Every fleet serves the whole trace once, which tells how many requests of every minute miss (requests that waited a
minute beyond the promise go away there, so that one hour's backlog is not booked on the next). A dynamic programme then
chooses a fleet for every minute: replica-seconds, plus the cold start of every replica that is added, plus a price on
every miss. Several prices give several plans; each is simulated, with starts a cold start early and no chance in
them, planned again with what was seen, and bettered by trial. Only simulated figures are used. The optimum over two
variants is sought among fleets of each alone, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from inference_fleet.scaling.promise import DEFAULT_TARGET
from inference_fleet.simulation.course import Courses, FrontierPoint, Plan, misses_by_slot
from inference_fleet.simulation.outcome import met
from inference_fleet.simulation.plan import SLOT_SECONDS, Kind, cheapest_plan
from inference_fleet.simulation.policies.static import StaticFleet
from inference_fleet.simulation.run import Progress, simulate_policy
from inference_fleet.simulation.scenario import Scenario

# Shares of requests that may miss, one plan for each, from the loosest.
BUDGETS: Final = (0.2, 0.08, 0.04, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0002)
COUNTS: Final = (*range(1, 13), *range(14, 25, 2), *range(27, 64, 3))
# Prices of a miss in replica-seconds between which the right one is sought. A budget that none keeps has a price so
# many times that of the budget before.
PRICES: Final = (1e-3, 1e5)
STEEPEST: Final = 4.0
BISECTIONS: Final = 18
# Below this share of misses no larger fleet is tried.
NO_MISSES: Final = 5e-5
# Misses a minute of a fleet outside the bounds.
FORBIDDEN: Final = 1e9
# Fleets that never change are looked at from this share of misses on.
CONSTANT_MISSES: Final = 0.03
MOST_CORRECTIONS: Final = 2
# Grids of three kinds of replicas would take days.
MOST_VARIANTS: Final = 2
# While the misses of a fixed size are counted, requests that wait longer than this beyond the promise are gone: a small
# fleet's misses at noon do not follow it through the night, when it would have been large enough. Short patience books
# too little on the minutes after an overload, long patience too much: plans are sought with both.
PATIENCES_SECONDS: Final = (60.0, 300.0)
# Above this only the first, for the sake of time.
MANY_REQUESTS: Final = 1_000_000
# Above this only these shares of what the target lets miss, for the same reason: one course takes as long as all of a
# day's.
VERY_MANY_REQUESTS: Final = 4_000_000
NEAR_TARGET: Final = (2.0, 1.0, 0.5, 0.3)
# A plan that misses this many times its budget, or less, is good enough: its point is where it is.
ACCEPTED_OVERRUN: Final = 1.1
# Courses are bettered by trial at so many prices, from this budget's to the tightest one's, in so many rounds each, or
# as many as simulate that many requests in all.
LOOSEST_BETTERED: Final = 0.04
BETTERED_PRICES: Final = 12
ROUNDS: Final = 12
TRIED_REQUESTS: Final = 20_000_000


@dataclass(frozen=True, slots=True)
class Survey:
    """Kinds of replicas with the sizes tried, and misses[size, (size of the second kind,) minute]."""

    kinds: tuple[Kind, ...]
    misses: Any

    def only(self, place: int) -> Survey:
        """Fleets of one of the kinds alone."""
        if len(self.kinds) == 1:
            return self
        kinds = tuple(kind if place == other else replace(kind, sizes=(0,)) for other, kind in enumerate(self.kinds))
        return Survey(kinds, self.misses[:, :1] if place == 0 else self.misses[:1])


def frontier(scenario: Scenario, *, progress: Progress | None = None) -> tuple[FrontierPoint, ...]:
    """The least cost found at each of several attainments, ascending; points that another beats are left out."""
    sure = replace(
        scenario, variants=tuple(replace(variant, cold_start_cv=0.0) for variant in scenario.variants), model_error=0.0
    )
    if len(sure.variants) > MOST_VARIANTS:
        return ()
    patiences = PATIENCES_SECONDS if len(sure.workload.arrivals) <= MANY_REQUESTS else PATIENCES_SECONDS[:1]
    told = progress or (lambda share: None)
    surveys = []
    for turn, patience in enumerate(patiences):
        hurried = replace(sure.settings, patience_seconds=sure.threshold_first + patience)
        surveys.append(_survey(replace(sure, settings=hurried), _part(told, turn, 2 * len(patiences))))
    places = tuple(range(len(sure.variants)))
    searches = [(place,) for place in places] + ([places] if len(places) > 1 else [])
    points: list[FrontierPoint] = []
    for turn, kinds in enumerate(searches):
        chosen = [survey.only(kinds[0]) if len(kinds) == 1 else survey for survey in surveys]
        part = _part(told, len(searches) + turn, 2 * len(searches))
        # Each search by itself: that over both variants then never has less to choose from than that over one.
        courses = Courses(sure)
        if len(kinds) == 1:
            _constant(courses, chosen[0], kinds[0])
        _search(courses, chosen, kinds=kinds, progress=part)
        points += courses.points
    return _undominated(points)


def _part(progress: Progress, turn: int, turns: int) -> Progress:
    """Progress of one of several parts of equal length."""
    return lambda share: progress((turn + share) / turns)


def _constant(courses: Courses, survey: Survey, place: int) -> None:
    """Follow fleets of one kind that never change: on calm traffic good courses to begin with."""
    requests = max(1, len(courses.scenario.workload.arrivals))
    totals = survey.misses.sum(axis=-1).reshape(-1)
    for size, missed in zip(survey.kinds[place].sizes, totals, strict=True):
        if size >= max(1, courses.scenario.min_replicas) and missed <= CONSTANT_MISSES * requests:
            counts = tuple(size if place == other else 0 for other in range(len(survey.kinds)))
            courses.follow((counts,) * survey.misses.shape[-1])


def _search(courses: Courses, surveys: Sequence[Survey], *, kinds: Sequence[int], progress: Progress) -> None:
    """Follow a plan of every survey for every budget; then, price by price, better by trial what is best at it."""
    requests = max(1, len(courses.scenario.workload.arrivals))
    budgets = _budgets(courses.scenario)
    prices: list[float] = []
    for budget in budgets:
        plans = [_plan(survey, missed=budget * requests, free_slots=courses.free_slots) for survey in surveys]
        for survey, (plan, _) in zip(surveys, plans, strict=True):
            _correct(courses, survey, plan, budget=budget)
        dearest = STEEPEST * prices[-1] if prices else math.inf
        prices.append(min(dearest, *(price for _, price in plans)))
    rounds = max(1, min(ROUNDS, TRIED_REQUESTS // (2 * requests * BETTERED_PRICES)))
    tight = [price for budget, price in zip(budgets, prices, strict=True) if budget <= LOOSEST_BETTERED] or prices
    for number, price in enumerate(np.geomspace(tight[0], tight[-1], BETTERED_PRICES).tolist()):
        # In money: the search's unit is a second of a replica of the first of its kinds.
        money = price * courses.scenario.variants[kinds[0]].cost_per_hour / 3600.0
        courses.better(price=money, rounds=rounds, kinds=kinds)
        progress((number + 1) / BETTERED_PRICES)


def _budgets(scenario: Scenario) -> tuple[float, ...]:
    """Shares of requests that may miss, from the loosest."""
    if len(scenario.workload.arrivals) <= VERY_MANY_REQUESTS:
        return BUDGETS
    allowed = 1 - max((objective.target for objective in scenario.objectives), default=DEFAULT_TARGET)
    return tuple(round(share * allowed, 6) for share in NEAR_TARGET)


def _correct(courses: Courses, survey: Survey, plan: Plan, *, budget: float) -> None:
    """Simulate a plan, and plan again with the misses that were seen, until the plan keeps its budget.

    A minute's misses with a fleet depend on the minutes before, which that fleet all along does not show. Where a plan
    fared worse than foreseen, that fleet and smaller ones are charged what was seen, in that minute and the one before.
    """
    requests = max(1, len(courses.scenario.workload.arrivals))
    misses = survey.misses.copy()
    for _ in range(MOST_CORRECTIONS):
        course = courses.follow(plan)
        if 1 - course.point.attainment_percent / 100 <= ACCEPTED_OVERRUN * budget:
            break
        places = _places(survey, plan)
        for slot in np.flatnonzero(course.misses > misses[(*places, np.arange(len(plan)))] + 1):
            for charged in (slot - 1, slot):
                if charged >= 0:
                    smaller = tuple(slice(place[charged] + 1) for place in places)
                    part = misses[(*smaller, charged)]
                    np.maximum(part, course.misses[slot], out=part)
        plan, _ = _plan(replace(survey, misses=misses), missed=budget * requests, free_slots=courses.free_slots)


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
        if not max(1, scenario.min_replicas) <= a + b <= scenario.max_replicas:
            misses[a, b] = FORBIDDEN
            continue
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
    log = simulate_policy(static, StaticFleet(*counts), name="static", parameters={}).log
    return misses_by_slot(log.arrival, ~met(log, scenario), slots=slots)


def _plan(survey: Survey, *, missed: float, free_slots: int) -> tuple[Plan, float]:
    """Of the plans of all prices the one of least cost that is expected to miss no more requests than that, and its
    price; else the dearest. Found by bisection on the price: a higher one never misses more."""
    low, high = PRICES
    unit = next(kind.cost for kind in survey.kinds if len(kind.sizes) > 1 or kind.sizes[0] > 0)
    best, price = cheapest_plan(survey.kinds, survey.misses, price=high * unit, free_slots=free_slots), high
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        plan = cheapest_plan(survey.kinds, survey.misses, price=middle * unit, free_slots=free_slots)
        expected = survey.misses[(*_places(survey, plan), np.arange(len(plan)))][free_slots:].sum()
        if expected <= missed:
            best, price, high = plan, middle, middle
        else:
            low = middle
    return best, price


def _places(survey: Survey, plan: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
    """Per variant: where the plan's sizes stand among those tried."""
    return tuple(np.array(plan)[:, place] - kind.sizes[0] for place, kind in enumerate(survey.kinds))


def _undominated(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    kept: list[FrontierPoint] = []
    for point in sorted(points, key=lambda p: (-p.attainment_percent, p.cost)):
        if not kept or point.cost < kept[-1].cost:
            kept.append(point)
    return tuple(reversed(kept))
