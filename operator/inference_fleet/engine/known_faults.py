"""Faults of vLLM releases that somebody has published: `data/known-faults.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

# What a fault needs to be met. `speculation:METHOD` is any of these by its method.
FEATURES: Final = ("always", "speculation", "promptEmbeds", "pinnedRevision", "kvConnector", "trustRemoteCode")


@dataclass(frozen=True, kw_only=True)
class KnownFault:
    """One advisory: the releases from `introduced` (None: from the first) to before `fixed` (None: all since).

    score: CVSS, if the record has one.
    """

    advisory: str
    introduced: str | None
    fixed: str | None
    feature: str
    action: Literal["refuse", "warn"]
    what: str
    source: str
    score: float | None = None

    def affects(self, version: str) -> bool:
        """Whether a release has it."""
        release = _parts(version)
        begun = self.introduced is None or release >= _parts(self.introduced)
        return begun and (self.fixed is None or release < _parts(self.fixed))


@cache
def known_faults() -> tuple[KnownFault, ...]:
    """All of them, oldest fix first as in the file."""
    file = resources.files("inference_fleet.engine").joinpath("data", "known-faults.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["faults"]
    return tuple(KnownFault(**{"introduced": None, "fixed": None, **row}) for row in rows)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
