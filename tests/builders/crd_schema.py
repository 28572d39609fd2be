"""What the API server would say of an object by its definition's schema, rules apart: unknown fields, types, bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference_fleet.api.crd import accelerator_class_crd, inference_deployment_crd

_SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for crd in (inference_deployment_crd(), accelerator_class_crd())
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def violations(kind: str, part: str, value: Any) -> list[str]:
    """What is wrong with `spec` or `status` of a kind; empty if the server would store it whole."""
    return list(_check(_SCHEMAS[kind]["properties"][part], value, part))


def _check(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)):
            yield f"{path}: {value!r} is neither number nor text"
        return
    wanted = _TYPES[schema["type"]]
    if not isinstance(value, wanted) or (isinstance(value, bool) and schema["type"] != "boolean"):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    yield from _bounds(schema, value, path)
    if isinstance(value, dict):
        yield from _members(schema, value, path)
    elif isinstance(value, list):
        keys = schema.get("x-kubernetes-list-map-keys", ())
        seen = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        if len(set(seen)) != len(seen):
            yield f"{path}: two items with the same {keys}"
        for index, item in enumerate(value):
            yield from _check(schema["items"], item, f"{path}[{index}]")


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: is missing"
    for name, member in value.items():
        known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if known is None:
            yield f"{path}.{name}: is unknown and would be pruned"
        else:
            yield from _check(known, member, f"{path}.{name}")


def _bounds(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    size = value if isinstance(value, (int, float)) else len(value)
    for low, high in (
        ("minimum", "maximum"),
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
    ):
        if size < schema.get(low, size) or size > schema.get(high, size):
            yield f"{path}: {size} is out of bounds"
