"""What moved between two samples, and what waits for the next."""

from __future__ import annotations

from dataclasses import replace

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


def caches(*used: tuple[float | None, float | None]) -> tuple[float | None, float]:
    """Of pods with such shares of caches of such tokens in use: the tokens, and the whole caches."""
    pods = tuple(
        replace(sample(f"a-{place}", at=NOW), kv_cache_usage=share, kv_cache_tokens=tokens)
        for place, (share, tokens) in enumerate(used)
    )
    names = tuple(pod.pod for pod in pods)
    fleet = VariantObservation("a", desired=len(pods), ready=len(pods), ready_pods=names, pods=pods)
    (variant,) = read_signals((), Observation((fleet,)), seen_at=None, now=NOW).variants
    return variant.kv_tokens, variant.kv_share


def test_tokens_in_caches_are_known_where_every_engine_in_use_says_how_many_it_holds() -> None:
    assert caches((0.5, 1000.0), (0.25, 2000.0)) == (1000.0, 0.75)
    assert caches((0.5, 1000.0), (0.25, None)) == (None, 0.75)
    assert caches((0.5, 1000.0), (0.25, float("inf"))) == (None, 0.75)
    # An empty one takes nothing, however large it is.
    assert caches((0.5, 1000.0), (0.0, None)) == (500.0, 0.5)
    # A share that cannot be is no share.
    assert caches((0.5, 1000.0), (1.5, 1000.0), (float("nan"), 1000.0), (None, None)) == (500.0, 0.5)
