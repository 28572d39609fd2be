"""Writes the data file of a vLLM release from an installed one: `python scripts/engine_release.py PYTHON`.

Flags are read off its parser. Marks, fields and reasons come from the newest release that is known already; a flag that
is new gets denied until somebody has looked at it; what came and went is added to engine_flag_history.json. Everything
else (quantization, speculation, cache types, defaults) is copied and has to be compared by hand:
docs/how-to/add-a-vllm-release.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine_flag_history as history

from inference_fleet.cli.engine_description import ProbeFailure, probe
from inference_fleet.engine.versions import KNOWN_MINORS

DATA = Path(__file__).resolve().parent.parent / "operator" / "inference_fleet" / "engine" / "data"
NOT_REVIEWED = "it is new and has not been looked at"
# One row a line, so that a difference between two releases can be read.
_TABLES = ("flags", "quantization")
_KEPT = ("mark", "field", "reason", "needs", "refused", "schema")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: engine_release.py PYTHON", file=sys.stderr)
        return 64
    found = probe(arguments[0])
    if isinstance(found, ProbeFailure):
        print(found.message, file=sys.stderr)
        return 1
    former = json.loads((DATA / f"vllm-{KNOWN_MINORS[-1]}.json").read_text(encoding="utf-8"))
    document = release(found, former=former)
    path = DATA / f"vllm-{document['minor']}.json"
    path.write_text(text(document), encoding="utf-8")
    if document["minor"] != former["minor"]:
        flags, known = ([row["flag"] for row in each["flags"]] for each in (document, former))
        before = history.PATH.read_text(encoding="utf-8")
        after = history.with_release(before, document["minor"], flags=flags, former=known)
        history.PATH.write_text(after, encoding="utf-8")
    fresh = [row["flag"] for row in document["flags"] if row.get("reason") == NOT_REVIEWED]
    print(f"wrote {path}; new flags, denied for now: {', '.join(fresh) or 'none'}")
    return 0


def release(found: Mapping[str, Any], *, former: Mapping[str, Any]) -> dict[str, Any]:
    """The new release's document."""
    version = ".".join(found["version"].partition("+")[0].split(".")[:3])
    known = {row["name"]: row for row in former["flags"]}
    flags = [_row(flag, known.get(flag["name"])) for flag in found["flags"]]
    return {**former, "version": version, "minor": version.rpartition(".")[0], "flags": flags}


def _row(flag: Mapping[str, Any], known: Mapping[str, Any] | None) -> dict[str, Any]:
    spellings = list(flag["spellings"])
    row: dict[str, Any] = {"flag": next(each for each in spellings if each.startswith("--")), "name": flag["name"]}
    own = f"--{flag['name'].replace('_', '-')}"
    negatives = []
    if flag["kind"] == "switch":
        row["flag"] = own
        # Releases from 0.33 on hide --no-x from their help where they show --disable-x, and take it all the same.
        written = [each for each in spellings if each.startswith("--") and each != own]
        negatives = [f"--no-{own[2:]}", *(each for each in written if each != f"--no-{own[2:]}")]
    aliases = [each for each in spellings if each != row["flag"] and each not in negatives]
    row |= {"aliases": aliases} if aliases else {}
    row["kind"] = flag["kind"]
    row |= {"negatives": negatives} if negatives else {}
    row |= {"values": flag["values"]} if flag["values"] != "one" else {}
    row |= {"choices": flag["choices"]} if flag["choices"] else {}
    row |= {key: flag[key] for key in ("words", "bounds") if flag[key]}
    if flag["default"] not in (None, "==SUPPRESS=="):
        row["default"] = flag["default"]
    if known is None:
        return {**row, "mark": "denied", "reason": NOT_REVIEWED}
    return {**row, **{key: known[key] for key in _KEPT if key in known}}


def text(document: Mapping[str, Any]) -> str:
    """The document as it lies in the repository."""
    parts = []
    for key, value in document.items():
        if key in _TABLES:
            body = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        elif isinstance(value, dict):
            body = "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in value.items())
            body += "\n }"
        else:
            body = json.dumps(value)
        parts.append(f" {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
