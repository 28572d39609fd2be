"""A spec that makes no sense changes nothing: the accepted one keeps serving and scaling, and the way back is open."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders.operator_world import SPEC, World, world
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, CONTROLLER_REVISIONS, REPLICA_SETS

BAD: dict[str, dict[str, Any]] = {
    "unknown version": {"engine": {"vllm": {"version": "9.9.9"}}},
    "no such class": {"variants": [{"name": "a", "acceleratorClassName": "no-such-class"}]},
    "minimum above maximum": {"scaling": {"mode": "Automatic", "minReplicas": 9, "maxReplicas": 2}},
    "not even an object": {"engine": "nonsense"},
    "no variants": {"variants": []},
}


async def serving(w: World) -> None:
    w.deploy()
    w.signals.load = {"llama": 12.0}
    await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
    await w.clock.advance(300)


def accepted(w: World) -> dict[str, Any]:
    return {key: copy.deepcopy(SPEC[key]) for key in ("engine", "variants", "scaling")}


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.replace(" ", "-"))
async def test_a_refused_spec_leaves_the_accepted_one_serving_and_scaling(bad: str) -> None:
    async with world() as w, w.running():
        await serving(w)
        pods = {pod["metadata"]["name"] for pod in w.pods.living()}
        pools = [pool["metadata"]["name"] for pool in w.cluster.all(REPLICA_SETS)]
        revision = w.status()["acceptedRevision"]
        w.edit(**BAD[bad])
        await w.clock.advance(120)
        assert w.condition("Accepted").startswith("False")
        assert w.condition("Ready") == "False SpecNotAccepted"
        assert w.condition("Available") == "True Serving"
        assert w.condition("Stalled") == "True SpecNotAccepted"
        assert w.status()["acceptedRevision"] == revision
        assert pods <= {pod["metadata"]["name"] for pod in w.pods.living()}
        before = w.desired()
        w.signals.load = {"llama": 60.0}
        await w.clock.advance(120)
        assert w.desired() > before  # it scales on
        assert [pool["metadata"]["name"] for pool in w.cluster.all(REPLICA_SETS)] == pools
        writes = len(w.counted_writes())
        await w.clock.advance(1800)
        assert len(w.counted_writes()) - writes <= 2  # and it does not write for ever


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.replace(" ", "-"))
async def test_good_bad_good_returns_to_the_first_state_without_help(bad: str) -> None:
    async with world() as w, w.running():
        await serving(w)
        first = {pod["metadata"]["name"] for pod in w.pods.living()}
        records = len(w.cluster.all(CONTROLLER_REVISIONS))
        w.edit(**BAD[bad])
        await w.clock.advance(300)
        w.edit(**accepted(w))
        await w.clock.advance(300)
        assert w.condition("Ready") == "True Serving"
        assert w.condition("Stalled") == "absent"
        assert {pod["metadata"]["name"] for pod in w.pods.living()} == first
        assert len(w.cluster.all(CONTROLLER_REVISIONS)) == records


async def test_an_object_that_never_was_accepted_says_why_and_starts_when_corrected() -> None:
    async with world() as w, w.running():
        w.deploy(**BAD["unknown version"])
        await w.clock.advance(60)
        assert w.condition("Accepted") == "False UnknownVersion"
        assert "engine.vllm.version" in w.status()["conditions"][0]["message"]
        assert w.cluster.all(REPLICA_SETS) == []
        w.edit(**accepted(w))
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)


async def test_a_class_that_is_changed_restarts_no_pod() -> None:
    async with world() as w, w.running():
        await serving(w)
        first = {pod["metadata"]["name"] for pod in w.pods.living()}

        def select(obj: dict[str, Any]) -> None:
            obj["spec"]["nodeSelector"] = {"pool": "h100"}

        w.cluster.edit(ACCELERATOR_CLASSES, "h100", "", select)
        await w.clock.advance(600)
        assert {pod["metadata"]["name"] for pod in w.pods.living()} == first
        assert w.condition("UpdateAvailable") == "True RenderingChanged"
