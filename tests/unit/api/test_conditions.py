"""Conditions keep the time of their last flip, and every reason is a word of its own."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.api.conditions import (
    ALWAYS_PRESENT,
    CONDITION_MEANINGS,
    Condition,
    ConditionType,
    Reason,
    set_condition,
    timestamp,
)
from inference_fleet.api.reason_meanings import REASON_MEANINGS, RESERVED

PACKAGE = Path(__file__).resolve().parents[3] / "operator" / "inference_fleet"
NOON = 1769860800.0  # 2026-01-31T12:00:00Z


def condition(kind: str, status: str = "True", reason: str = "Serving", message: str = "") -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ""}
    )


def test_times_are_written_as_kubernetes_writes_them() -> None:
    assert timestamp(NOON) == "2026-01-31T12:00:00Z"
    assert timestamp(NOON + 0.9) == "2026-01-31T12:00:00Z"


def test_a_new_condition_has_its_time_from_now() -> None:
    (ready,) = set_condition((), condition("Ready"), now=NOON)
    assert ready.last_transition_time == "2026-01-31T12:00:00Z"


def test_the_time_moves_only_when_the_status_flips() -> None:
    first = set_condition((), condition("Ready", "False", "Starting"), now=NOON)
    (same,) = set_condition(first, condition("Ready", "False", "RollingOut", "3 of 4"), now=NOON + 60)
    assert (same.reason, same.message) == ("RollingOut", "3 of 4")
    assert same.last_transition_time == timestamp(NOON)
    (flipped,) = set_condition((same,), condition("Ready", "True"), now=NOON + 120)
    assert flipped.last_transition_time == timestamp(NOON + 120)


@given(st.lists(st.sampled_from(["Ready", "Available", "Accepted"]), max_size=12))
def test_each_type_is_there_once_in_order_of_first_sight(kinds: list[str]) -> None:
    conditions: tuple[Condition, ...] = ()
    for kind in kinds:
        conditions = set_condition(conditions, condition(kind), now=NOON)
    assert [one.type for one in conditions] == list(dict.fromkeys(kinds))


def test_every_condition_has_a_meaning() -> None:
    assert set(CONDITION_MEANINGS) == set(ConditionType)
    assert set(ALWAYS_PRESENT) < set(ConditionType)


def test_reasons_are_words_that_the_api_conventions_allow() -> None:
    for reason in Reason:
        assert re.fullmatch(r"[A-Z][A-Za-z]{0,63}", reason)
    assert len(set(Reason)) == len(Reason.__members__)


def test_every_reason_is_explained() -> None:
    assert set(REASON_MEANINGS) == set(Reason)
    for meaning, way_out in REASON_MEANINGS.values():
        assert meaning.endswith(".")
        assert way_out.endswith(".")


def test_a_reserved_reason_is_given_nowhere() -> None:
    """Take it from RESERVED when something gives it, and the reference page will say so."""
    sources = [path for path in PACKAGE.rglob("*.py") if path.name not in ("conditions.py", "reason_meanings.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    given = [reason for reason in RESERVED if re.search(rf"\bReason\.{reason.name}\b", text)]
    assert given == []
