"""The demonstration's verdict, picture and report, on observations made by hand."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import Any

import pytest
from rich.console import Console

from inference_fleet.cli.demonstration.load_process import LoadFailed, run_load, take_line
from inference_fleet.cli.demonstration.observation import FleetSample, Observations, ScaleEvent
from inference_fleet.cli.demonstration.report import headline, report_page
from inference_fleet.cli.demonstration.screen import Screen, picture
from inference_fleet.cli.demonstration.summary import summarize
from inference_fleet.cli.demonstration.watcher import decision_line, take_object
from inference_fleet.load.judgement import Fate, Objectives, Outcome


def outcome(at: float, *, fate: Fate = Fate.COMPLETED, first: float = 0.2) -> Outcome:
    done = fate is Fate.COMPLETED
    return Outcome(
        arrival_seconds=at,
        sent_seconds=at,
        ended_seconds=at + 1,
        fate=fate,
        time_to_first_token_seconds=first if done else None,
        inter_token_latency_seconds=0.05 if done else None,
        output_tokens=20,
        error=None if done else "HTTP 500: no",
    )


def observations() -> Observations:
    seen = Observations(
        objectives=Objectives(time_to_first_token_seconds=1.0, inter_token_latency_seconds=0.075),
        duration_seconds=60.0,
        overrun_p99=0.02,
    )
    seen.outcomes = [outcome(float(second)) for second in range(60)]
    wanted = [1] * 20 + [4] * 20 + [1] * 20
    seen.samples = [FleetSample(float(second), count, count, 0, 1.0, 1) for second, count in enumerate(wanted)]
    seen.events = [ScaleEvent(20.0, "l4", 1, 4, "Backlog", "many"), ScaleEvent(40.0, "l4", 4, 1, "DownRate", "few")]
    return seen


def verdict(seen: Observations, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "engine": "emulated",
        "rate_scale": 1.0,
        "seed": 0,
        "needed_peak": 4,
        "interrupted": False,
    }
    return summarize(seen, **(values | changes))


def test_a_demonstration_that_scaled_up_and_down_without_a_failure_has_passed() -> None:
    summary = verdict(observations())
    assert (summary["verdict"], summary["failures"]) == ("passed", [])
    assert summary["requests"] == {"sent": 60, "completed": 60, "failed": 0, "cut": 0}
    assert summary["attainmentPercent"] == 100.0
    assert summary["replicas"]["max"] == 4
    assert summary["schemaVersion"] == "inference-fleet/demo/v1"


@pytest.mark.parametrize("fate", [Fate.FAILED, Fate.CUT])
def test_one_lost_request_fails_it(fate: Fate) -> None:
    seen = observations()
    seen.outcomes[30] = outcome(30.0, fate=fate)
    summary = verdict(seen)
    assert summary["verdict"] == "failed"
    assert "HTTP 500: no" in summary["failures"][0]


def test_never_scaling_up_fails_it() -> None:
    seen = observations()
    seen.samples = [FleetSample(sample.at_seconds, 1, 1, 0, 1.0, 1) for sample in seen.samples]
    seen.events = []
    failures = verdict(seen)["failures"]
    assert "it never scaled up" in failures
    assert "at most 1 replicas were ready; 4 were to be reached" in failures


def test_never_coming_back_down_fails_it() -> None:
    seen = observations()
    seen.samples = seen.samples[:40]
    assert any("never came back down" in failure for failure in verdict(seen)["failures"])


@pytest.mark.parametrize("overrun", [0.11, None])
def test_emulators_that_lag_make_it_invalid_and_never_passed(overrun: float | None) -> None:
    seen = observations()
    seen.overrun_p99 = overrun
    assert verdict(seen)["verdict"] == "invalid"
    assert verdict(seen, engine="vllm")["verdict"] == "passed"


def test_an_interrupted_one_has_failed() -> None:
    assert verdict(observations(), interrupted=True)["failures"] == ["it was interrupted"]


def test_replica_seconds_count_what_starts_too() -> None:
    seen = observations()
    seen.samples = [FleetSample(0.0, 3, 1, 2, 0.0, 0), FleetSample(10.0, 3, 3, 0, 0.0, 0)]
    assert seen.replica_seconds == 30.0


def test_the_picture_is_three_lines_of_at_most_a_hundred_columns() -> None:
    lines = picture(observations(), at_seconds=30.0, decision="Backlog 1 -> 4: many")
    assert len(lines) == 3
    assert all(len(line) <= 100 for line in lines)
    assert "wanted 1  ready 1" in lines[1]
    assert "of 1000" in lines[2]


def test_the_picture_can_be_drawn_before_anything_was_seen() -> None:
    seen = Observations(objectives=Objectives(), duration_seconds=0.0)
    assert len(picture(seen, at_seconds=0.0, decision="")) == 3


def test_without_a_terminal_plain_lines_are_printed() -> None:
    out = io.StringIO()
    with Screen(Console(file=out, width=100), headline="sandbox ready") as screen:
        screen.show(observations(), at_seconds=30.0, decision="")
        screen.show(observations(), at_seconds=31.0, decision="")
    assert out.getvalue().count("load ") == 1
    assert "\x1b" not in out.getvalue()


def test_the_report_is_one_file_that_fetches_nothing() -> None:
    summary = verdict(observations())
    page = report_page(observations(), summary)
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    assert "passed" in page
    assert headline(summary) in page


def test_on_a_phone_the_reason_of_a_decision_has_a_line_of_its_own() -> None:
    page = report_page(observations(), verdict(observations()))
    assert 'name="viewport"' in page
    assert '<table class="decisions">' in page
    assert ".decisions td:last-child { flex-basis: 100% }" in page


def test_messages_cannot_write_into_the_report() -> None:
    seen = observations()
    seen.events = [ScaleEvent(1.0, "l4", 1, 2, "Backlog", "<script>alert(1)</script>")]
    assert "<script>" not in report_page(seen, verdict(seen))


def test_the_objects_history_becomes_events_once_and_only_those_of_the_load() -> None:
    seen = observations()
    seen.events = []
    history = [
        {"time": "2026-01-01T00:01:00Z", "from": 1, "to": 4, "rule": "Backlog", "message": "many"},
        {"time": "2025-12-31T23:59:00Z", "from": 0, "to": 1, "rule": "Minimum", "message": "first"},
    ]
    pools = [{"revision": "a", "replicas": 4, "ready": 1}]
    status = {
        "variants": [{"name": "l4", "pools": pools}],
        "scaling": {"desiredReplicas": 4, "history": history, "lastDecision": history[0]},
    }
    for _ in range(2):
        take_object({"status": status}, seen, at_seconds=61.0, began=1767225600.0, requests_per_second=2.0)
    assert [(event.at_seconds, event.to_replicas) for event in seen.events] == [(60.0, 4)]
    assert (seen.samples[-1].wanted, seen.samples[-1].ready, seen.samples[-1].starting) == (4, 1, 3)
    assert decision_line({"status": status}) == "Backlog 1 -> 4: many"


def test_lines_of_the_generator_are_taken() -> None:
    seen = observations()
    seen.outcomes = []
    take_line(json.dumps({"kind": "progress", "total": 9, "sent": 3, "inFlight": 2}).encode(), seen)
    take_line(json.dumps({"kind": "outcome", **_plain(outcome(1.0))}).encode(), seen)
    assert (seen.sent, seen.in_flight) == (3, 2)
    assert seen.outcomes == [outcome(1.0)]


async def test_a_generator_that_ends_badly_is_named_with_its_words() -> None:
    script = "import sys; print('error: no such file', file=sys.stderr); sys.exit(1)"
    with pytest.raises(LoadFailed, match="no such file"):
        await run_load([sys.executable, "-c", script], observations())


async def test_cancelling_ends_the_generator() -> None:
    script = (
        "import json, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(130))\n"
        "print(json.dumps({'kind': 'progress', 'total': 1, 'sent': 1, 'inFlight': 77}), flush=True)\n"
        "signal.pause()"
    )
    seen = observations()
    task = asyncio.create_task(run_load([sys.executable, "-c", script], seen))
    async with asyncio.timeout(20):
        while seen.in_flight != 77:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _plain(value: Outcome) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}
