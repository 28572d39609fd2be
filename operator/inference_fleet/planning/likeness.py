"""Whether a live object already is as we want it, what the API server adds of its own not counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
