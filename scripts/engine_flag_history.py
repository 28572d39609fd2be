"""Since when vLLM's server has a flag, and until when it had one that is gone: engine_flag_history.json, read."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("engine_flag_history.json")


@dataclass(frozen=True)
class FlagHistory:
    """since: the first minor release with a flag, by flag; the oldest that was read stands for all before.

    until: the last one, of flags that are gone.
    """

    since: Mapping[str, str]
    until: Mapping[str, str]


def flag_history() -> FlagHistory:
    """Of all releases that were read."""
    releases = json.loads(PATH.read_text(encoding="utf-8"))["releases"]
    since: dict[str, str] = {}
    until: dict[str, str] = {}
    former = ""
    for minor, changes in releases.items():
        for flag in changes["removed"]:
            until[flag] = former
        for flag in changes["added"]:
            # One that came back is as old as its return.
            since[flag] = minor
            until.pop(flag, None)
        former = minor
    return FlagHistory(since, until)


def with_release(text: str, minor: str, *, flags: Collection[str], former: Collection[str]) -> str:
    """The file with one release more, a line for each. former: the flags of the release before it."""
    document = json.loads(text)
    document["releases"][minor] = {
        "added": sorted(set(flags) - set(former)),
        "removed": sorted(set(former) - set(flags)),
    }
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in document["releases"].items())
    return f'{{\n "source": {json.dumps(document["source"])},\n "releases": {{\n{rows}\n }}\n}}\n'
