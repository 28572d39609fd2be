"""What engines count is counted once, whichever of them come, go and start again: asked of a real Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from builders.recorded_prometheus import Recorded, recorded_prometheus
from inference_fleet.adapters.ports import FleetSamples, PastSamples
from inference_fleet.adapters.prometheus import PrometheusSignals
from inference_fleet.scaling.types import HistogramSample

START = 1_800_000_000.0
SCRAPE_SECONDS, TICK_SECONDS = 5.0, 15.0
LAST_TICK = 44
PROMISED = (("TimeToFirstToken", 1.0),)
# One request in this many is late.
LATE = 10

Page = Mapping[float, float]
"""Requests that one engine has counted at its scrapes, by seconds since the start."""


def page(per_second: float, *, begins: float = 1.0, ends: float = 700.0, counted: float = 0.0) -> Page:
    """An engine that is scraped from `begins` to before `ends`."""
    scrapes = [begins + SCRAPE_SECONDS * n for n in range(int((ends - begins - 0.1) / SCRAPE_SECONDS) + 1)]
    return {at: counted + per_second * (at - begins) for at in scrapes}


# By deployment: its engines. They count far more together than the one that goes has.
STEADY = {f"s{n}": page(20.0, begins=0.5 + n) for n in range(3)}
SCENARIOS: Mapping[str, Mapping[str, Page]] = {
    "leaves": {**STEADY, "gone": page(2.0, begins=2.0, ends=301.0)},
    "restarts": {**STEADY, "again": page(2.0, begins=2.0, ends=299.0) | page(2.0, begins=302.0)},
    "comes": {**STEADY, "new": page(2.0, begins=303.0, counted=7.0)},
    "is missing": {**STEADY, "away": page(4.0, begins=2.0, ends=241.0) | page(4.0, begins=322.0, counted=1280.0)},
    "all leave": {"first": page(4.0, begins=2.0, ends=301.0), "next": page(4.0, begins=331.0)},
    "returns late": {**STEADY, "away": page(4.0, begins=2.0, ends=161.0) | page(4.0, begins=502.0, counted=2000.0)},
}


def series(deployment: str, pod: str, counted: Page, **labels: str) -> Iterator[Recorded]:
    place = {"namespace": "chat", "inference_deployment": deployment, "inference_variant": "a", **labels}
    place["pod"] = f"{deployment}-{pod}"
    for at, requests in counted.items():
        for le, count in (("1.0", int(requests) - int(requests) // LATE), ("+Inf", int(requests))):
            said = {**place, "engine": "0", "le": le}
            yield Recorded("vllm:time_to_first_token_seconds_bucket", said, START + at, count)
        yield Recorded("vllm:num_requests_running", {**place, "engine": "0"}, START + at, 1)


def everything() -> Iterator[Recorded]:
    for deployment, engines in SCENARIOS.items():
        for pod, counted in engines.items():
            yield from series(deployment.replace(" ", "-"), pod, counted)
    for pod, counted in SCENARIOS["leaves"].items():
        for place, who in enumerate(("one", "two")):
            shifted = {at + place * 2.0: requests for at, requests in counted.items()}
            yield from series("pair-leaves", pod, shifted, prometheus_replica=who)


class Told(NamedTuple):
    """What the operator's adapter says at every tick; and of all ticks afterwards."""

    then: list[FleetSamples]
    afterwards: PastSamples


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Told:
    async def ask(url: str) -> Told:
        signals = PrometheusSignals(url)
        try:
            moments = [START + 60 + TICK_SECONDS * tick for tick in range(LAST_TICK)]
            then = [await signals.sample(at=at, promised=PROMISED) for at in moments]
            of = [("chat", deployment.replace(" ", "-")) for deployment in (*SCENARIOS, "pair leaves")]
            return Told(then, await signals.past(moments=moments, promised=PROMISED, of=of))
        finally:
            await signals.close()

    with (
        recorded_prometheus(tmp_path_factory.mktemp("prometheus"), everything()) as url,
        pytest.MonkeyPatch.context() as patched,
    ):
        # All was scraped before the first look: at every moment the rest would pass for samples of a clock ahead.
        patched.setattr(PrometheusSignals, "_ahead", lambda *_: {})
        return asyncio.run(ask(url))


@pytest.fixture(scope="module")
def told(both: Told) -> list[FleetSamples]:
    return both.then


def samples(told: list[FleetSamples], deployment: str) -> list[HistogramSample]:
    assert [fleet.problem for fleet in told] == [None] * LAST_TICK
    found: list[Any] = [fleet.histograms["chat", deployment.replace(" ", "-"), "a"] for fleet in told]
    return [sample for (sample,) in found]


def known(engine: Page, at: float) -> int:
    """What its last scrape said."""
    return int(next((engine[time] for time in sorted(engine, reverse=True) if time <= at), 0.0))


def gained(engine: Page, former: float, now: float) -> int:
    """Requests that it counted between two ticks; one whose counter fell counts from zero."""
    before, after = known(engine, former), known(engine, now)
    return after if after < before else after - before


@pytest.mark.parametrize("scenario", ["leaves", "restarts", "comes", "is missing", "all leave"])
def test_no_tick_loses_or_doubles_a_request_when_an_engine(told: list[FleetSamples], scenario: str) -> None:
    found = samples(told, scenario)
    for former, now in pairwise(found):
        assert former.since == now.since
        moments = former.sample_time - START, now.sample_time - START
        expected = sum(gained(engine, *moments) for engine in SCENARIOS[scenario].values())
        assert now.total - former.total == expected


@pytest.mark.parametrize("scenario", ["leaves", "restarts", "comes", "is missing", "all leave"])
def test_late_requests_stay_one_in_ten_when_an_engine(told: list[FleetSamples], scenario: str) -> None:
    found = samples(told, scenario)
    misses = [(now.total - former.total) - (now.good - former.good) for former, now in pairwise(found)]
    assert min(misses) >= 0
    counted = found[-1].total - found[0].total
    assert sum(misses) == pytest.approx(counted / LATE, rel=0.02)


def test_a_total_of_what_engines_say_now_would_hide_a_departure_behind_the_others(told: list[FleetSamples]) -> None:
    engines = SCENARIOS["leaves"]
    there = [
        sum(known(engine, at) for engine in engines.values() if max(engine) > at - TICK_SECONDS)
        for at in (60 + TICK_SECONDS * tick for tick in range(LAST_TICK))
    ]
    changes = [now - former for former, now in pairwise(there)]
    assert min(changes) > 0  # never falls
    assert min(changes) < 0.5 * max(changes)  # and counts less than half of one tick


def test_of_a_pair_that_reports_the_same_engines_one_counts(told: list[FleetSamples]) -> None:
    alone, pair = samples(told, "leaves"), samples(told, "pair-leaves")
    assert pair[-1].total == pytest.approx(alone[-1].total, rel=0.01)
    assert all(now.total >= former.total for former, now in pairwise(pair))


def test_an_engine_that_speaks_again_after_minutes_begins_its_totals_anew(told: list[FleetSamples]) -> None:
    found = samples(told, "returns late")
    kinds = [sample.since for sample in found]
    (change,) = [place for place, (former, now) in enumerate(pairwise(kinds), start=1) if former != now]
    # The history that it comes back with, 2000 requests, is in that one difference, which is not made.
    steps = [now.total - former.total for former, now in pairwise(found)]
    assert steps[change - 1] > 2000
    assert max(steps[: change - 1] + steps[change:]) < 1000


def test_the_past_is_told_as_it_was_told_then(both: Told) -> None:
    assert both.afterwards.problem is None
    # The server's own clock is of now, the moments are not; of the past nobody asks for it.
    then = [replace(fleet, clocks="") for fleet in both.then]
    assert [fleet for _, fleet in both.afterwards.moments] == then
    assert [at for at, _ in both.afterwards.moments] == [START + 60 + TICK_SECONDS * tick for tick in range(LAST_TICK)]
