"""When a restart would help, when the process can work, and what /metrics says."""

from __future__ import annotations

import aiohttp

from builders.operator_world import NAMESPACE, world
from inference_fleet.adapters import ports
from inference_fleet.controller.fleet_metrics import fleet_metrics, judged_edge
from inference_fleet.controller.health import STUCK_WORK_SECONDS, ill, serving, unready
from inference_fleet.scaling.types import ObjectiveLimit


async def test_a_working_operator_is_well_and_ready() -> None:
    async with world() as w, w.running() as loop:
        await w.clock.advance(3600)
        assert ill(loop, w.clock) is None
        assert unready(loop) is None


async def test_an_operator_that_has_not_seen_the_cluster_is_not_ready_but_well() -> None:
    async with world() as w:
        w.cluster.reads_fail_with = ports.Unavailable("away")
        async with w.running() as loop:
            await w.clock.advance(3600)
            assert unready(loop) is not None
            assert ill(loop, w.clock) is None  # a restart brings no API server back
            w.cluster.reads_fail_with = None
            await w.clock.advance(60)
            assert unready(loop) is None


async def test_one_who_stands_by_for_the_lease_is_ready() -> None:
    lease = {"lease_namespace": "system"}
    async with world() as w, w.running(**lease, identity="one"), w.running(**lease, identity="two") as second:
        await w.clock.advance(60)
        assert not second.leads()
        assert unready(second) is None
        assert ill(second, w.clock) is None


async def test_an_old_resync_is_ill_only_if_the_api_server_answers() -> None:
    async with world() as w, w.running(resync_seconds=60) as loop:
        await w.clock.advance(120)
        loop.last_resync = w.clock.monotonic() - 1000
        assert ill(loop, w.clock) is not None
        w.cluster.reads_fail_with = ports.Unavailable("away")
        w.cluster.break_watches()
        await w.clock.advance(600)
        assert ill(loop, w.clock) is None


async def test_work_that_never_ends_is_ill() -> None:
    async with world() as w, w.running(workers=0) as loop:
        loop.queue.add((NAMESPACE, "x"))
        await loop.queue.get()
        await w.clock.advance(STUCK_WORK_SECONDS + 1)
        assert ill(loop, w.clock) is not None


async def test_the_three_pages_answer() -> None:
    async with world() as w, w.running() as loop:
        w.deploy(
            objectives=[
                {"name": "first", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "95"}
            ]
        )
        w.signals.load = {"llama": 7.0}
        loop.telemetry.watch_fleet(lambda: fleet_metrics(loop.store, loop.tick, now=w.clock.now()))
        await w.clock.advance(300)
        async with serving(loop, w.clock, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
            for page in ("healthz", "readyz"):
                async with session.get(f"http://127.0.0.1:{port}/{page}") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok\n")
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                page = await answer.text()
            loop.synced.clear()
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 503
    labels = 'inference_deployment="llama",namespace="chat"'
    variant = 'inference_deployment="llama",inference_variant="a",namespace="chat"'
    for line in (
        f"inference_fleet_desired_replicas{{{variant}}} 1.0",
        f"inference_fleet_ready_replicas{{{variant}}} 1.0",
        f"inference_fleet_starting_replicas{{{variant}}} 0.0",
        f"inference_fleet_terminating_replicas{{{variant}}} 0.0",
        f'inference_fleet_cost_per_hour{{currency="USD",{labels}}} 2.0',
        'inference_fleet_objective_target_ratio{inference_deployment="llama",le="1.0",metric="TimeToFirstToken",'
        'namespace="chat",objective="first"} 0.95',
        'controller_runtime_reconcile_errors_total{controller="inferencedeployment"} 0.0',
        'controller_runtime_max_concurrent_reconciles{controller="inferencedeployment"} 4.0',
        'workqueue_depth{name="inferencedeployment"} 0.0',
        'workqueue_longest_running_processor_seconds{name="inferencedeployment"} 0.0',
        'leader_election_master_status{name="inference-fleet"} 1.0',
    ):
        assert line in page.replace("\r", "").split("\n"), f"{line} is missing in\n{page}"
    for start in (
        "inference_fleet_signal_age_seconds{",
        f"inference_fleet_forecast_error_ratio{{{labels}}} ",
        "inference_fleet_condition{",
        "workqueue_adds_total{",
    ):
        assert start in page


def test_an_objective_is_judged_at_the_edge_that_is_not_above_it() -> None:
    def edge(metric: str, seconds: float) -> str:
        return judged_edge(ObjectiveLimit("o", metric, seconds, 0.95))

    assert edge("TimeToFirstToken", 1.0) == "1.0"
    assert edge("TimeToFirstToken", 1.2) == "1.0"
    assert edge("InterTokenLatency", 0.075) == "0.075"
    assert edge("InterTokenLatency", 0.001) == "0.01"
