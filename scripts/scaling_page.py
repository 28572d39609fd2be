"""benchmarks/scaling.md from the results that were recorded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def generate() -> dict[str, str]:
    """The page, from every file of results that it names."""
    sys.path.insert(0, str(BENCHMARKS))
    from scaling import other_results
    from scaling_table import page

    parts = json.loads((BENCHMARKS / "results/scaling.json").read_text(encoding="utf-8"))["parts"]
    return {"benchmarks/scaling.md": page(parts, other_results())}
