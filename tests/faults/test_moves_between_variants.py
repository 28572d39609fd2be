"""An edit that gives replicas to another variant takes none away before others serve, and asks for no more in all."""

from __future__ import annotations

import pytest

from builders.operator_world import World, world
from inference_fleet.adapters.resources import REPLICA_SETS
from inference_fleet.api.names import LABEL_VARIANT

A = {"name": "a", "acceleratorClassName": "h100"}
B = {"name": "b", "acceleratorClassName": "h100"}
MAXIMUM = 8


def replicas(w: World) -> dict[str, int]:
    found: dict[str, int] = {}
    for obj in w.cluster.all(REPLICA_SETS):
        variant = obj["metadata"]["labels"][LABEL_VARIANT]
        found[variant] = found.get(variant, 0) + obj["spec"]["replicas"]
    return {variant: count for variant, count in found.items() if count}


@pytest.mark.parametrize("signals", ["known", "unknown"])
@pytest.mark.parametrize(
    ("before", "after", "ends_with"),
    [
        ([{**A, "maxReplicas": 4}, B], [A], {"a": 7}),
        ([{**A, "maxReplicas": 4}, B], [B], {"b": 7}),
        ([A, B], [{**A, "maxReplicas": 2}, B], {"a": 2, "b": 5}),
        ([A], [B], {"b": 7}),
    ],
    ids=["second leaves", "first leaves", "maximum lowered", "replaced"],
)
async def test_replicas_move_without_a_loss_and_without_a_crowd(
    before: list[dict[str, object]], after: list[dict[str, object]], ends_with: dict[str, int], signals: str
) -> None:
    async with world() as w:
        w.deploy(variants=before, scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": MAXIMUM})
        w.signals.load = {"llama": 60.0}
        async with w.running():
            await w.clock.advance(900)
            serving = ready = len(w.pods.ready())
            assert serving == sum(replicas(w).values()) == 7
            if signals == "unknown":
                w.signals.twist = lambda honest: type(honest)(problem="Prometheus cannot be asked")
            w.edit(variants=after)
            for _ in range(200):
                await w.clock.advance(3)
                wanted = w.status()["scaling"]["desiredReplicas"]
                assert wanted <= serving
                assert len(w.pods.ready()) >= min(ready, wanted)
                ready = len(w.pods.ready())
            assert replicas(w).keys() == ends_with.keys()
            assert w.pods.most_pods <= MAXIMUM + 1
            if signals == "unknown":
                assert replicas(w) == ends_with
