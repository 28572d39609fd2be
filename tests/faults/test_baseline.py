"""What an earlier release has left is taken over as it is: no pod is touched, nothing is written unasked."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from builders.baseline import recorded, releases, restore
from builders.operator_world import World, world
from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import CHILDREN, INFERENCE_DEPLOYMENTS, PODS, REPLICA_SETS


def put_back(w: World, release: str) -> None:
    """The objects of a release, as they were left, into the cluster in memory."""
    w.pods._busy = True  # ReplicaSets and pods come together, none is made for the other

    def put(resource: Resource, body: Object) -> str:
        namespace = "default" if resource.namespaced else None
        kept = copy.deepcopy(body)
        if resource == INFERENCE_DEPLOYMENTS:
            # The recorded status speaks of the recorded generation.
            kept["status"] = {**kept["status"], "observedGeneration": 1}
            for condition in kept["status"]["conditions"]:
                condition["observedGeneration"] = 1
        return str(w.cluster.add(resource, kept, namespace=namespace)["metadata"]["uid"])

    restore(recorded(release), put)
    w.pods._busy = False


def everything(w: World) -> dict[str, Any]:
    """Children with their versions."""
    return {
        f"{resource.kind}/{obj['metadata']['name']}": (obj["metadata"]["uid"], obj["metadata"]["resourceVersion"])
        for resource in CHILDREN
        for obj in w.cluster.all(resource)
    }


@pytest.mark.parametrize("release", releases())
async def test_a_recorded_release_is_taken_over_without_a_write(release: str) -> None:
    async with world() as w:
        put_back(w, release)
        before = everything(w)
        assert len(w.cluster.all(INFERENCE_DEPLOYMENTS)) >= 3
        assert len(w.cluster.all(PODS)) == sum(pool["spec"]["replicas"] for pool in w.cluster.all(REPLICA_SETS)) >= 4
        async with w.running(resync_seconds=60):
            await w.clock.advance(1800)
            assert everything(w) == before
            # Status may say more than the older operator said, once for each object; then it rests.
            writes = len(w.counted_writes())
            assert {(write.plural, write.subresource) for write in w.counted_writes()} <= {
                ("inferencedeployments", "status")
            }
            await w.clock.advance(3600)
            assert len(w.counted_writes()) == writes
        for obj in w.cluster.all(INFERENCE_DEPLOYMENTS):
            ready = [c for c in obj["status"]["conditions"] if c["type"] == "Ready"]
            assert [c["status"] for c in ready] == ["True"], obj["metadata"]["name"]
