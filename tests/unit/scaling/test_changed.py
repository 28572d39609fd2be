"""Copies of frozen values with some fields changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from inference_fleet.scaling.changed import changed


@dataclass(frozen=True)
class Value:
    first: int = 1
    second: tuple[int, ...] = ()


def test_a_copy_is_what_replace_makes_and_the_original_stays() -> None:
    value = Value()
    assert changed(value, second=(2,)) == replace(value, second=(2,))
    assert value == Value()


def test_a_copy_is_as_frozen_as_the_original() -> None:
    with pytest.raises(AttributeError):
        changed(Value(), first=2).first = 3  # type: ignore[misc]


def test_a_field_that_the_class_has_not_is_refused() -> None:
    with pytest.raises(TypeError, match="Value has no \\['third'\\]"):
        changed(Value(), third=3)
