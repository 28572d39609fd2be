"""Pods that do not answer are called by their names, with what is wrong."""

from __future__ import annotations

import dataclasses

import pytest

from builders.scaling import Scaler, limits, sample, variant
from inference_fleet.scaling.types import Decision, PodSample, Rule, SignalState

NONE = "Prometheus has no sample of"


def decision(*samples: PodSample | None, clocks: str = "") -> Decision:
    """Of pods a-0, a-1, ..., of which each says this; they all answered 15 s before."""
    scaler = Scaler(limits())
    scaler.tick(variant(at=scaler.now, ready=len(samples), running=1.0))
    seen = variant(at=scaler.now, ready=len(samples))
    said = [dataclasses.replace(each, pod=f"a-{place}") for place, each in enumerate(samples) if each is not None]
    return scaler.tick(dataclasses.replace(seen, pods=tuple(said)), clocks=clocks)


def well(scaler_now: float = 1_000_015.0) -> PodSample:
    return sample("", at=scaler_now, running=0.0)


@pytest.mark.parametrize(
    ("silent", "told"),
    [
        (1, f"1 of 9 pods is silent: {NONE} a-0; no scale-down until it answers"),
        (2, f"2 of 9 pods are silent: {NONE} a-0 and a-1; no scale-down until they answer"),
        (3, f"3 of 9 pods are silent: {NONE} a-0, a-1 and a-2; no scale-down until they answer"),
        (4, f"4 of 9 pods are silent: {NONE} a-0, a-1, a-2 and 1 more; no scale-down until they answer"),
        (8, f"8 of 9 pods are silent: {NONE} a-0, a-1, a-2 and 5 more; no scale-down until they answer"),
        (9, f"signals are unknown (9 of 9 pods are silent: {NONE} a-0, a-1, a-2 and 6 more): hold 9"),
    ],
)
def test_silent_pods_are_named_up_to_three(silent: int, told: str) -> None:
    found = decision(*[None] * silent, *[well()] * (9 - silent))
    assert found.message == told
    assert found.rule is Rule.SIGNALS_UNKNOWN
    assert found.problem in told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "Prometheus has no sample of a-0"),
        (well(1_000_015.0 - 40), "Prometheus has had no sample of a-0 for more than 35 s"),
        (
            dataclasses.replace(well(), waiting=float("nan")),
            "running or waiting requests or token counters of a-0 are missing or no numbers",
        ),
        (
            dataclasses.replace(well(), generation_tokens=None),
            "running or waiting requests or token counters of a-0 are missing or no numbers",
        ),
        (
            well(1_000_015.0 + 300),
            "the newest samples of a-0 are about 5 min ahead of this operator's clock: compare the clocks of the"
            " operator's node and of Prometheus'",
        ),
    ],
)
def test_why_a_pod_counts_as_silent_is_said(said: PodSample | None, told: str) -> None:
    found = decision(said, well(), well())
    assert found.problem == f"1 of 3 pods is silent: {told}"
    assert found.signals is SignalState.FRESH


def test_causes_that_differ_are_told_apart() -> None:
    found = decision(None, well(1_000_015.0 - 40), None, well())
    assert found.problem == (
        "3 of 4 pods are silent: Prometheus has had no sample of a-1 for more than 35 s, and"
        " Prometheus has no sample of a-0 and a-2"
    )


def test_a_clock_of_prometheus_that_differs_is_told_beside_pods_that_are_silent_only() -> None:
    clocks = "the clock of Prometheus is about 5 min behind that of this operator"
    assert decision(None, well(), clocks=clocks).problem.endswith(f"({clocks})")
    assert decision(well(), well(), clocks=clocks).problem == ""


def test_samples_ahead_of_the_clock_are_not_believed_and_all_is_known_at_once_when_they_are_of_now_again() -> None:
    scaler = Scaler(limits())
    before = scaler.hold(20, ready=3, running=30.0)
    for _ in range(20):
        ahead = variant(at=scaler.now + 300, ready=3, running=0.0, work=scaler.now)
        told = scaler.tick(ahead)
        assert told.signals is SignalState.UNKNOWN
        assert "about 5 min ahead of this operator's clock" in told.message
        assert told.total >= 3
    after = scaler.hold(1, ready=3, running=30.0)
    assert after.signals is SignalState.FRESH
    # What moved in the five minutes is spread over them: as long ago as the samples say.
    demand = [next(term.value for term in each.terms if term.name == "demand") for each in (before, after)]
    assert demand[1] == pytest.approx(demand[0], rel=0.1)


@pytest.mark.parametrize("seconds", [5.0, 15.0])
def test_clocks_that_differ_by_seconds_make_nobody_silent(seconds: float) -> None:
    assert decision(well(1_000_015.0 + seconds), well()).problem == ""
