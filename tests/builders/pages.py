"""Reads commands and files out of pages that people follow."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)


def command_blocks(page: str) -> list[str]:
    """The blocks of a page that are typed into a shell: those without a language. page: relative to the repository."""
    return _blocks(page, language="")


def yaml_blocks(page: str) -> list[str]:
    """The blocks of a page that are YAML."""
    return _blocks(page, language="yaml")


def _blocks(page: str, *, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [found["text"] for found in _FENCE.finditer(text) if found["language"] == language]
