"""From a model's JSON schema to the structural schema that a CustomResourceDefinition takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from inference_fleet.api.schema_rules import KEY

# What of JSON schema's vocabulary a structural schema shares, as it is.
_KEPT: Final = (
    "description",
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)
# One map's keys are longer than this only by mistake; the bound also tells the server what a rule over them can cost.
_KEY_RULE: Final = "self.all(k, size(k) <= {length}{matches})"
_INT_OR_STRING: Final = "x-kubernetes-int-or-string"


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's structural schema: references inlined, no titles, no nulls, rules and list types as given."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    node = _resolved(node, definitions)
    result: dict[str, Any] = {key: node[key] for key in _KEPT if key in node}
    rules = list(node.get(KEY, ()))
    if "properties" in node:
        result["properties"] = {name: _convert(value, definitions) for name, value in node["properties"].items()}
        if node.get("required"):
            result["required"] = sorted(node["required"])
    elif node.get("type") == "object" and "x-kubernetes-preserve-unknown-fields" not in node:
        pattern, values = _map_values(node)
        result["additionalProperties"] = _convert(values, definitions)
        rules.append(_key_rule(node, pattern))
    if "items" in node:
        result["items"] = _convert(node["items"], definitions)
    if "default" in node and node["default"] is not None:
        # An object's default is empty: the server then fills in the defaults of its fields, from one place.
        result["default"] = {} if isinstance(node["default"], Mapping) else node["default"]
    result.update({key: value for key, value in node.items() if key.startswith("x-kubernetes-")})
    if rules:
        result[KEY] = rules
    return result


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The node with its reference, and its one alternative to null, put in its place."""
    merged = dict(node)
    alternatives = [one for one in merged.pop("anyOf", ()) if one.get("type") != "null"]
    if merged.get(_INT_OR_STRING):
        return merged
    if len(alternatives) > 1:
        raise TypeError(f"a structural schema has no alternatives: {alternatives}")
    inner = dict(alternatives[0]) if alternatives else {}
    if "$ref" in merged:
        inner = dict(definitions[merged.pop("$ref").removeprefix("#/$defs/")])
    if not inner:
        return merged
    base = _resolved(inner, definitions)
    rules = [*base.get(KEY, ()), *merged.get(KEY, ())]
    return {**base, **merged, **({KEY: rules} if rules else {})}


def _map_values(node: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The pattern of a map's keys, and the schema of its values."""
    patterns: Mapping[str, Any] = node.get("patternProperties", {})
    for pattern, values in patterns.items():
        return pattern, values
    return None, node["additionalProperties"]


def _key_rule(node: Mapping[str, Any], pattern: str | None) -> dict[str, str]:
    length = node.get("propertyNames", {}).get("maxLength")
    if length is None:
        raise TypeError("the keys of a map need a bound")
    matches = f" && k.matches({_cel_string(pattern)})" if pattern else ""
    text = f"keys have at most {length} characters" + (" and the form of a label's" if pattern else "")
    return {"rule": _KEY_RULE.format(length=length, matches=matches), "message": text}


def _cel_string(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
