"""What the whole loop sees, and what it trusts of that."""

from __future__ import annotations

from builders.operator_world import CLASS, NAMESPACE, SPEC, world
from inference_fleet.adapters import ports
from inference_fleet.adapters.resources import ACCELERATOR_CLASSES, INFERENCE_DEPLOYMENTS, PODS, SERVICES
from inference_fleet.api.names import LABEL_DEPLOYMENT
from inference_fleet.controller.loop import BLIND_AFTER_SECONDS


def body(name: str) -> ports.Object:
    return {"metadata": {"name": name, "labels": {LABEL_DEPLOYMENT: "llama"}}, "spec": {}}


async def test_a_view_that_no_watch_keeps_up_is_blind_until_it_is_heard_of_again() -> None:
    async with world() as w:
        w.deploy()
        async with w.running(resync_seconds=3600) as loop:
            await w.clock.advance(60)
            assert loop.sees()
            w.cluster.reads_fail_with = ports.Unavailable("away")
            w.cluster.break_watches()
            await w.clock.advance(BLIND_AFTER_SECONDS + 60)
            assert not loop.sees()
            w.cluster.reads_fail_with = None
            await w.clock.advance(120)
            assert loop.sees()


async def test_a_resync_puts_right_what_the_watches_lost() -> None:
    async with world() as w:
        w.deploy()
        async with w.running(resync_seconds=120) as loop:
            await w.clock.advance(60)
            kind = loop.store._objects[SERVICES.plural]
            lost = kind.pop((NAMESPACE, "llama"))
            assert loop.store.get(SERVICES, name="llama", namespace=NAMESPACE) is None
            await w.clock.advance(120)
            assert loop.store.get(SERVICES, name="llama", namespace=NAMESPACE) == lost


async def test_what_came_between_the_lists_of_two_namespaces_is_not_taken_for_gone() -> None:
    async with world() as w:
        loop = w.loop(namespaces=("first", "second"))
        list_page = w.cluster.list_page

        async def and_then_one_more(resource: ports.Resource, **named: object) -> ports.Page:
            page = await list_page(resource, **named)  # type: ignore[arg-type]
            if resource == SERVICES and named.get("namespace") == "first":
                loop.changed(resource, w.cluster.add(resource, body("late"), namespace="first"))
            return page

        w.cluster.list_page = and_then_one_more  # type: ignore[method-assign, assignment]
        await loop.read_everything((SERVICES,))
        assert loop.store.get(SERVICES, name="late", namespace="first") is not None


async def test_nothing_is_planned_before_every_kind_was_seen() -> None:
    async with world() as w:
        w.cluster.add(ACCELERATOR_CLASSES, CLASS)
        w.cluster.add(INFERENCE_DEPLOYMENTS, {"metadata": {"name": "llama"}, "spec": SPEC}, namespace=NAMESPACE)
        list_page = w.cluster.list_page

        async def all_but_pods(resource: ports.Resource, **named: object) -> ports.Page:
            if resource == PODS:
                raise ports.Unavailable("away")
            return await list_page(resource, **named)  # type: ignore[arg-type]

        w.cluster.list_page = all_but_pods  # type: ignore[method-assign, assignment]
        async with w.running() as loop:
            await w.clock.advance(300)
            assert not loop.synced.is_set()
            assert w.counted_writes() == []
            w.cluster.list_page = list_page  # type: ignore[method-assign]
            await w.clock.advance(60)
            assert w.counted_writes() != []
