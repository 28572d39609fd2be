"""A write that the API server refuses is told on the object, tried again, and forgotten when it goes through."""

from __future__ import annotations

from builders.operator_world import world
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import REPLICA_SETS, SERVICES


async def test_a_refused_child_is_told_on_the_object_until_it_goes_through() -> None:
    async with world() as w, w.running():

        def refuse(verb: str, resource: ports.Resource, name: str) -> None:
            if verb == "create" and resource == SERVICES:
                raise ports.Forbidden("admission webhook says no", status=403)

        w.cluster.before = refuse
        w.deploy()
        await w.clock.advance_until(lambda: w.condition("Ready") == "False WriteRefused", within=60)
        await w.clock.advance_until(lambda: len(w.pods.ready()) == 1, within=120)
        assert w.condition("RolledOut") == "False WriteRefused"
        assert w.condition("Available") == "True Serving"  # pods are ready: what is refused is told apart from it
        message = next(entry["message"] for entry in w.status()["conditions"] if entry["type"] == "Ready")
        assert "admission webhook says no" in message
        w.cluster.before = lambda verb, resource, name: None
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=600)


async def test_a_refused_scale_up_is_told_and_takes_nothing_away() -> None:
    async with world() as w, w.running():
        w.deploy()
        w.signals.load = {"llama": 12.0}
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
        await w.clock.advance(300)
        ready = len(w.pods.ready())

        def refuse(verb: str, resource: ports.Resource, name: str) -> None:
            if verb in ("apply", "patch") and resource == REPLICA_SETS:
                raise ports.Forbidden("no more than this", status=403)

        w.cluster.before = refuse
        w.signals.load = {"llama": 60.0}
        await w.clock.advance_until(lambda: w.condition("Ready") == "False WriteRefused", within=120)
        writes = len(w.counted_writes())
        await w.clock.advance(3600)
        assert len(w.pods.ready()) == ready
        # Told once, tried with a growing pause: the object is not written for ever.
        assert len(w.counted_writes()) - writes <= 4
        w.cluster.before = lambda verb, resource, name: None
        await w.clock.advance_until(lambda: len(w.pods.ready()) > ready, within=600)
        await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=120)
