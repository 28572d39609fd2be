"""JSON schemas of every kind that an API server serves, from its own OpenAPI, in the form that kubeconform reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from builders.api_server import ApiServer
from inference_fleet.api.names import ACCELERATOR_CLASS_KIND, API_VERSION, INFERENCE_DEPLOYMENT_KIND

# How kubeconform finds the file of a kind; the core group has no name, and kubeconform takes its version for one.
LOCATION: Final = "{{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json"
# An API server serves a new kind at once and publishes its schema a moment later.
_PUBLISHED_WITHIN_SECONDS: Final = 30.0
_PREFIX: Final = "#/components/schemas/"

Schema = dict[str, Any]


def write_schemas(server: ApiServer, folder: Path) -> str:
    """One file a kind, fields that the server does not know refused; what to give kubeconform as schema location."""
    _await_ours(server)
    for path, place in _places(server).items():
        if path.startswith(("api/", "apis/")):
            _write(_components(server, place), folder=folder)
    return str(folder / LOCATION)


def _places(server: ApiServer) -> dict[str, str]:
    """Where the document of each group and version is."""
    status, index = server.request("GET", "/openapi/v3")
    assert status == 200, index
    return {path: place["serverRelativeURL"] for path, place in index["paths"].items()}


def _components(server: ApiServer, place: str) -> Mapping[str, Schema]:
    status, document = server.request("GET", place)
    assert status == 200, place
    found: Mapping[str, Schema] = document.get("components", {}).get("schemas", {})
    return found


def _await_ours(server: ApiServer) -> None:
    """Returns when the schemas of both our kinds are published."""
    deadline = time.monotonic() + _PUBLISHED_WITHIN_SECONDS
    while not _publishes_ours(server):
        assert time.monotonic() < deadline, f"the API server does not publish {API_VERSION}"
        time.sleep(0.1)


def _publishes_ours(server: ApiServer) -> bool:
    place = _places(server).get(f"apis/{API_VERSION}")
    names = _components(server, place) if place else {}
    kinds = {name.rpartition(".")[2] for name in names}
    return {INFERENCE_DEPLOYMENT_KIND, ACCELERATOR_CLASS_KIND} <= kinds


def _write(components: Mapping[str, Schema], *, folder: Path) -> None:
    closed = {name: _closed(schema) for name, schema in components.items()}
    for name, schema in components.items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        # A kind of this group alone; those of several are the bodies of requests.
        if len(kinds) == 1:
            (kind,) = kinds
            file = f"{kind['group'] or kind['version']}-{kind['version']}-{kind['kind'].lower()}.json"
            needed = {each: closed[each] for each in _reached(name, components=components)}
            whole = {"$ref": _PREFIX + name, "components": {"schemas": needed}}
            (folder / file).write_text(json.dumps(whole), encoding="utf-8")


def _closed(node: Any) -> Any:
    """The schema with `additionalProperties: false` wherever it lists fields and leaves the rest unsaid."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {key: _closed(value) for key, value in node.items()}
    # A field may be called "properties"; then what is below it is a schema, not a map of them.
    lists_fields = isinstance(node.get("properties"), Mapping) and node.get("type") == "object"
    if lists_fields and not node.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


def _reached(name: str, *, components: Mapping[str, Schema]) -> set[str]:
    """The schemas that one refers to, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(_references(components[current]))
    return found


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [each for value in node for each in _references(value)]
    if not isinstance(node, Mapping):
        return []
    own = node.get("$ref")
    return ([own.removeprefix(_PREFIX)] if isinstance(own, str) else []) + [
        each for value in node.values() for each in _references(value)
    ]
