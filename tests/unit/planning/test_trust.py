"""A decision lowers only what it has seen."""

from __future__ import annotations

import pytest

from inference_fleet.planning.trust import trusted
from inference_fleet.scaling.types import Decision, Rule, SignalState


def decision(**replicas: int) -> Decision:
    return Decision(
        time=0.0,
        replicas=tuple(replicas.items()),
        recommended=sum(replicas.values()),
        rule=Rule.SATURATION,
        message="",
        signals=SignalState.FRESH,
    )


@pytest.mark.parametrize(
    ("wanted", "seen", "current", "kept"),
    [
        (1, 4, 4, 1),  # lowers what it has seen
        (1, 1, 4, 4),  # another raised it since: 1 would undo that
        (4, 1, 1, 4),  # raises
        (4, 1, 2, 4),  # raises beyond what another raised
        (4, 4, 1, 4),  # restores what somebody took away
        (2, 4, 3, 2),  # lowers further what was lowered
    ],
)
def test_a_decision_lowers_only_what_it_has_seen(wanted: int, seen: int, current: int, kept: int) -> None:
    result = trusted(decision(a=wanted), seen={"a": seen}, current={"a": current})
    assert result.of("a") == kept
    assert (result.rule is Rule.HOLD) == (kept != wanted)


def test_variants_are_judged_one_by_one() -> None:
    result = trusted(decision(a=1, b=1), seen={"a": 3, "b": 1}, current={"a": 3, "b": 2})
    assert dict(result.replicas) == {"a": 1, "b": 2}
