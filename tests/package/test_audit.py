"""The audit's verdict: a vulnerability fails, a package that nobody could be asked about is said aloud."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "scripts/audit.py"


@pytest.fixture(scope="module")
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclass looks itself up there.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "audit", module)
        spec.loader.exec_module(module)
        yield module


CLEAN = {"name": "kopf", "version": "1.45.2", "vulns": []}
BAD = {"name": "aiohttp", "version": "3.9.0", "vulns": [{"id": "PYSEC-2024-24"}, {"id": "PYSEC-2024-26"}]}
UNKNOWN = {"name": "yarl", "skip_reason": "Dependency not found on PyPI and could not be audited: yarl (1.25.1)"}


@pytest.mark.parametrize(
    ("packages", "text"),
    [
        ([CLEAN], "audit: no known vulnerability in 1 packages"),
        ([CLEAN, BAD], "audit: aiohttp 3.9.0: PYSEC-2024-24, PYSEC-2024-26"),
        (
            [CLEAN, UNKNOWN],
            "audit: SKIPPED for 1 of 2 packages: the vulnerability service gave no answer",
        ),
    ],
)
def test_what_is_said(audit: Any, packages: list[dict[str, Any]], text: str) -> None:
    found = audit.verdict({"dependencies": packages})
    assert found.text == text
    assert bool(found.found) == (BAD in packages)
