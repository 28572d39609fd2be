"""Children that somebody, or an older release, has changed: what is ours is put right once, what is others' stays."""

from __future__ import annotations

from typing import Any

import pytest

from builders.operator_world import NAMESPACE, World, world
from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import DISRUPTION_BUDGETS, SERVICES


def child(w: World, resource: Resource) -> Object:
    found = w.cluster.find(resource, "llama", NAMESPACE)
    assert found is not None
    return found


def selector(obj: Object) -> dict[str, Any]:
    found: dict[str, Any] = obj["spec"]["selector"]
    return found.get("matchLabels", found)


@pytest.mark.parametrize("resource", [SERVICES, DISRUPTION_BUDGETS])
async def test_a_key_that_is_not_wanted_any_more_goes_and_what_others_set_stays(resource: Resource) -> None:
    async with world() as w:
        w.deploy()
        async with w.running(resync_seconds=60):
            await w.clock.advance(120)
            wanted = child(w, resource)

            def change(obj: Object) -> None:
                # Left by a release that selected by one label more: a merge patch of the rest would leave it for ever.
                selector(obj)["inferencefleet.io/generation"] = "1"
                obj["metadata"]["labels"] |= {"inferencefleet.io/generation": "1", "team": "search"}
                obj["metadata"].setdefault("annotations", {})["example.org/note"] = "kept"

            w.cluster.edit(resource, "llama", NAMESPACE, change)
            before = len(w.counted_writes())
            await w.clock.advance(600)

            found = child(w, resource)
            assert found["spec"] == wanted["spec"]
            assert found["metadata"]["labels"] == {**wanted["metadata"]["labels"], "team": "search"}
            assert found["metadata"]["annotations"]["example.org/note"] == "kept"
            assert sum(write.plural == resource.plural for write in w.counted_writes()[before:]) == 1
