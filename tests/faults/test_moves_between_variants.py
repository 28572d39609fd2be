"""An edit that gives replicas to another variant takes none away before others serve, and asks for no more in all."""

from __future__ import annotations

import pytest

from builders.operator_world import CLASS, World, world
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, REPLICA_SETS
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


DEAR = {
    "metadata": {"name": "dear"},
    "spec": {**CLASS["spec"], "cost": {"perDeviceHour": "20.00", "currency": "USD"}},
}
# Four times the batch for ten times the price.
LARGE = {"name": "large", "acceleratorClassName": "dear", "engine": {"vllm": {"batching": {"maxNumSeqs": 64}}}}


async def test_a_fleet_that_fills_its_maximum_and_lacks_gives_way_to_larger_replicas_one_by_one() -> None:
    async with world() as w:
        w.cluster.add(ACCELERATOR_CLASSES, DEAR)
        w.deploy(variants=[A, LARGE], scaling={"mode": "Automatic", "minReplicas": 1, "maxReplicas": 4})
        w.signals.load = {"llama": 40.0}
        async with w.running():
            await w.clock.advance(900)
            assert replicas(w) == {"a": 4}
            # Four carry 59.
            w.signals.load = {"llama": 120.0}
            seen = []
            for _ in range(300):
                await w.clock.advance(3)
                assert w.status()["scaling"]["desiredReplicas"] <= 4
                # One fewer only where two large ones carry more without it: beside it they are filled as it is.
                assert len(w.pods.ready()) >= (4 if replicas(w).get("large", 0) < 3 else 3)
                seen.append(w.status()["scaling"]["lastDecision"]["message"])
            assert any("1 of large replaces 1 of a" in message for message in seen)
            assert any("1 of large replaces 1 of a" in entry["message"] for entry in w.status()["scaling"]["history"])
            found = replicas(w)
            assert 14.7 * found.get("a", 0) + 58.9 * found["large"] >= 120.0
            assert w.pods.most_pods <= 4 + 1
