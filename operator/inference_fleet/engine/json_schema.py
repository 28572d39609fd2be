"""A value against a schema: the few words of JSON schema that flags with objects need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}


def objection(value: Any, schema: Mapping[str, Any]) -> str | None:
    """What is wrong, without repeating the value: `.mode is not one of 0, 1, 2, 3`. None: nothing.

    Members that `properties` does not name are unknown, unless `additionalProperties` says what they are.
    """
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return f" is not {_or(kinds)}"
    if "enum" in schema and not any(value == each and type(value) is type(each) for each in schema["enum"]):
        return f" is not one of {', '.join(str(each) for each in schema['enum'])}"
    if "pattern" in schema and not re.fullmatch(schema["pattern"], str(value)):
        return f" does not have the form {schema['pattern']}"
    if "minimum" in schema and value < schema["minimum"]:
        return f" is less than {schema['minimum']}"
    return _first(_inside(value, schema))


def _inside(value: Any, schema: Mapping[str, Any]) -> Iterable[str | None]:
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield _at(f"[{index}]", objection(item, schema["items"]))
    if not isinstance(value, dict):
        return
    if len(value) < schema.get("minProperties", 0):
        yield " says nothing"
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, member in value.items():
        if name in known:
            yield _at(f".{name}", objection(member, known[name]))
        elif others is not None:
            yield _at(f".{name}", objection(member, others))
        elif known:
            yield f".{name} is not known; known are {', '.join(known)}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((each for each in found if each), None)


def _at(place: str, found: str | None) -> str | None:
    return place + found if found else None


def _is(value: Any, kind: str) -> bool:
    # In JSON true is no number.
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _or(kinds: str | Iterable[str]) -> str:
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(
        "null" if name == "null" else f"an {name}" if name[0] in "aio" else f"a {name}" for name in names
    )
