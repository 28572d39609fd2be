"""An object at rest costs nothing, however often it is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import FleetSamples
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS
from inference_fleet.scaling.types import HistogramSample

# A scaler that is new to a load keeps replicas for its surprises until two hours have brought none.
UNTIL_LEARNED_SECONDS = 2.5 * 3600


async def at_rest(w: World, *, seconds: float = 600) -> None:
    await w.clock.advance_until(lambda: w.condition("RolledOut") == "True RolledOut", within=120)
    await w.clock.advance(seconds)


@pytest.mark.parametrize(("load", "rest"), [(0.0, 600), (7.0, 600), (40.0, UNTIL_LEARNED_SECONDS)])
async def test_a_settled_object_costs_no_write_through_resyncs(load: float, rest: float) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": load}
        async with w.running(resync_seconds=60) as loop:
            await at_rest(w, seconds=rest)
            before, resynced = len(w.counted_writes()), loop.last_resync
            await w.clock.advance(3600)
            assert loop.last_resync is not None
            assert resynced is not None
            assert loop.last_resync - resynced >= 3540  # it was looked at all the time
            assert w.counted_writes(0)[before:] == []


async def test_a_settled_object_costs_no_write_through_a_restart() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 7.0}
        async with w.running():
            await at_rest(w)
        before = len(w.counted_writes())
        async with w.running():
            await w.clock.advance(900)
        assert w.counted_writes()[before:] == []


SPECS: list[dict[str, Any]] = [
    {"scaling": {"mode": "Manual", "maxReplicas": 6}, "replicas": 2},
    {"scaling": {"mode": "External", "maxReplicas": 6}},
    {"suspend": True},
    {"engine": {"vllm": {"version": "9.9.9"}}},
    {"variants": [{"name": "a", "acceleratorClassName": "no-such-class"}]},
    {"engine": "nonsense"},
]


@pytest.mark.parametrize("spec", SPECS, ids=["manual", "external", "suspended", "version", "class", "nonsense"])
async def test_objects_of_every_kind_come_to_rest(spec: dict[str, Any]) -> None:
    async with world() as w:
        w.deploy(**spec)
        async with w.running(resync_seconds=60):
            await w.clock.advance(900)
            before = len(w.counted_writes())
            await w.clock.advance(1800)
            assert w.counted_writes()[before:] == []
            assert w.condition("Accepted") != "absent"


async def test_an_object_that_others_touch_without_meaning_costs_nothing() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await at_rest(w)
            before = len(w.counted_writes())
            for number in range(20):

                def touch(obj: Any, number: int = number) -> None:
                    obj["metadata"].setdefault("annotations", {})["seen"] = str(number)

                w.cluster.edit(INFERENCE_DEPLOYMENTS, "llama", "chat", touch)
                await w.clock.advance(5)
            assert w.counted_writes()[before:] == []


async def test_an_hour_of_misses_is_told_every_five_minutes_at_most() -> None:
    """Every request is late from a moment on: the budget falls with each tick, of which an hour has 240."""
    first_token = {"metric": "TimeToFirstToken", "thresholdMilliseconds": 2000, "targetPercent": "99"}
    total = good = 0.0
    late = False

    def judged(honest: FleetSamples) -> FleetSamples:
        nonlocal total, good
        total, good = total + 100, good + (0 if late else 100)
        sample = HistogramSample("TimeToFirstToken", edge_seconds=2.0, good=good, total=total, sample_time=0.0)
        return replace(honest, histograms={(NAMESPACE, "llama", "a"): (sample,)})

    async with world() as w:
        w.deploy(objectives=[{"name": "first-token", **first_token}])
        w.signals.load, w.signals.twist = {"llama": 7.0}, judged
        async with w.running():
            await at_rest(w, seconds=1800)
            assert w.status()["objectives"][0]["errorBudgetLeftPercent"] == 100
            late = True
            told = set()
            for _ in range(240):
                await w.clock.advance(15)
                told.add(w.status()["objectives"][0]["time"])
            assert w.status()["objectives"][0]["errorBudgetLeftPercent"] < -1000
            assert 3 <= len(told) <= 13
