"""One run: a policy decides, tick by tick, over a simulated fleet that serves a trace."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from inference_fleet.simulation.fleet import Fleet
from inference_fleet.simulation.observe import Observer
from inference_fleet.simulation.outcome import Outcome, measure
from inference_fleet.simulation.plan import SLOT_SECONDS
from inference_fleet.simulation.policies.policy import TICK_SECONDS, Policy, PolicyKind, Timetable
from inference_fleet.simulation.request_log import RequestLog
from inference_fleet.simulation.scenario import Scenario

# After the last arrival the fleet may finish what it has; what is not done by then has failed.
FINISH_SECONDS: Final = 1800.0

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Moment:
    """The fleet at one tick, for plots: seconds, replicas asked for and ready, requests running and waiting, and how
    many have come so far."""

    time: float
    desired: int
    ready: int
    running: int
    waiting: int
    arrived: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run. log: every request, for plots; it does not travel between processes."""

    scenario: Scenario
    policy: str
    parameters: Mapping[str, float]
    outcome: Outcome
    moments: tuple[Moment, ...]
    cpu_seconds: float
    log: RequestLog


def simulate(
    scenario: Scenario,
    kind: PolicyKind,
    *,
    parameters: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run a policy over a scenario. `progress` is told the share (0..1) of the trace that is done."""
    chosen = {**kind.defaults, **(parameters or {})}
    return simulate_policy(
        scenario,
        kind.build(scenario.limits, chosen),
        name=kind.name,
        parameters=chosen,
        progress=progress,
    )


def simulate_policy(
    scenario: Scenario,
    policy: Policy | Timetable,
    *,
    name: str,
    parameters: Mapping[str, float],
    progress: Progress | None = None,
) -> Run:
    """The same with a policy object."""
    started = time.process_time()
    log = RequestLog(scenario.workload.arrivals)
    fleet = Fleet(scenario.variants, log, settings=scenario.settings, start=scenario.start, seed=scenario.seed)
    observer = Observer(fleet, objectives=scenario.objectives, seed=scenario.seed)
    horizon = math.ceil(log.span_seconds / SLOT_SECONDS) * SLOT_SECONDS
    moments: list[Moment] = []
    tick = TICK_SECONDS
    # Asked once: a protocol is slow to look for.
    timetable = policy if isinstance(policy, Timetable) else None
    watcher = None if isinstance(policy, Timetable) else policy
    while tick <= horizon:
        if watcher is not None:
            fleet.advance(tick - observer.draw_age())
            scrape = observer.scrape()
            fleet.advance(tick)
            wanted = watcher.decide(observer.show(scrape))
        elif timetable is not None:
            fleet.advance(tick)
            wanted = timetable.at(tick)
        for place, count in enumerate(wanted):
            fleet.scale(place, count)
        if timetable is None or tick % SLOT_SECONDS == 0:
            moments.append(_moment(fleet))
        if progress is not None:
            progress(tick / horizon)
        tick += TICK_SECONDS
    fleet.advance(horizon)
    until = horizon
    while not fleet.idle and until < horizon + FINISH_SECONDS:
        until += SLOT_SECONDS
        fleet.advance(until)
    outcome = measure(fleet, scenario, wanted=[(m.time, m.desired) for m in moments], horizon=horizon)
    return Run(
        scenario=scenario,
        policy=name,
        parameters=parameters,
        outcome=outcome,
        moments=tuple(moments),
        cpu_seconds=time.process_time() - started,
        log=log,
    )


def _moment(fleet: Fleet) -> Moment:
    places = range(len(fleet.variants))
    ready = [replica for place in places for replica in fleet.ready(place)]
    shown = fleet.shown(ready)
    return Moment(
        time=fleet.now,
        desired=sum(fleet.desired(place) for place in places),
        ready=len(ready),
        running=int(sum(row[0] for row in shown)),
        waiting=int(sum(row[1] for row in shown)),
        arrived=fleet.log.arrived,
    )
