"""Which accepted spec is in force, and which records of them stay."""

from __future__ import annotations

import copy
from typing import Any

from builders.world import SPEC, World


def engine(**settings: Any) -> dict[str, Any]:
    return {"vllm": {**SPEC["engine"]["vllm"], **settings}}


def refuse(world: World) -> None:
    world.edit(engine=engine(version="0.1.0"))


def lengths(world: World) -> set[str]:
    arguments = [word for pod in world.of("Pod") for word in pod["spec"]["containers"][0]["args"]]
    return {word for word in arguments if word.startswith("--max-model-len=")}


def test_a_refused_spec_leaves_the_last_accepted_one_in_force_though_another_was_newer() -> None:
    world = World()
    world.settle()
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    world.edit(engine=SPEC["engine"])
    world.settle()
    pods = [pod["metadata"]["uid"] for pod in world.of("Pod")]
    refuse(world)
    world.settle()
    assert lengths(world) == {"--max-model-len=8192"}
    assert [pod["metadata"]["uid"] for pod in world.of("Pod")] == pods


def test_the_record_in_force_stays_though_it_is_the_oldest_of_many() -> None:
    world = World()
    for length in (8192, *range(1000, 10_000, 1000)):
        world.edit(engine=engine(maxModelLen=length))
        world.settle()
    assert len(world.of("ControllerRevision")) == 10
    world.edit(engine=engine(maxModelLen=8192))
    world.settle()
    assert world.status["acceptedRevision"] in [record["metadata"]["name"] for record in world.of("ControllerRevision")]
    refuse(world)
    world.settle()
    assert lengths(world) == {"--max-model-len=8192"}


def test_records_are_numbered_in_their_order_and_the_oldest_go_first() -> None:
    world = World()
    said = range(1000, 13_000, 1000)
    for length in said:
        world.edit(engine=engine(maxModelLen=length))
        world.settle()
    records = sorted(world.of("ControllerRevision"), key=lambda record: int(record["revision"]))
    assert [record["revision"] for record in records] == list(range(3, 13))
    # With numbers that fall the newest but one would have gone.
    kept = [record["data"]["spec"]["engine"]["vllm"]["maxModelLen"] for record in records]
    assert kept == list(said)[2:]


def test_a_record_that_another_object_left_is_not_ours() -> None:
    world = World()
    world.settle()
    foreign = copy.deepcopy(world.of("ControllerRevision")[0])
    foreign["metadata"] |= {"name": "llama-foreign", "uid": "uid-foreign"}
    foreign["metadata"]["ownerReferences"][0]["uid"] = "uid-former"
    foreign |= {"revision": 99, "data": {"spec": {**foreign["data"]["spec"], "engine": engine(maxModelLen=4096)}}}
    world.objects["ControllerRevision", "llama-foreign"] = foreign
    refuse(world)
    del world.deployment["status"]
    world.settle()
    assert lengths(world) == {"--max-model-len=8192"}
    assert ("ControllerRevision", "llama-foreign") in world.objects


def ask_for_an_update(world: World) -> None:
    world.classes["nvidia-l4"]["spec"]["nodeSelector"] = {"pool": "new"}
    world.settle()
    update = world.status["updateAvailable"]["id"]
    world.deployment["metadata"]["annotations"] = {"inferencefleet.io/apply-update": update}


def test_an_update_is_not_applied_while_the_spec_is_refused() -> None:
    world = World()
    world.settle()
    refuse(world)
    ask_for_an_update(world)
    before = world.counts()
    world.settle()
    assert world.counts() == before
    world.edit(engine=SPEC["engine"])
    world.settle()
    assert world.counts().keys() != before.keys()


def test_an_update_that_was_asked_for_does_not_outlive_the_intent_it_was_for() -> None:
    world = World()
    world.settle()
    ask_for_an_update(world)
    world.settle()
    world.edit(engine=engine(maxModelLen=4096))
    world.settle()
    (newest,) = [
        record
        for record in world.of("ControllerRevision")
        if record["metadata"]["name"] == world.status["acceptedRevision"]
    ]
    assert newest["data"]["updates"] == {}
