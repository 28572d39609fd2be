"""Counts are said as people say them."""

from __future__ import annotations

import pytest

from inference_fleet.api.counted import counted, serving


@pytest.mark.parametrize(("count", "words"), [(0, "0 replicas"), (1, "1 replica"), (2, "2 replicas")])
def test_one_has_no_plural(count: int, words: str) -> None:
    assert counted(count, "replica") == words


@pytest.mark.parametrize(
    ("ready", "wanted", "words"),
    [
        (0, 1, "0 of 1 replica serves"),
        (1, 3, "1 of 3 replicas serve"),
        (2, 1, "2 replicas serve, 1 wanted"),
        (1, 0, "1 replica serves, 0 wanted"),
    ],
)
def test_more_than_wanted_are_not_a_part_of_it(ready: int, wanted: int, words: str) -> None:
    assert serving(ready, wanted=wanted) == words
