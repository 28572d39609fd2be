"""The variations of benchmarks/ablations.py: one part of the scaler, or one thing it is shown, is changed."""

from __future__ import annotations

import bisect
import dataclasses
import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Final
from unittest.mock import patch

from inference_fleet.scaling import (
    demand,
    felt_load,
    fleets,
    forecast,
    hold,
    overload,
    price,
    rise,
    standby,
    violation_curve,
)
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.forecast import QUANTILES, Forecast, Outlook
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.season import Season
from inference_fleet.scaling.standby import Standby
from inference_fleet.scaling.types import Limits, ObjectiveLimit, Observation, PodSample
from inference_fleet.simulation import run as laboratory
from inference_fleet.simulation.fleet import Fleet
from inference_fleet.simulation.observe import Observer, Scrape, Sight
from inference_fleet.simulation.policies.own import OwnScaler
from inference_fleet.simulation.policies.policy import TICK_SECONDS
from inference_fleet.simulation.run import Run, simulate_policy
from inference_fleet.simulation.scenario import Scenario
from inference_fleet.simulation.synthetic import HOUR

USUAL: Final = "the scaler"
# Half an hour, as the operator asks Prometheus for after a start without a memory.
REPLAYED_TICKS: Final = int(1800 / TICK_SECONDS)
# The mean of the four minutes around a moment, and what the noise around it was in the two hours around.
AROUND_TICKS: Final = 8
NOISE_TICKS: Final = 240
LEAST_DEMAND: Final = 1e-3
# A store scrapes a pod every 15 s at a second of its own; the laboratory's clock is stopped at five of them.
SCRAPE_AGES_SECONDS: Final = (12.0, 9.0, 6.0, 3.0, 0.0)
FAILED_SHARE: Final = 0.03
# Each by itself times the first, and times the second.
FACTORS: Final = (0.7, 1.4)
# By where they are read. Left out: shares that cannot be so much more, units, and the bounds of tables.
CONSTANTS: Final = (
    (price, "START_PRICE"),
    (price, "MOST_PRICE"),
    (price, "STEEPNESS"),
    (price, "USED_IN_DAY"),
    (price, "USED_IN_WEEK"),
    (price, "LITTLE_SHARE"),
    (price, "PAID_BY_SERVED"),
    (violation_curve, "PRIOR_REQUESTS"),
    (violation_curve, "TIME_CONSTANT_SECONDS"),
    (forecast, "OBSERVATION_VARIANCE"),
    (forecast, "LARGEST_INNOVATION"),
    (forecast, "KNOWN_AFTER_ERRORS"),
    (forecast, "NEAR_SHARE"),
    (forecast, "BEYOND_TOP"),
    (felt_load, "MOST_SECONDS"),
    (demand, "BACKLOG_SECONDS"),
    (overload, "TICKS_AFTER"),
    (rise, "DEVIATIONS"),
    (standby, "ROOM"),
    (standby, "MEMORY_SECONDS"),
    (fleets, "DOWN_SHARE"),
)


@dataclass
class Demands:
    """What was felt of the demand in a run, in replicas, by its time: the truth that another run is told."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def place(self, moment: float) -> int | None:
        """Of the first tick from this moment on; None after the last."""
        place = bisect.bisect_left(self.times, moment)
        return place if place < len(self.times) else None

    def around(self, place: int) -> float:
        """The mean of some minutes."""
        near = self.values[max(0, place - AROUND_TICKS) : place + AROUND_TICKS + 1]
        return sum(near) / len(near)

    def noise(self) -> list[float]:
        """The logarithm of every tick's demand by the mean around it."""
        return [
            math.log(max(value, LEAST_DEMAND) / max(self.around(place), LEAST_DEMAND))
            for place, value in enumerate(self.values)
        ]


class Scaler(OwnScaler):
    """The operator's, watched and disturbed. restarted: what is left of the memory in every new hour of the trace, from
    the observations of the last half hour; demands: where the demand that was felt is noted.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        restarted: Callable[[Sequence[tuple[float, Observation]], Limits], ScalerMemory] | None = None,
        demands: Demands | None = None,
    ) -> None:
        super().__init__(limits)
        self._restarted, self._demands = restarted, demands
        self._seen: list[tuple[float, Observation]] = []
        self._began: float | None = None

    def decide(self, sight: Sight) -> tuple[int, ...]:
        """What the operator would ask for."""
        now = sight.now
        self._began = now if self._began is None else self._began
        if self._restarted and self._seen and (now - self._began) // HOUR > (self._seen[-1][0] - self._began) // HOUR:
            self.memory = self._restarted(self._seen, self._limits)
        self._seen = [*self._seen[1 - REPLAYED_TICKS :], (now, sight.observation)]
        fleet = super().decide(sight)
        if self._demands is not None:
            self._demands.times.append(now)
            self._demands.values.append(self.memory.felt.demand)
        return fleet


def nothing_left(seen: Sequence[tuple[float, Observation]], limits: Limits) -> ScalerMemory:
    """An operator that starts without a checkpoint and without Prometheus' past."""
    return ScalerMemory.empty()


def replayed(seen: Sequence[tuple[float, Observation]], limits: Limits) -> ScalerMemory:
    """An operator that starts without a checkpoint and asks Prometheus for the last half hour."""
    memory = ScalerMemory.empty()
    for now, observation in seen:
        _, memory = decide(memory, observation, limits, now)
    return memory


def exactly(demands: Demands) -> Callable[..., Outlook]:
    """Forecasts that are the demand of the moment they are for, without errors."""
    usual = Forecast.outlook

    def outlook(self: Forecast, *, rise: float = 0.0) -> Outlook:
        said = usual(self, rise=rise)
        place = demands.place(self.pending[-1].due) if self.pending else None
        if place is None:
            return said
        return Outlook(math.log(max(demands.values[place], LEAST_DEMAND)), tuple(0.0 for _ in said.errors))

    return outlook


def on_average(demands: Demands) -> Callable[..., Outlook]:
    """Forecasts that are the mean around the moment they are for, with the noise around it as their errors."""
    usual, noise = Forecast.outlook, demands.noise()

    def outlook(self: Forecast, *, rise: float = 0.0) -> Outlook:
        said = usual(self, rise=rise)
        place = demands.place(self.pending[-1].due) if self.pending else None
        if place is None:
            return said
        near = sorted(noise[max(0, place - NOISE_TICKS) : place + NOISE_TICKS])
        errors = tuple(near[int(share * len(near))] for share, _ in QUANTILES)
        return Outlook(math.log(max(demands.around(place), LEAST_DEMAND)), errors)

    return outlook


Variation = Callable[[Scenario, Demands], Run]


class SixSecondsOld(Observer):
    """All pods scraped at the same moment, as long ago as their own seconds are on average."""

    def draw_age(self) -> float:
        """In seconds."""
        return 6.0


class OwnSeconds(Observer):
    """Each pod scraped at a second of its own, the same in every tick."""

    def __init__(self, fleet: Fleet, *, objectives: Sequence[ObjectiveLimit], seed: int) -> None:
        super().__init__(fleet, objectives=objectives, seed=seed)
        self._of_the_fleet = fleet
        self.chance = random.Random(f"{seed} scrapes")
        self.former: dict[str, PodSample] = {}

    def draw_age(self) -> float:
        """Of the oldest, in seconds."""
        return SCRAPE_AGES_SECONDS[0]

    def scrape(self) -> Scrape:
        """Read each engine at its second, the histograms at the last."""
        tick = self._of_the_fleet.now + SCRAPE_AGES_SECONDS[0]
        looks = []
        for age in SCRAPE_AGES_SECONDS:
            self._of_the_fleet.advance(tick - age)
            looks.append(super().scrape())
        known = [{sample.pod: sample for samples in look.pods for sample in samples} for look in looks]
        newest = looks[-1]
        seen = tuple(
            tuple(sample for last in samples if (sample := self.sample_of(last.pod, known))) for samples in newest.pods
        )
        self.former = {sample.pod: sample for samples in seen for sample in samples}
        return dataclasses.replace(newest, pods=seen)

    def sample_of(self, pod: str, looks: Sequence[dict[str, PodSample]]) -> PodSample | None:
        """What is shown of a pod; None of one that was not ready at its second."""
        return looks[self.second_of(pod)].get(pod)

    def second_of(self, pod: str) -> int:
        """Which look is the pod's."""
        return zlib.crc32(pod.encode()) % len(SCRAPE_AGES_SECONDS)


class Pair(OwnSeconds):
    """Two stores that answer by turns, each of which scrapes a pod at another second."""

    def second_of(self, pod: str) -> int:
        """Which look is the pod's, in the store that answers."""
        other = zlib.crc32(f"{pod} other".encode()) if self.chance.random() < 1 / 2 else 0
        return (zlib.crc32(pod.encode()) + other) % len(SCRAPE_AGES_SECONDS)


class Failing(OwnSeconds):
    """Three scrapes in a hundred fail: the store answers with the sample before."""

    def sample_of(self, pod: str, looks: Sequence[dict[str, PodSample]]) -> PodSample | None:
        """The newest that did not fail."""
        failed = self.chance.random() < FAILED_SHARE
        return self.former.get(pod) if failed else super().sample_of(pod, looks)


def seen_by(observer: type[Observer]) -> Variation:
    """The scaler, shown what this observer shows."""

    def perform(scenario: Scenario, demands: Demands) -> Run:
        with patch.object(laboratory, "Observer", observer):
            return _run(scenario, Scaler(scenario.limits))

    return perform


def as_it_is(scenario: Scenario, demands: Demands) -> Run:
    """The scaler; what it felt is noted."""
    return _run(scenario, Scaler(scenario.limits, demands=demands))


def knows_the_demand(scenario: Scenario, demands: Demands) -> Run:
    """Told the demand at the end of a start."""
    with patch.object(Forecast, "outlook", exactly(demands)):
        return _run(scenario, Scaler(scenario.limits))


def knows_the_mean(scenario: Scenario, demands: Demands) -> Run:
    """Told the mean around the end of a start."""
    with patch.object(Forecast, "outlook", on_average(demands)):
        return _run(scenario, Scaler(scenario.limits))


def with_constant(module: ModuleType, name: str, factor: float) -> Variation:
    """One constant times this; counts are rounded down."""

    def perform(scenario: Scenario, demands: Demands) -> Run:
        usual = getattr(module, name)
        with patch.object(module, name, type(usual)(factor * usual)):
            return _run(scenario, Scaler(scenario.limits))

    return perform


def constant_words(module: ModuleType, name: str, factor: float) -> str:
    """The variation's name: `price.START_PRICE = 22 x 0.7`."""
    return f"{module.__name__.rpartition('.')[2]}.{name} = {getattr(module, name):g} x {factor:g}"


def without_hold(scenario: Scenario, demands: Demands) -> Run:
    """Fewer replicas as soon as fewer are enough."""
    with patch.object(hold, "HOLD_COLD_STARTS", 0.0):
        return _run(scenario, Scaler(scenario.limits))


def without_standby(scenario: Scenario, demands: Demands) -> Run:
    """Nothing stands by."""
    with patch.object(Standby, "replicas", lambda self, **_: 0):
        return _run(scenario, Scaler(scenario.limits))


def without_season(scenario: Scenario, demands: Demands) -> Run:
    """Nothing is expected at an hour."""
    with patch.object(Season, "learned", lambda self, demand, **_: self):
        return _run(scenario, Scaler(scenario.limits))


def every_hour(scenario: Scenario, demands: Demands) -> Run:
    """`windowHours: 1` in both objectives."""
    hourly = tuple(objective._replace(window_seconds=HOUR) for objective in scenario.objectives)
    scenario = dataclasses.replace(scenario, objectives=hourly)
    return _run(scenario, Scaler(scenario.limits))


def restarted_and_replayed(scenario: Scenario, demands: Demands) -> Run:
    """Restarted every hour, with Prometheus' past."""
    return _run(scenario, Scaler(scenario.limits, restarted=replayed))


def restarted_with_nothing(scenario: Scenario, demands: Demands) -> Run:
    """Restarted every hour, without it."""
    return _run(scenario, Scaler(scenario.limits, restarted=nothing_left))


# The first is what the others are compared with; those that are told what comes are told what it felt.
TABLES: Final[dict[str, dict[str, Variation]]] = {
    "foresight": {
        USUAL: as_it_is,
        "it knows the demand when a start ends": knows_the_demand,
        "it knows the mean of the four minutes around that": knows_the_mean,
        "no hold": without_hold,
        "none stands by": without_standby,
    },
    "windows": {USUAL: as_it_is, "windowHours: 1": every_hour},
    "restarts": {
        USUAL: as_it_is,
        "goes through the half hour again": restarted_and_replayed,
        "starts with nothing": restarted_with_nothing,
    },
    "crowds": {USUAL: as_it_is, "without it": without_season},
    "scrapes": {
        "all at the same moment": seen_by(SixSecondsOld),
        "each pod at a second of its own": seen_by(OwnSeconds),
        "two stores that answer by turns": seen_by(Pair),
        "three scrapes in a hundred fail": seen_by(Failing),
    },
    "constants": {
        USUAL: as_it_is,
        **{
            constant_words(module, name, factor): with_constant(module, name, factor)
            for module, name in CONSTANTS
            for factor in FACTORS
        },
    },
}


def _run(scenario: Scenario, policy: Scaler) -> Run:
    return simulate_policy(scenario, policy, name="fleet", parameters={})
