"""Grafana's own types know every field of the dashboards, and no panel lies over another."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

DASHBOARDS = sorted((Path(__file__).resolve().parents[3] / "manifests/monitoring/dashboards").glob("*.json"))
# Of a row of Grafana's grid.
COLUMNS = 24


@pytest.fixture(autouse=True, scope="module")
def _panels_are_known() -> None:
    """The options of a panel are those of its plugin."""
    plugins.register_default_plugins()


def unknown(dashboard: dict[str, Any]) -> list[str]:
    """What Grafana's types do not keep when they read it and write it again."""
    kept = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    return list(lost(dashboard, kept, at="dashboard"))


def lost(before: Any, after: Any, *, at: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], at=f"{at}.{key}")
            else:
                yield f"{at}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, at=f"{at}[{place}]")
    elif before != after:
        yield f"{at}: {before} became {after}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_knows_every_field(path: Path) -> None:
    assert unknown(json.loads(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "where",
    [
        (),
        ("panels", 1),
        ("panels", 1, "options"),
        ("panels", 1, "options", "legend"),
        ("panels", 1, "fieldConfig", "defaults"),
        ("panels", 1, "targets", 0),
        ("templating", "list", 0),
    ],
    ids=lambda where: ".".join(map(str, where)) or "dashboard",
)
def test_a_misspelt_field_is_found_wherever_it_is(where: tuple[str | int, ...]) -> None:
    dashboard = json.loads(DASHBOARDS[0].read_text(encoding="utf-8"))
    place = dashboard
    for key in where:
        place = place[key]
    place["tittle"] = "wrong"
    (found,) = unknown(dashboard)
    assert found.endswith(".tittle")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_stay_on_the_grid_beside_one_another(path: Path) -> None:
    panels = json.loads(path.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [panel["gridPos"] for panel in panels]
    assert all(cell["x"] >= 0 and cell["x"] + cell["w"] <= COLUMNS for cell in cells)
    for one, other in itertools.combinations(cells, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
