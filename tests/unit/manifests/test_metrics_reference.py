"""The page on metrics names every series that a running operator shows, and links to pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from builders.operator_world import world
from inference_fleet.controller.fleet_metrics import fleet_metrics

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"
PAGE = (REFERENCE / "metrics.md").read_text(encoding="utf-8")


async def test_every_series_of_a_running_operator_is_documented() -> None:
    async with world() as w, w.running() as loop:
        loop.telemetry.watch_fleet(lambda: fleet_metrics(loop.store, loop.tick, now=w.clock.now()))
        await w.clock.advance(60)
        shown = {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in text_string_to_metric_families(loop.telemetry.page().decode())
            if not family.name.endswith("_created")
        }
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE))
    assert shown
    assert shown <= documented


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert targets
    assert [target for target in targets if not (REFERENCE / target).exists()] == []
