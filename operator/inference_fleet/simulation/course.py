"""Courses of fleet sizes, minute by minute, simulated: what a course came to, and a better one found by trial.

A plan from static fleets' misses is too hopeful (it takes each minute from the fleet that was lucky in it) and knows
nothing of backlogs. So it is bettered by what the simulation says: a replica more or fewer in many windows at once, far
enough apart to be judged one by one; those that paid are kept together, if that pays in a simulation of its own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from inference_fleet.simulation.outcome import met
from inference_fleet.simulation.plan import SLOT_SECONDS
from inference_fleet.simulation.run import simulate_policy
from inference_fleet.simulation.scenario import Scenario

Plan = tuple[tuple[int, ...], ...]

# Minutes in which a replica is added or left out, in turn; as long again is left as it was before the next window.
WINDOWS: Final = (20, 10, 5, 3)
# A tick of 15 s and a probe of 5 s: what is begun at a tick is ready by then.
LATENESS_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A course that was simulated: what it kept and what it cost."""

    attainment_percent: float
    replica_hours: float
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A plan, its point, and the misses of every minute that counts (none in the warm-up)."""

    plan: Plan
    point: FrontierPoint
    misses: Any

    def priced(self, price: float) -> float:
        """Cost, with a price on every miss."""
        return self.point.cost + price * float(self.misses.sum())


class PlannedFleet:
    """Follows a plan of replicas per minute and variant; starts what is needed later a cold start early."""

    def __init__(self, plan: Sequence[tuple[int, ...]], *, cold_starts: Sequence[float]) -> None:
        self._plan = plan
        self._cold_starts = cold_starts

    def at(self, now: float) -> tuple[int, ...]:
        """The most that the plan wants from now until a start begun now would be ready."""
        last = len(self._plan) - 1
        begin = min(last, int(now // SLOT_SECONDS))
        ends = [min(last, int((now + seconds + LATENESS_SECONDS) // SLOT_SECONDS)) for seconds in self._cold_starts]
        return tuple(max(counts[place] for counts in self._plan[begin : end + 1]) for place, end in enumerate(ends))


@dataclass(slots=True)
class Courses:
    """Every course that was simulated for a scenario."""

    scenario: Scenario
    tried: dict[Plan, Course] = field(default_factory=dict)

    @property
    def points(self) -> list[FrontierPoint]:
        """Of all of them."""
        return [course.point for course in self.tried.values()]

    def follow(self, plan: Plan) -> Course:
        """Simulate a plan, once."""
        if plan not in self.tried:
            cold_starts = [variant.cold_start_seconds for variant in self.scenario.variants]
            policy = PlannedFleet(plan, cold_starts=cold_starts)
            run = simulate_policy(self.scenario, policy, name="optimum", parameters={})
            misses = misses_by_slot(run.log.arrival, ~met(run.log, self.scenario), slots=len(plan))
            misses[: self.free_slots] = 0.0
            outcome = run.outcome
            point = FrontierPoint(outcome.attainment_percent, outcome.replica_hours, outcome.cost)
            self.tried[plan] = Course(plan, point, misses)
        return self.tried[plan]

    @property
    def free_slots(self) -> int:
        """Minutes of the warm-up: what they cost and miss does not count."""
        return int(self.scenario.warm_up // SLOT_SECONDS)

    def better(self, *, price: float, rounds: int, kinds: Sequence[int]) -> None:
        """Change the course that is best at a price of a miss, by so many rounds of trial (two simulations each).
        kinds: variants whose number may change."""
        best = min(self.tried.values(), key=lambda each: each.priced(price))
        chance = random.Random(len(self.tried))  # noqa: S311 - repeatable, not secret
        for number in range(rounds):
            length = WINDOWS[number % len(WINDOWS)]
            kind = kinds[chance.randrange(len(kinds))]
            # Fewer is tried twice as often: most courses begin with too many.
            change = 1 if chance.randrange(3) == 0 else -1
            windows = self._windows(best.plan, length=length, offset=chance.randrange(2 * length))
            changed = {window: self._changed(best.plan, window, kind=kind, change=change) for window in windows}
            tried = self.follow(_merged(best.plan, changed))
            paid = {
                (begin, end): part
                for (begin, end), part in changed.items()
                if part is not None
                and self._saved(best, (begin, end), part, kind=kind)
                > price * float((tried.misses - best.misses)[begin : end + length].sum())
            }
            if paid:
                best = min((best, tried, self.follow(_merged(best.plan, paid))), key=lambda each: each.priced(price))

    def _windows(self, plan: Plan, *, length: int, offset: int) -> list[tuple[int, int]]:
        begins = range(offset - 2 * length, len(plan), 2 * length)
        windows = [(max(0, begin), min(len(plan), begin + length)) for begin in begins]
        return [(begin, end) for begin, end in windows if end > max(begin, self.free_slots)]

    def _changed(self, plan: Plan, window: tuple[int, int], *, kind: int, change: int) -> Plan | None:
        """The window with that many replicas more; None where that leaves the bounds."""
        low, high = max(1, self.scenario.min_replicas), self.scenario.max_replicas
        part = tuple(
            tuple(count + change * (place == kind) for place, count in enumerate(counts))
            for counts in plan[window[0] : window[1]]
        )
        return part if all(min(counts) >= 0 and low <= sum(counts) <= high for counts in part) else None

    def _saved(self, course: Course, window: tuple[int, int], part: Plan, *, kind: int) -> float:
        """What the changed window costs less, starts included."""
        variant = self.scenario.variants[kind]
        begin, end = window
        counted = max(begin, self.free_slots)
        held = SLOT_SECONDS * sum(course.plan[slot][kind] - part[slot - begin][kind] for slot in range(counted, end))
        first = [(course.plan[begin - 1] if begin else self.scenario.start)[kind]]
        last = [counts[kind] for counts in course.plan[end : end + 1]]
        before = [*first, *(counts[kind] for counts in course.plan[begin:end]), *last]
        after = [*first, *(counts[kind] for counts in part), *last]
        starts = variant.cold_start_seconds * (_rises(before) - _rises(after))
        return variant.cost_per_hour / 3600.0 * (held + starts)


def misses_by_slot(arrivals: Any, missed: Any, *, slots: int) -> Any:
    """How many requests of every minute missed. arrivals: seconds; missed: per request."""
    minutes = np.minimum(slots - 1, (arrivals // SLOT_SECONDS).astype(np.int64))
    return np.bincount(minutes[missed], minlength=slots).astype(float)


def _merged(plan: Plan, parts: Mapping[tuple[int, int], Plan | None]) -> Plan:
    whole = list(plan)
    for (begin, end), part in parts.items():
        if part is not None:
            whole[begin:end] = part
    return tuple(whole)


def _rises(counts: Sequence[int]) -> int:
    return sum(max(0, later - earlier) for earlier, later in itertools.pairwise(counts))
