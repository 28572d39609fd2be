"""`top` shows what is not ready first, never more lines than the terminal has, and outlives an absent API server."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from builders.answering_server import AnsweringServer, answering_server
from builders.world import World
from inference_fleet.adapters.ports import Cluster, Forbidden, Unavailable
from inference_fleet.cli.deployment_view import DeploymentView, view
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE, run
from inference_fleet.cli.top import _again
from inference_fleet.cli.top_report import top_report, top_text
from inference_fleet.scaling.types import Attainment


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AnsweringServer]:
    with answering_server(tmp_path) as served:
        yield served


@pytest.fixture(scope="module")
def world() -> World:
    world = World()
    world.settle()
    world.decide(3)
    world.settle()
    return world


def fleet(world: World, count: int) -> list[DeploymentView]:
    objects = [copy.deepcopy(world.deployment) for _ in range(count)]
    for number, obj in enumerate(objects):
        obj["metadata"]["name"] = f"model-{number:02d}"
    return [view(obj) for obj in objects]


def plain(text: str) -> list[str]:
    return re.sub(r"\x1b\[\d+m", "", text).splitlines()


def test_counts_and_the_last_change_stand_in_one_line(world: World) -> None:
    lines = plain(top_text([view(world.deployment)], now=world.now + 90, width=120, height=30))
    assert lines[0].startswith("1 deployment: all ready, 3 of 3 replicas serve, 3 devices, 2.40 USD/h")
    assert lines[3].split() == [
        *("chat", "llama", "Serving", "3", "3", ".", ".", ".", "Fresh", "-"),
        *("1->3", "Saturation", "1m30s", "ago", "2.40"),
    ]


def test_the_budget_is_that_of_the_objective_that_is_worst_off() -> None:
    metric = {"metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"}
    world = World(objectives=[{"name": "first", **metric}, {"name": "pace", **metric, "metric": "InterTokenLatency"}])
    kept = tuple(Attainment(name, 0.99, 10_000, missed, world.now) for name, missed in (("first", 39), ("pace", 120)))
    world.decide(1, attainments=kept)
    world.settle()
    titles, row = plain(top_text([view(world.deployment)], now=world.now, width=100, height=30))[2:4]
    assert row[: titles.index("BUDGET") + len("BUDGET")].endswith(" -20%")
    (one,) = top_report([view(world.deployment)])["deployments"]
    assert [each["errorBudgetLeftPercent"] for each in one["objectives"]] == [61, -20]


def test_what_is_not_ready_stands_first(world: World) -> None:
    views = fleet(world, 3)
    broken = json.loads(json.dumps(world.deployment))
    broken["metadata"]["name"] = "z-broken"
    next(c for c in broken["status"]["conditions"] if c["type"] == "Ready")["status"] = "False"
    assert "z-broken" in plain(top_text([*views, view(broken)], now=world.now, width=120, height=30))[3]


@pytest.mark.parametrize(("height", "count"), [(10, 40), (5, 2), (24, 20), (24, 21), (24, 22)])
def test_it_never_needs_more_lines_than_there_are(world: World, height: int, count: int) -> None:
    lines = plain(top_text(fleet(world, count), now=world.now, width=100, height=height))
    assert len(lines) <= height
    left_out = count - sum("model-" in line for line in lines)
    assert (f"and {left_out} more" in lines[-1]) == (left_out > 0)


def test_no_line_is_wider_than_the_terminal(world: World) -> None:
    obj = copy.deepcopy(world.deployment)
    obj["metadata"]["name"] = "a-very-long-name-" * 10
    lines = plain(top_text([view(obj)], now=world.now, width=100, height=24))
    assert max(len(line) for line in lines) <= 100


def test_an_empty_cluster_and_an_unseen_object_have_pictures() -> None:
    assert top_text([], now=0.0, width=100, height=24) == "no InferenceDeployments"
    new = view({"metadata": {"name": "new", "namespace": "chat"}})
    assert plain(top_text([new], now=0.0, width=100, height=24))[3].split()[:3] == ["chat", "new", "-"]


def test_the_report_has_each_ones_scaling(world: World) -> None:
    report = top_report([view(world.deployment)])
    assert report["schemaVersion"] == "inference-fleet/top/v1"
    assert report["deployments"][0]["scaling"]["desiredReplicas"] == 3


def test_into_a_pipe_it_is_one_plain_picture(
    server: AnsweringServer, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    server.holds(world.deployment)
    assert run(["top", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    printed = capsys.readouterr().out
    assert printed.startswith("1 deployment: all ready")
    assert "\x1b" not in printed


def test_it_speaks_json(server: AnsweringServer, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    server.holds(world.deployment)
    assert run(["top", "-o", "json", "--kubeconfig", str(server.kubeconfig)]) == EXIT_OK
    assert json.loads(capsys.readouterr().out)["deployments"][0]["name"] == "llama"


def test_a_cluster_that_is_away_at_the_start_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering_server(tmp_path) as gone:
        pass
    assert run(["top", "--kubeconfig", str(gone.kubeconfig)]) == EXIT_FAILED
    assert capsys.readouterr().err.count("\n") == 1


def test_too_short_an_interval_is_wrong_usage() -> None:
    assert run(["top", "--interval", "0"]) == EXIT_USAGE


class _Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def list_page(self, *_: Any, **__: Any) -> Any:
        raise self.error


def test_an_api_server_that_goes_away_leaves_the_last_picture_with_its_age(world: World) -> None:
    views = (view(world.deployment),)
    cluster = cast(Cluster, _Broken(Unavailable("connection refused")))
    kept, read_at, note = asyncio.run(_again(cluster, views, 0.0, namespace=None))
    assert (kept, read_at) == (views, 0.0)
    assert note.endswith("old: the API server does not answer: connection refused")
    assert note in top_text(kept, now=0.0, width=100, height=24, note=note).splitlines()[0]


def test_lost_rights_end_it() -> None:
    with pytest.raises(Forbidden):
        asyncio.run(_again(cast(Cluster, _Broken(Forbidden("no", status=403))), (), 0.0, namespace=None))
