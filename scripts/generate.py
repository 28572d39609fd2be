"""Writes every generated file, or with --check compares and names those that differ.

A generator is a function without arguments that returns {path relative to the repository: text}.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# "module:function", each returning {path: text}.
GENERATORS: tuple[str, ...] = (
    "monitoring_rules:generate",
    "dashboards:generate",
    "crds:generate",
    "rbac:generate",
    "admission_policies:generate",
    "engine_reference:generate",
    "api_reference:generate",
    "chart:generate",
    "metrics_reference:generate",
    "command_reference:generate",
    "memory_page:generate",
    "speed_page:generate",
    "scaling_page:generate",
    "scaling_parts_page:generate",
)


def main(argv: list[str]) -> int:
    if argv not in ([], ["--check"]):
        print("usage: generate.py [--check]", file=sys.stderr)
        return 64
    checking = bool(argv)
    stale: list[str] = []
    for name in GENERATORS:
        module, _, function = name.partition(":")
        generator: Callable[[], Mapping[str, str]] = getattr(importlib.import_module(module), function)
        for path, text in generator().items():
            target = ROOT / path
            if target.exists() and target.read_text(encoding="utf-8") == text:
                continue
            stale.append(path)
            if not checking:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
                print(f"wrote {path}")
    if checking and stale:
        print("not what the generator writes (run `make generate`):", *stale, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
