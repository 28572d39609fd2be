"""Synthetic traffic: repeatable, of the stated load, and classed by a formula."""

from __future__ import annotations

import dataclasses

import pytest

from inference_fleet.simulation.synthetic import SUITE, Shape, generate, trace_class


def test_the_same_seed_gives_the_same_trace() -> None:
    shape = dataclasses.replace(SUITE[0], span_seconds=300.0)
    assert generate(shape, seed=1).sha256 == generate(shape, seed=1).sha256
    assert generate(shape, seed=1).sha256 != generate(shape, seed=2).sha256


def test_the_load_is_that_of_the_shape() -> None:
    shape = Shape(name="flat", span_seconds=600.0, rate=lambda _: 20.0, noise=0.0)
    workload = generate(shape, seed=0)
    assert len(workload.arrivals) == pytest.approx(12_000, rel=0.05)
    prompts = sorted(arrival.input_tokens for arrival in workload.arrivals)
    assert prompts[len(prompts) // 2] == pytest.approx(700, rel=0.1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("chat-steady", "smooth"), ("chat-morning", "smooth"), ("chat-bursts", "bursty"), ("flash-crowd", "flash")],
)
def test_the_class_follows_from_the_arrivals(name: str, expected: str) -> None:
    shape = next(shape for shape in SUITE if shape.name == name)
    assert trace_class(generate(shape, seed=0).arrivals) == expected


def test_a_trace_without_requests_is_smooth() -> None:
    assert trace_class(()) == "smooth"
