"""Kubernetes quantities: `48Gi`, `500m`, `1e3`."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final

# apimachinery's resource.Quantity: a decimal number with a binary, decimal or exponent suffix.
PATTERN: Final = r"^([0-9]{1,15}(\.[0-9]{1,9})?|\.[0-9]{1,9})(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|[eE][0-9]{1,2})?$"

_SUFFIXES: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
# 24 digits of the number times 19 of 2^60: no product is rounded.
_EXACT: Final = Context(prec=64)


def parse_quantity(text: str) -> Decimal:
    """The number a quantity stands for.

    Raises ValueError if the text is no quantity.
    """
    match = re.fullmatch(PATTERN, text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 48Gi, 500m or 8")
    number, suffix = match.group(1), match.group(3) or ""
    if suffix and suffix[0] in "eE" and suffix not in _SUFFIXES:
        return _EXACT.scaleb(Decimal(number), int(suffix[1:]))
    return _EXACT.multiply(Decimal(number), _SUFFIXES[suffix])
