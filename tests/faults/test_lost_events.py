"""Watches that break, lists that fail, objects that vanish while nobody looks: the end is as if nothing had been."""

from __future__ import annotations

import pytest

from builders.operator_world import NAMESPACE, world
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import CHILDREN, EVENTS, INFERENCE_DEPLOYMENTS, PODS, REPLICA_SETS, SERVICES


@pytest.mark.parametrize("compact", [False, True], ids=["resumed", "listed-anew"])
async def test_broken_watches_are_taken_up_again(compact: bool) -> None:
    async with world() as w:
        w.deploy()
        async with w.running() as loop:
            await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
            lists = sum(reflector.lists for reflector in loop.reflectors)
            w.cluster.break_watches(compact=compact)
            w.signals.load = {"llama": 40.0}
            await w.clock.advance_until(lambda: len(w.pods.ready()) >= 3, within=120)
            assert (sum(reflector.lists for reflector in loop.reflectors) > lists) is compact


async def test_an_api_server_that_is_away_changes_nothing_and_is_found_again() -> None:
    async with world() as w:
        w.deploy()
        w.signals.load = {"llama": 12.0}
        async with w.running() as loop:
            await w.clock.advance(300)
            ready = len(w.pods.ready())
            w.cluster.reads_fail_with = ports.Unavailable("away")

            def refuse(verb: str, resource: ports.Resource, name: str) -> None:
                raise ports.Unavailable("away")

            w.cluster.before = refuse
            w.cluster.break_watches(compact=True)
            w.signals.load = {"llama": 40.0}
            await w.clock.advance(600)
            assert len(w.pods.ready()) == ready
            assert not loop.sees()  # and so nothing would be lowered either
            w.cluster.reads_fail_with = None
            w.cluster.before = lambda verb, resource, name: None
            await w.clock.advance_until(lambda: len(w.pods.ready()) >= 3, within=420)
            assert loop.sees()


async def test_children_that_somebody_deletes_come_back() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
            for resource in (SERVICES, REPLICA_SETS):
                for obj in w.cluster.all(resource):
                    w.cluster.remove(resource, obj)
            await w.clock.advance_until(lambda: len(w.pods.ready()) == 1, within=60)
            assert len(w.cluster.all(SERVICES)) == 2


async def test_a_service_that_somebody_edits_is_put_right() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance(120)

            def spoil(obj: ports.Object) -> None:
                obj["spec"]["selector"] = {"app": "another"}

            before = w.cluster.find(SERVICES, "llama", NAMESPACE)
            assert before is not None
            w.cluster.edit(SERVICES, "llama", NAMESPACE, spoil)
            await w.clock.advance(5)
            after = w.cluster.find(SERVICES, "llama", NAMESPACE)
            assert after is not None
            assert after["spec"]["selector"].items() >= before["spec"]["selector"].items()


async def test_a_deleted_deployment_takes_its_children_and_nothing_else() -> None:
    async with world() as w:
        gone = w.deploy("gone")
        w.deploy("kept")
        async with w.running() as loop:
            await w.clock.advance(200)
            kept = {(r.kind, o["metadata"]["name"]) for r in CHILDREN for o in w.cluster.all(r) if _of(o, "kept")}
            w.cluster.remove(INFERENCE_DEPLOYMENTS, w.cluster.find(INFERENCE_DEPLOYMENTS, "gone", NAMESPACE) or gone)
            await w.clock.advance(600)
            left = {(r.kind, o["metadata"]["name"]) for r in CHILDREN for o in w.cluster.all(r)}
            assert left == kept
            assert loop.store.deployments() == ((NAMESPACE, "kept"),)
            assert ("chat", "gone") not in loop.tick.scaled


async def test_a_name_that_another_holds_is_left_alone_and_the_rest_goes_on() -> None:
    async with world() as w:
        foreign = {"metadata": {"name": "llama"}, "spec": {"selector": {"app": "mine"}}}
        w.cluster.add(SERVICES, foreign, namespace=NAMESPACE)
        w.deploy()
        async with w.running():
            await w.clock.advance(300)
            found = w.cluster.find(SERVICES, "llama", NAMESPACE)
            assert found is not None
            assert found["spec"] == foreign["spec"]
            assert len(w.pods.ready()) == 1
            notes = [event["note"] for event in w.cluster.all(EVENTS)]
            assert any("not ours" in note or "llama" in note for note in notes)


async def test_a_successor_of_the_same_name_does_not_inherit_pods() -> None:
    async with world() as w:
        first = w.deploy()
        async with w.running():
            await w.clock.advance(120)
            w.cluster.remove(INFERENCE_DEPLOYMENTS, w.cluster.find(INFERENCE_DEPLOYMENTS, "llama", NAMESPACE) or first)
            second = w.deploy()
            await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
            owners = {o["metadata"]["ownerReferences"][0]["uid"] for o in w.cluster.all(REPLICA_SETS)}
            assert owners == {second["metadata"]["uid"]}


async def test_pods_beyond_the_devices_are_told_and_come_when_devices_do() -> None:
    async with world(devices=2) as w:
        w.deploy()
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(300)
            assert w.condition("CapacityAvailable") == "False WaitingForDevices"
            assert len(w.pods.ready()) == 2
            w.pods.devices = 8
            w.cluster.edit(PODS, w.pods.living()[0]["metadata"]["name"], NAMESPACE, _touch)
            await w.clock.advance_until(
                lambda: w.condition("CapacityAvailable") != "False WaitingForDevices", within=60
            )


def _touch(obj: ports.Object) -> None:
    obj["metadata"].setdefault("annotations", {})["touched"] = "1"


def _of(obj: ports.Object, name: str) -> bool:
    return bool((obj["metadata"].get("labels") or {}).get("inferencefleet.io/deployment") == name)
