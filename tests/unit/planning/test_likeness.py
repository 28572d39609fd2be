"""When a live object is taken to be as it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from inference_fleet.planning.likeness import holds


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ({"a": 1, "added by the server": 2}, {"a": 1}),
        ({}, {"labels": {}}),
        ({}, {"items": []}),
        # The API server leaves a false switch out: read as a difference, it would be written for ever.
        ({}, {"publishNotReadyAddresses": False}),
        ({"ports": [{"port": 1, "nodePort": 3}]}, {"ports": [{"port": 1}]}),
    ],
)
def test_what_the_server_adds_or_leaves_out_is_no_difference(live: Any, wanted: Any) -> None:
    assert holds(live, wanted)


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ({"a": 2}, {"a": 1}),
        ({}, {"a": 1}),
        ({"items": [1, 2]}, {"items": [1]}),
        ({"switch": True}, {"switch": False}),
        ({"count": None}, {"count": 0}),
        ({"a": "text"}, {"a": {"b": 1}}),
    ],
)
def test_another_value_is_a_difference(live: Any, wanted: Any) -> None:
    assert not holds(live, wanted)
