"""Starts without memories: whatever becomes of the replay, nothing that serves goes, and the loop works on."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, stop, world
from inference_fleet.adapters.ports import FleetSamples, PastSamples
from inference_fleet.adapters.resources import CONFIG_MAPS, LEASES
from inference_fleet.controller.lease import LeaseLost

NAMES = ("a", "b", "c")


async def crashed(w: World) -> int:
    """Three deployments under load whose operator and checkpoints are gone; returns what all of them serve with."""
    w.signals.recorded = []
    for name in NAMES:
        w.deploy(name)
    w.signals.load = dict.fromkeys(NAMES, 40.0)
    async with w.running():
        await w.clock.advance(1800)
    for name in NAMES:
        found = w.cluster.find(CONFIG_MAPS, f"{name}-scaler-memory", NAMESPACE)
        assert found is not None
        w.cluster.remove(CONFIG_MAPS, found)
    return w.desired()


def past_of(w: World, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
    past = w.signals.past

    async def slow(**words: Any) -> PastSamples:
        await w.clock.sleep(seconds)
        return await past(**words)

    monkeypatch.setattr(w.signals, "past", slow)


@pytest.mark.parametrize("after", [0.0, 5.0, 12.0, 25.0])
async def test_a_crash_in_the_midst_takes_nothing_away(after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        serving = await crashed(w)
        past_of(w, monkeypatch, seconds=10.0)
        w.signals.load = dict.fromkeys(NAMES, 0.0)
        for _ in range(3):
            task = asyncio.create_task(w.loop().run())
            await w.clock.advance(after)
            await stop(task)
            assert w.desired() == serving


async def test_a_leader_that_loses_the_lease_in_the_midst_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await crashed(w)
        past_of(w, monkeypatch, seconds=200.0)
        loop = w.loop(lease_namespace="system", identity="one")
        task = asyncio.create_task(loop.run())
        await w.clock.advance(30)
        assert len(loop.tick.waiting) == len(NAMES)
        (lease,) = w.cluster.all(LEASES)
        w.cluster.edit(
            LEASES, lease["metadata"]["name"], "system", lambda obj: obj["spec"].update(holderIdentity="two")
        )
        await w.clock.advance(60)
        with pytest.raises(LeaseLost):
            await task
        await loop.stop()
        assert w.cluster.find(CONFIG_MAPS, "a-scaler-memory", NAMESPACE) is None


@pytest.mark.parametrize("lie", ["idle", "huge", "not a number", "other pods", "raises"])
async def test_a_past_that_lies_takes_nothing_away_within_a_cold_start(
    lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        serving = await crashed(w)
        past = w.signals.past
        twist = {
            "idle": {"running": 0.0, "generation_tokens": 5.0, "prompt_tokens": 5.0},
            "huge": {"running": 1e300, "generation_tokens": 1e300},
            "not a number": {"running": float("nan")},
            "other pods": {},
            "raises": {},
        }[lie]

        async def lying(**words: Any) -> PastSamples:
            if lie == "raises":
                raise RuntimeError("not promised")
            honest = await past(**words)
            names = "x-" if lie == "other pods" else ""
            return PastSamples(
                tuple(
                    (
                        at,
                        FleetSamples(
                            pods={
                                (space, names + pod): dataclasses.replace(sample, pod=names + pod, **twist)
                                for (space, pod), sample in fleet.pods.items()
                            }
                        ),
                    )
                    for at, fleet in honest.moments
                )
            )

        monkeypatch.setattr(w.signals, "past", lying)
        async with w.running() as loop:
            await w.clock.advance(15)
            assert w.desired() >= serving
            assert not loop.tick.waiting
            assert set(loop.tick.scaled) == {(NAMESPACE, name) for name in NAMES}
