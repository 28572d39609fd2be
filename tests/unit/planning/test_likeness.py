"""When a live object is taken to be as it is wanted."""

from __future__ import annotations

from typing import Any

import pytest

from inference_fleet.planning.likeness import holds, with_removals


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


LIVE: dict[str, Any] = {
    "metadata": {"labels": {"inferencefleet.io/old": "1", "team": "a"}, "annotations": {"inferencefleet.io/note": "1"}},
    "spec": {"selector": {"app": "a", "old": "1"}, "clusterIP": "10.0.0.1"},
}


def test_what_is_ours_and_not_wanted_any_more_is_taken_away_and_the_rest_stays() -> None:
    wanted = {"metadata": {"name": "a", "labels": {"inferencefleet.io/new": "1"}}, "spec": {"selector": {"app": "a"}}}
    assert with_removals(wanted, live=LIVE) == {
        "metadata": {
            "name": "a",
            "labels": {"inferencefleet.io/new": "1", "inferencefleet.io/old": None},
            "annotations": {"inferencefleet.io/note": None},
        },
        "spec": {"selector": {"app": "a", "old": None}},
    }


def test_a_selector_is_replaced_at_every_depth() -> None:
    live = {"spec": {"selector": {"matchLabels": {"app": "a", "old": "1"}, "matchExpressions": [{"key": "b"}]}}}
    wanted = {"metadata": {}, "spec": {"selector": {"matchLabels": {"app": "a"}}}}
    (found,) = with_removals(wanted, live=live)["spec"].values()
    assert found == {"matchLabels": {"app": "a", "old": None}, "matchExpressions": None}


def test_what_is_as_wanted_is_left_as_it_is() -> None:
    wanted = {"metadata": {"name": "a"}, "spec": {"podSelector": {"matchLabels": {"app": "a"}}}}
    assert with_removals(wanted, live=wanted) == wanted
    assert with_removals({"metadata": {"name": "a"}}, live={"metadata": {}}) == {"metadata": {"name": "a"}}
