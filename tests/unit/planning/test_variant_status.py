"""What status says of each variant."""

from __future__ import annotations

from typing import Any

from builders.world import SPEC, World

GOOD = {"name": "good", "acceleratorClassName": "nvidia-l4"}
BAD = {**GOOD, "name": "bad", "engine": {"vllm": {"maxModelLen": 10_000_000}}}


def entry(world: World, name: str) -> dict[str, Any]:
    return next(dict(one) for one in world.status["variants"] if one["name"] == name)


def verdict(world: World, name: str) -> tuple[str, str]:
    (condition,) = entry(world, name)["conditions"]
    assert condition["type"] == "Accepted"
    assert condition["observedGeneration"] == world.deployment["metadata"]["generation"]
    return condition["status"], condition["reason"]


def test_each_variant_says_whether_it_may_be_used_and_why_not() -> None:
    world = World(variants=[GOOD, BAD])
    world.settle()
    assert verdict(world, "good") == ("True", "Accepted")
    assert verdict(world, "bad") == ("False", "OutOfRange")
    assert "spec.variants[1].engine.vllm.maxModelLen" in entry(world, "bad")["conditions"][0]["message"]


def test_a_refused_variant_gets_no_replicas_though_it_is_the_preferred_one() -> None:
    world = World(variants=[BAD, GOOD])
    world.decide(3)
    world.settle()
    assert [entry(world, name)["desiredReplicas"] for name in ("bad", "good")] == [0, 1]


def test_a_refused_spec_refuses_the_variants_that_serve_on_and_a_correction_tells_when() -> None:
    world = World(variants=[GOOD])
    world.settle()
    since = entry(world, "good")["conditions"][0]["lastTransitionTime"]
    world.wait(60)
    world.edit(scaling={"mode": "Automatic", "minReplicas": 0})
    world.settle()
    assert verdict(world, "good") == ("False", "SpecNotAccepted")
    world.edit(variants=[{**GOOD, "acceleratorClassName": "nvidia-l5"}], scaling=SPEC["scaling"])
    world.settle()
    assert verdict(world, "good") == ("False", "AcceleratorClassNotFound")
    world.edit(variants=[GOOD])
    world.settle()
    assert verdict(world, "good") == ("True", "Accepted")
    assert entry(world, "good")["conditions"][0]["lastTransitionTime"] > since


def test_the_memory_of_a_device_is_told_part_by_part() -> None:
    world = World()
    world.settle()
    memory = entry(world, "l4")["memory"]
    parts = ("weights", "draftModel", "activation", "cudaGraph", "runtime", "kvCache")
    assert sum(memory[f"{part}Bytes"] for part in parts) == memory["budgetBytes"]


def test_how_long_starts_take_is_told_and_kept_while_no_pod_shows_it() -> None:
    world = World(scaling={"mode": "Manual"}, replicas=4)
    world.reconcile()
    world.becomes_ready = lambda pod: False
    world._live()
    assert "startup" not in entry(world, "l4")
    for number, pod in enumerate(world.of("Pod")):
        world.wait(10)
        ready = [one["metadata"]["name"] for one in world.of("Pod")[: number + 1]]
        world.becomes_ready = lambda pod, ready=ready: pod["metadata"]["name"] in ready  # type: ignore[misc]
        world._live()
    world.settle()
    assert entry(world, "l4")["startup"] == {"p50Seconds": 20, "p95Seconds": 40, "samples": 4}
    world.edit(replicas=0)
    world.settle()
    assert entry(world, "l4")["startup"] == {"p50Seconds": 20, "p95Seconds": 40, "samples": 4}
