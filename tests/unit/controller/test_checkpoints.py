"""What the scaler learned outlives the process, and nothing depends on it."""

from __future__ import annotations

from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters import ports
from inference_fleet.adapters.ports import Object
from inference_fleet.adapters.resources import CONFIG_MAPS, EVENTS
from inference_fleet.controller.checkpoints import AT_MOST_EVERY_SECONDS, DAMAGED, DATA_KEY
from inference_fleet.scaling.memory import ScalerMemory

NAME = "llama-scaler-memory"


def saved(w: World) -> Object:
    found = w.cluster.find(CONFIG_MAPS, NAME, NAMESPACE)
    assert found is not None
    return found


async def test_a_memory_is_written_at_most_every_quarter_of_an_hour() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 7.0}
        async with w.running():
            await w.clock.advance(AT_MOST_EVERY_SECONDS - 60)
            assert w.cluster.all(CONFIG_MAPS) == []
            await w.clock.advance(4 * AT_MOST_EVERY_SECONDS)
            writes = [write for write in w.cluster.writes if write.plural == "configmaps"]
            assert 3 <= len(writes) <= 5
            assert saved(w)["metadata"]["ownerReferences"][0]["name"] == "llama"


async def test_a_restart_in_order_goes_on_with_what_was_learned() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 7.0}
        async with w.running() as first:
            await w.clock.advance(300)
            learned = first.tick.scaled[NAMESPACE, "llama"].memory
        assert ScalerMemory.from_json(saved(w)["data"][DATA_KEY]) == learned
        async with w.running() as second:
            assert second.tick.scaled[NAMESPACE, "llama"].memory.started == learned.started


@pytest.mark.parametrize("text", ["", "{", '{"schemaVersion":"another"}', "[1,2]"])
async def test_a_damaged_memory_counts_as_empty(text: str) -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(300)
        before = w.desired()
        w.cluster.edit(CONFIG_MAPS, NAME, NAMESPACE, lambda obj: obj["data"].update({DATA_KEY: text}))
        async with w.running() as loop:
            await w.clock.advance(600)
            assert w.desired() == before
            (told,) = [event for event in w.cluster.all(EVENTS) if event["reason"] == "ScalerMemoryDamaged"]
            assert (told["type"], told["regarding"]["name"], told["note"]) == ("Warning", "llama", DAMAGED)
            assert loop.tick.scaled[NAMESPACE, "llama"].memory.needs
        assert ScalerMemory.from_json(saved(w)["data"][DATA_KEY]) is not None


async def test_a_config_map_of_that_name_that_is_not_ours_is_left_alone() -> None:
    async with world() as w:
        foreign: dict[str, Any] = {"metadata": {"name": NAME}, "data": {"mine": "1"}}
        w.cluster.add(CONFIG_MAPS, foreign, namespace=NAMESPACE)
        w.deploy()
        async with w.running():
            await w.clock.advance(2 * AT_MOST_EVERY_SECONDS)
        assert saved(w)["data"] == {"mine": "1"}


async def test_a_successor_of_the_same_name_starts_with_nothing() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance(300)
        left_over = saved(w)
        for resource in (
            ports.Resource("inferencefleet.io", "v1alpha1", "inferencedeployments", "InferenceDeployment"),
        ):
            w.cluster.remove(resource, w.cluster.all(resource)[0])
        w.cluster.add(CONFIG_MAPS, left_over, namespace=NAMESPACE)  # the garbage collector is late
        w.deploy()
        async with w.running() as loop:
            memory = loop.tick.scaled[NAMESPACE, "llama"].memory
            assert memory.started == w.clock.now()


async def test_memories_that_cannot_be_read_or_written_stop_nothing() -> None:
    async with world() as w:
        w.deploy()

        def refuse(verb: str, resource: ports.Resource, name: str) -> None:
            if resource.plural == "configmaps":
                raise ports.Forbidden("no", status=403)

        w.cluster.before = refuse
        async with w.running():
            await w.clock.advance(2 * AT_MOST_EVERY_SECONDS)
            assert w.condition("Ready") == "True Serving"
        assert w.cluster.all(CONFIG_MAPS) == []


async def test_a_memory_that_another_wrote_meanwhile_is_overwritten_not_lost() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance(AT_MOST_EVERY_SECONDS + 60)
            w.cluster.edit(CONFIG_MAPS, NAME, NAMESPACE, lambda obj: obj["data"].update({DATA_KEY: "{}"}))
            await w.clock.advance(AT_MOST_EVERY_SECONDS + 60)
            assert ScalerMemory.from_json(saved(w)["data"][DATA_KEY]) is not None


async def test_an_object_that_goes_while_memories_are_written_ends_nothing() -> None:
    async with world() as w:
        for name in ("a", "b", "c"):
            w.deploy(name)
        async with w.running() as loop:
            await w.clock.advance(60)

            def remove_the_next(verb: str, resource: ports.Resource, name: str) -> None:
                if resource == CONFIG_MAPS:
                    loop.tick.scaled.pop((NAMESPACE, "b"), None)

            w.cluster.before = remove_the_next
            await loop.checkpoints.save_all()
            assert {obj["metadata"]["name"] for obj in w.cluster.all(CONFIG_MAPS)} == {
                "a-scaler-memory",
                "c-scaler-memory",
            }
