"""The schema of the chart's values: nothing but what is documented, and the operator's own bounds for its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_fleet.controller.settings import Settings

# What a chart may set by `settings`; the rest has a value of its own, or is the chart's business.
SETTINGS = ("log_format", "log_level", "tick_seconds", "resync_seconds", "workers")

Schema = dict[str, Any]
_TEXT: Schema = {"type": "string"}
_SWITCH: Schema = {"type": "boolean"}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_DURATION: Schema = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
# Parts of a pod: the API server knows them better.
_PART: Schema = {"type": "object"}
_PARTS: Schema = {"type": "array", "items": {"type": "object"}}
# Where a file comes from; {} is none.
_FILE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"name": {"type": "string", "minLength": 1}, "key": {"type": "string", "minLength": 1}},
    "dependencies": {"name": ["key"], "key": ["name"]},
}

# A user has a password and no token: the operator would not start otherwise.
_SIGN_IN: Schema = {
    "if": {"required": ["user"], "properties": {"user": {"minLength": 1}}},
    "then": {
        "required": ["password"],
        "properties": {"password": {"required": ["name", "key"]}, "token": {"maxProperties": 0}},
    },
    "else": {"properties": {"password": {"maxProperties": 0}}},
}


def _listed(items: Schema) -> Schema:
    return {"type": "array", "items": items, "uniqueItems": True}


def schema(descriptions: Mapping[str, str]) -> Schema:
    """JSON Schema of values.yaml. descriptions: by path, from the comments there; a path without one is a fault."""
    monitor = {"enabled": _SWITCH, "labels": _TEXTS}
    tree: dict[str, Any] = {
        "fullnameOverride": {**_NAME, "maxLength": 50},
        "namespaces": _listed(_NAME),
        "replicas": {"type": "integer", "minimum": 0, "maximum": 9},
        "image": {
            "repository": {"type": "string", "minLength": 1},
            "tag": _TEXT,
            "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            "pullPolicy": {"enum": ["", "Always", "IfNotPresent", "Never"]},
        },
        "imagePullSecrets": _PARTS,
        "crds": {"install": _SWITCH, "keep": _SWITCH},
        "prometheus": {
            "url": {"type": "string", "pattern": "^https?://[^@]+$"},
            "certificateAuthority": _FILE,
            "token": _FILE,
            "user": {"type": "string", "pattern": "^[!-9;-~]{0,128}$"},
            "password": _FILE,
            "tenant": {"type": "string", "pattern": "^[!-~]{0,150}$"},
            "tenantHeader": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
            "arrivalsQuery": {"type": "string", "maxLength": 2000},
        },
        "settings": _settings(),
        "userRoles": {"view": _SWITCH, "edit": _SWITCH},
        "admissionPolicies": {"operator": _SWITCH, "tenants": _SWITCH},
        "acceleratorCatalogue": {
            "install": _SWITCH,
            "only": _listed(_TEXT),
            "prices": {"type": "object", "additionalProperties": _price()},
            "nodeSelectors": {"type": "object", "additionalProperties": _TEXTS},
            "tolerations": _PARTS,
        },
        "serviceAccount": {"annotations": _TEXTS},
        "podLabels": _TEXTS,
        "podAnnotations": _TEXTS,
        "resources": _PART,
        "nodeSelector": _TEXTS,
        "tolerations": _PARTS,
        "affinity": _PART,
        "priorityClassName": _TEXT,
        "podDisruptionBudget": {"enabled": _SWITCH},
        "networkPolicy": {
            "enabled": _SWITCH,
            "apiServerPorts": {**_listed(_PORT), "minItems": 1},
            "prometheusPort": _PORT,
            "enginePort": _PORT,
        },
        "monitoring": {
            "serviceMonitor": {**monitor, "interval": _DURATION},
            "podMonitor": {**monitor, "interval": _DURATION},
            "rules": monitor,
            "dashboards": monitor,
        },
    }
    result = _object(tree, descriptions, path="")
    result["properties"]["prometheus"] |= _SIGN_IN
    # Helm itself adds it, for charts that have this one as a dependency.
    result["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **result}


def _object(tree: Mapping[str, Any], descriptions: Mapping[str, str], *, path: str) -> Schema:
    properties: Schema = {}
    for key, node in tree.items():
        here = f"{path}.{key}" if path else key
        is_leaf = isinstance(node.get("type"), str) or "enum" in node
        properties[key] = (
            {"description": descriptions[here], **node} if is_leaf else _object(node, descriptions, path=here)
        )
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _settings() -> Schema:
    """The operator's settings under their names in YAML, with the bounds of the settings model."""
    model = Settings.model_json_schema()["properties"]
    kept = ("type", "enum", "minimum", "maximum")
    return {_camel(name): {key: model[name][key] for key in kept if key in model[name]} for name in SETTINGS}


def _price() -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["perDeviceHour"],
        "properties": {
            "perDeviceHour": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$"},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        },
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
