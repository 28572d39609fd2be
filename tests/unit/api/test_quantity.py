"""Quantities mean what they mean to Kubernetes."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_fleet.api.quantity import PATTERN, parse_quantity

POWERS = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "m": -3}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8", "8"),
        ("500m", "0.5"),
        ("48Gi", "51539607552"),
        ("1e3", "1000"),
        ("1E3", "1000"),
        ("2E", "2000000000000000000"),
        ("1Ei", "1152921504606846976"),
        ("1.5Gi", "1610612736"),
        (".5", "0.5"),
        ("81079Mi", "85017493504"),
    ],
)
def test_known_quantities(text: str, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize(
    "text", ["", "Gi", "1 Gi", "-1", "+1", "1gi", "1GiB", "0x10", "1e", "1.", "NaN", "1\n", "１", "1e100"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(POWERS)))
def test_decimal_suffixes_are_powers_of_ten(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == Decimal(number).scaleb(POWERS[suffix])


@given(st.integers(0, 10**15 - 1), st.sampled_from(sorted(BINARY)))
def test_binary_suffixes_are_powers_of_two(number: int, suffix: str) -> None:
    assert parse_quantity(f"{number}{suffix}") == number * 2 ** BINARY[suffix]


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused_as_the_schema_says(text: str) -> None:
    if re.fullmatch(PATTERN, text, re.ASCII):
        parse_quantity(text)
    else:
        with pytest.raises(ValueError, match="is not a quantity"):
            parse_quantity(text)


@given(st.from_regex(PATTERN, fullmatch=True))
def test_all_that_the_pattern_lets_through_is_a_finite_number(text: str) -> None:
    assert parse_quantity(text).is_finite()
