"""What a tick teaches of the load: what comes of it, at which load promises break, and what of the budget is spent."""

from __future__ import annotations

from typing import NamedTuple

from inference_fleet.scaling.felt_load import FeltLoad
from inference_fleet.scaling.forecast import Forecast
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.overload import BACKLOG_SHARE, Overload
from inference_fleet.scaling.price import Budget
from inference_fleet.scaling.promise import unavoidable_share
from inference_fleet.scaling.rise import Rise
from inference_fleet.scaling.tick import Tick
from inference_fleet.scaling.violation_curve import ViolationCurve
from inference_fleet.scaling.worst_window import WorstWindow


class Lessons(NamedTuple):
    """Fields of the memory, by their names there."""

    felt: FeltLoad
    forecast: Forecast
    rise: Rise
    overload: Overload
    curve: ViolationCurve
    budget: Budget
    worst_window: WorstWindow


def taught(memory: ScalerMemory, tick: Tick) -> Lessons:
    """What is known after the tick."""
    demand, seconds, reference = tick.reference.demand, tick.seconds, tick.reference
    felt, forecast, rise, overload = memory.felt, memory.forecast, memory.rise, memory.overload
    curve, budget, worst = memory.curve, memory.budget, memory.worst_window
    if tick.seen_rates is not None:
        rise = rise.learned(demand, arrivals=tick.seen_rates.arrivals, seconds=seconds)
    if not tick.learns:
        if tick.seen_rates is not None:
            forecast = forecast.followed(demand, seconds=seconds)
        return Lessons(felt, forecast, rise, overload, curve, budget, worst)
    felt = felt.learned(
        demand=demand, compute=reference.compute, service_seconds=tick.traffic.service_seconds, seconds=seconds
    )
    forecast = forecast.learned(
        demand,
        felt=felt.demand,
        seconds=seconds,
        lead_seconds=tick.lead,
        now=tick.now,
        expected=stands_ready(memory, tick),
    )
    # What is held is seen as it is: requests that run are those of the last minutes already.
    relative = max(felt.compute + reference.backlog, reference.space) / tick.ready
    backlog = tick.queue_seconds > BACKLOG_SHARE * tick.promise.first_token_seconds
    overload = overload.learned(relative, ready=tick.ready, backlog=backlog)
    # Curve and budget stay as they are while histograms are missing.
    if tick.misses is not None:
        requests, misses = tick.misses
        curve = curve.learned(
            load=overload.booked, requests=requests, misses=misses, seconds=seconds, unit=reference.unit
        )
        # Where quiet loads alone break the target the budget is of the misses beyond them.
        late = max(0.0, misses - unavoidable_share(curve, target=tick.promise.target) * requests)
        budget = budget.learned(misses=late, requests=requests, seconds=seconds)
        worst = worst.learned(
            misses=late,
            requests=requests,
            seconds=seconds,
            window_seconds=tick.promise.window_seconds,
            target=tick.promise.target,
        )
    return Lessons(felt, forecast, rise, overload, curve, budget, worst)


def stands_ready(memory: ScalerMemory, tick: Tick) -> float:
    """Replicas of the first variant that were asked for, a start ago, for what comes now at its hour."""
    season = memory.season.at(tick.now - tick.lead)
    if not season:
        return 0.0
    # They are counted in those of the variant that carried most.
    return season * next((c.worth for c in tick.carriers if c.name == memory.preference.main), 1.0)
