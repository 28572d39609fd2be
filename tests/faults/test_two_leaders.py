"""Two operators that both believe they lead: nothing is made twice, nothing is lost, they come to rest."""

from __future__ import annotations

import pytest

from builders.operator_world import world
from inference_fleet.adapters.resources import REPLICA_SETS


@pytest.mark.parametrize("lag", [0.0, 0.4, 3.0, 7.5])
async def test_two_leaders_at_once_are_harmless(lag: float) -> None:
    async with world() as w, w.running():
        await w.clock.advance(lag)
        async with w.running():
            w.deploy()
            w.signals.load = {"llama": 100.0}  # the maximum, whatever the scaler learns meanwhile
            await w.clock.advance(900)
            peak = len(w.pods.living())
            creates = [(write.plural, write.name) for write in w.counted_writes() if write.verb == "create"]
            assert len(creates) == len(set(creates))
            assert len(w.cluster.all(REPLICA_SETS)) == 1
            assert w.pods.created == peak  # no pod was made and thrown away
            assert w.pods.most_pods <= 6
            before = len(w.counted_writes())
            await w.clock.advance(1800)
            assert w.counted_writes()[before:] == []
            assert len(w.pods.ready()) == peak


async def test_two_leaders_never_let_a_spec_change_take_serving_pods_away() -> None:
    async with world() as w, w.running(), w.running():
        w.deploy()
        w.signals.load = {"llama": 100.0}  # the maximum, whatever the scaler learns meanwhile
        await w.clock.advance(900)
        needed = len(w.pods.ready())
        w.edit(drain={"endpointDelaySeconds": 5, "timeoutSeconds": 60})
        least = needed
        for _ in range(300):
            await w.clock.advance(2)
            least = min(least, len(w.pods.ready()))
        revisions = {pod["metadata"]["labels"]["inferencefleet.io/revision"] for pod in w.pods.living()}
        assert least >= needed
        assert len(revisions) == 1  # and it did change over
        assert w.condition("Ready") == "True Serving"


async def test_a_loser_of_the_lease_ends_and_the_winner_goes_on() -> None:
    async with world() as w:
        w.deploy()
        first = w.loop(lease_namespace="system", identity="one")
        async with w.running(first):
            await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
            second = w.loop(lease_namespace="system", identity="two")
            async with w.running(second):
                await w.clock.advance(60)
                assert first.leads()
                assert not second.leads()
                assert not second.synced.is_set()
