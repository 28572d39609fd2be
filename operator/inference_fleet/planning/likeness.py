"""Whether a live object already is as we want it, what the API server adds of its own not counted; and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from inference_fleet.api.names import GROUP

# Maps that are ours as a whole: one key more, and a Service or a budget means other pods.
_SELECTORS: Final = ("selector", "podSelector")


def holds(live: Any, wanted: Any) -> bool:
    """Everything that is wanted stands in the live object with the same value; lists must be of the same length.

    An unset list, map or switch equals an empty or false one: the API server drops them.
    """
    if isinstance(wanted, Mapping):
        if live is None:
            live = {}
        return isinstance(live, Mapping) and all(holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, (list, tuple)):
        live = live if live is not None else []
        return (
            isinstance(live, (list, tuple))
            and len(live) == len(wanted)
            and all(holds(a, b) for a, b in zip(live, wanted, strict=True))
        )
    if wanted is False:
        return live is None or live is False
    return bool(live == wanted)


def with_removals(wanted: Mapping[str, Any], *, live: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` as a merge patch that also takes away what is ours in the live object and not wanted any more.

    A merge patch leaves every key that it does not name. Ours are selectors, and labels and annotations of our group;
    what others have put there stays.
    """
    body = dict(wanted)
    for key in ("labels", "annotations"):
        have = (live.get("metadata") or {}).get(key) or {}
        said = (wanted.get("metadata") or {}).get(key) or {}
        gone = {name: None for name in have if name.partition("/")[0] == GROUP and name not in said}
        if gone:
            body["metadata"] = {**body["metadata"], key: {**said, **gone}}
    spec = dict(wanted.get("spec") or {})
    for key in _SELECTORS:
        if isinstance(spec.get(key), Mapping):
            spec[key] = _replaced(spec[key], live=(live.get("spec") or {}).get(key))
    return {**body, "spec": spec} if spec else body


def _replaced(wanted: Any, *, live: Any) -> Any:
    """`wanted` with every other key of the live map removed."""
    if not isinstance(wanted, Mapping) or not isinstance(live, Mapping):
        return wanted
    kept = {key: _replaced(value, live=live.get(key)) for key, value in wanted.items()}
    return {**kept, **{key: None for key in live if key not in wanted}}
