"""Rules over one value, beside the models they belong to: once for the API server, once for objects it stored earlier.

A rule is a CEL expression (`self` is the value it stands on), its message, and the same thing said in Python. The
definition's schema carries the expression; reading an object checks `holds`, because an object may be older than a
rule. That both mean the same is held by examples that are tried on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationInfo
from pydantic_core import PydanticCustomError

KEY: Final = "x-kubernetes-validations"
# The type of the errors that rules raise when a model is read.
ERROR_TYPE: Final = "rule"
# Context of a reading that leaves the rules out: what is merged from parts that were checked is judged by the engine.
WITHOUT_RULES: Final = {"rules": "none"}


@dataclass(frozen=True)
class Rule:
    """One rule. field: the member of the value that the message is about; None is the value itself."""

    expression: str
    message: str
    holds: Callable[[Any], bool]
    field: str | None = None

    def schema(self) -> dict[str, str]:
        """The rule as the API server takes it."""
        place = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.expression, "message": self.message, **place}


def cel(*rules: Rule) -> dict[str, Any]:
    """The schema extension that holds the rules."""
    return {KEY: [rule.schema() for rule in rules]} if rules else {}


def obey(value: Any, rules: Iterable[Rule], info: ValidationInfo) -> None:
    """Raise at the first rule that does not hold, for pydantic to gather with its path."""
    if info.context == WITHOUT_RULES:
        return
    for rule in rules:
        if not rule.holds(value):
            raise PydanticCustomError(ERROR_TYPE, "{message}", {"message": rule.message, "field": rule.field or ""})


def exactly_one_of(*fields: str, attributes: tuple[str, ...], message: str) -> Rule:
    """Exactly one of the optional fields is set. attributes: the same, as the model calls them."""
    present = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return Rule(
        f"{present} == 1",
        message,
        lambda value: sum(getattr(value, attribute) is not None for attribute in attributes) == 1,
    )


def list_map(*keys: str) -> dict[str, Any]:
    """A list whose items are told apart by these keys, for server-side apply and for uniqueness."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
SET_LIST: dict[str, Any] = {"x-kubernetes-list-type": "set"}
PRESERVE_UNKNOWN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


def unique_by(attribute: str) -> Callable[[tuple[Any, ...], ValidationInfo], tuple[Any, ...]]:
    """A pydantic validator of what `list_map` makes the server check: no two items with the same key."""

    def check(items: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        seen = set()
        for item in items:
            key = getattr(item, attribute)
            if key in seen and info.context != WITHOUT_RULES:
                context = {"message": f"{key!r} is used twice; it must be unique", "field": ""}
                raise PydanticCustomError(ERROR_TYPE, "{message}", context)
            seen.add(key)
        return items

    return check
