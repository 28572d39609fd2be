"""A deployment comes to life, follows its load up and down, and rests."""

from __future__ import annotations

from builders.operator_world import world


async def test_a_new_deployment_serves_follows_its_load_and_comes_back() -> None:
    async with world() as w:
        w.deploy()
        async with w.running():
            await w.clock.advance_until(lambda: w.condition("Ready") == "True Serving", within=60)
            assert w.desired() == 1
            w.signals.load = {"llama": 40.0}
            await w.clock.advance_until(lambda: len(w.pods.ready()) >= 3, within=90)
            up = len(w.pods.ready())
            w.signals.load = {"llama": 1.0}
            await w.clock.advance_until(lambda: len(w.pods.living()) == 1, within=3600)
            assert 3 <= up <= 6
            assert w.condition("Ready") == "True Serving"
            # Going down is one decision after another, none of them taken back because its own marks were seen.
            history = w.status()["scaling"]["history"]
            assert [entry["to"] for entry in history if entry["to"] < entry["from"]] == [*range(1, up)]
            assert not any("since the last look" in entry["message"] for entry in history)
