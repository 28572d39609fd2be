"""What moved between two samples, and what waits for the next."""

from __future__ import annotations

import pytest

from builders.scaling import sample
from inference_fleet.scaling.pod_counters import PodCounters
from inference_fleet.scaling.signals import GATEWAY, FleetLoad, read_signals
from inference_fleet.scaling.types import Observation, VariantObservation

NOW = 1_000_000.0


def looks(*seen: tuple[float, float]) -> list[FleetLoad]:
    """One look after the other, 15 s apart: when the sample was taken, and requests that had finished by then; of a pod
    and of a gateway.
    """
    before: tuple[tuple[str, PodCounters], ...] = ()
    loads = []
    for place, (at, finished) in enumerate(seen):
        told = sample("a-0", at=at, generation_tokens=finished, prompt_tokens=finished, finished_requests=finished)
        fleet = VariantObservation("a", desired=1, ready=1, ready_pods=("a-0",), pods=(told,))
        now = NOW + 15.0 * place
        seen_at = now - 15.0 if place else None
        loads.append(read_signals(before, Observation((fleet,), arrivals=(finished, at)), seen_at=seen_at, now=now))
        before = loads[-1].pods
    return loads


@pytest.mark.parametrize("apart", [-3.0, 0.0, 0.5, 3.0])
def test_what_was_counted_between_samples_a_moment_apart_comes_with_the_next(apart: float) -> None:
    _, near, last = looks((NOW, 100.0), (NOW + apart, 130.0), (NOW + 30.0, 160.0))
    assert near.changes == ()
    assert near.arrival_rate is None
    assert near.answered == 1
    (change,) = last.changes
    assert (change.seconds, change.finished) == (30.0, 60.0)
    assert last.arrival_rate == pytest.approx(2.0)
    assert dict(last.pods).keys() == {"a-0", GATEWAY}


def test_samples_of_the_shortest_interval_are_compared() -> None:
    _, load = looks((NOW, 100.0), (NOW + 5.0, 110.0))
    (change,) = load.changes
    assert (change.seconds, change.finished) == (5.0, 10.0)
    assert load.arrival_rate == pytest.approx(2.0)
