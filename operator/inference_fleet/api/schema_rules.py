"""CEL rules beside the models they belong to.

A model carries its rules in `json_schema_extra`; the CRD generator passes them through. `self` is the object (or the
value) the rule stands on.
"""

from __future__ import annotations

from typing import Any

KEY = "x-kubernetes-validations"


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL rule; the message says what to do."""
    return {"rule": expression, "message": message}


def cel(*rules: dict[str, str], **extra: Any) -> dict[str, Any]:
    """The schema extension that holds the rules."""
    return {KEY: list(rules), **extra}


def exactly_one_of(*fields: str, message: str) -> dict[str, Any]:
    """Exactly one of the optional fields is set."""
    present = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return cel(rule(f"{present} == 1", message))


def list_map(*keys: str) -> dict[str, Any]:
    """A list whose items are told apart by these keys, for server-side apply and for uniqueness."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
SET_LIST: dict[str, Any] = {"x-kubernetes-list-type": "set"}
PRESERVE_UNKNOWN: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}
