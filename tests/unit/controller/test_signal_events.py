"""Events on missing signals: of what has lasted, one each, and few at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from builders.operator_world import World, world
from inference_fleet.adapters.ports import FleetSamples
from inference_fleet.adapters.resources import EVENTS
from inference_fleet.controller import signal_events

AWAY = FleetSamples(problem="Prometheus cannot be asked")


def told(w: World) -> list[tuple[str, str, str]]:
    """(type, reason, text) of the events on signals, oldest first."""
    found = [event for event in w.cluster.all(EVENTS) if event["note"].startswith("ScalingActive=")]
    return [(event["type"], event["reason"], event["note"]) for event in sorted(found, key=lambda e: e["eventTime"])]


def without(count: int) -> Callable[[FleetSamples], FleetSamples]:
    """The first pods by name do not answer."""
    return lambda honest: dataclasses.replace(honest, pods=dict(sorted(honest.pods.items())[count:]))


def honest(fleet: FleetSamples) -> FleetSamples:
    return fleet


async def serving(w: World, *names: str) -> None:
    for name in names:
        w.deploy(name, scaling={"mode": "Automatic", "minReplicas": 3, "maxReplicas": 3})
    w.signals.load = dict.fromkeys(names, 10.0)
    await w.clock.advance(300)
    assert told(w) == []


async def test_signals_that_stay_unknown_are_one_warning_after_a_minute_and_one_event_when_they_are_back() -> None:
    async with world() as w, w.running():
        await serving(w, "llama")
        w.signals.twist = lambda _: AWAY
        await w.clock.advance(60)
        assert told(w) == []
        await w.clock.advance(30)
        warning = (
            "Warning",
            "SignalsUnknown",
            "ScalingActive=False: signals are unknown (Prometheus cannot be asked): hold 3",
        )
        assert told(w) == [warning]
        await w.clock.advance(3600)
        assert told(w) == [warning]
        w.signals.twist = honest
        await w.clock.advance(30)
        back = (
            "Normal",
            "SignalsFresh",
            "ScalingActive=True: all pods answer again after 62 min: replicas follow the measured load",
        )
        assert told(w) == [warning, back]


async def test_signals_that_are_back_within_the_minute_are_no_event() -> None:
    async with world() as w, w.running():
        await serving(w, "llama")
        for _ in range(10):
            w.signals.twist = lambda _: AWAY
            await w.clock.advance(45)
            w.signals.twist = honest
            await w.clock.advance(30)
        assert told(w) == []


@pytest.mark.parametrize("load", [10.0, 80.0])
async def test_a_pod_that_stays_silent_is_a_warning_that_names_it_whatever_the_decision_speaks_of(load: float) -> None:
    async with world() as w, w.running():
        await serving(w, "llama")
        w.signals.twist = without(1)
        w.signals.load = {"llama": load}
        await w.clock.advance(90)
        (pod,) = sorted(pod["metadata"]["name"] for pod in w.pods.ready())[:1]
        ((kind, reason, words),) = told(w)
        assert (kind, reason) == ("Warning", "SignalsUnknown")
        assert words.startswith("ScalingActive=True: ")
        assert f"1 of 3 pods is silent: Prometheus has no sample of {pod}" in words


@pytest.mark.parametrize("mode", ["Manual", "External"])
async def test_where_replicas_do_not_follow_the_load_missing_signals_are_no_event(mode: str) -> None:
    async with world() as w, w.running():
        w.deploy(scaling={"mode": mode}, replicas=2)
        await w.clock.advance(300)
        w.signals.twist = lambda _: AWAY
        await w.clock.advance(300)
        assert told(w) == []


async def test_before_a_pod_is_ready_missing_signals_are_no_event() -> None:
    async with world(start_seconds=900.0) as w, w.running():
        w.deploy()
        await w.clock.advance(600)
        assert w.condition("ScalingActive") == "False SignalsUnknown"
        assert told(w) == []


async def test_an_operator_that_starts_in_the_midst_does_not_tell_again_what_the_former_told() -> None:
    async with world() as w:
        async with w.running():
            await serving(w, "llama")
            w.signals.twist = lambda _: AWAY
            await w.clock.advance(120)
            assert len(told(w)) == 1
        async with w.running():
            await w.clock.advance(900)
            assert len(told(w)) == 1
            w.signals.twist = honest
            await w.clock.advance(30)
            assert [kind for kind, _, _ in told(w)] == ["Warning", "Normal"]


async def test_an_outage_of_all_is_told_of_a_few_at_once_and_never_of_those_it_has_ended_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_events, "MOST_AT_ONCE", 2)
    names = [f"llama-{number}" for number in range(7)]
    async with world() as w, w.running():
        await serving(w, *names)
        w.signals.twist = lambda _: AWAY
        await w.clock.advance(65)
        before = len(told(w))
        counts = []
        for _ in range(2):
            await w.clock.advance(15)
            counts.append(len(told(w)) - before)
        assert counts == [2, 4]
        w.signals.twist = honest
        await w.clock.advance(600)
        kinds = [kind for kind, _, _ in told(w)]
        assert kinds.count("Warning") == kinds.count("Normal") == before + 4
