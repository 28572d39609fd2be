"""Generates docs/explanation/speed.md: the estimate, and how far it is from published measurements."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
# The published rows, and what reads them, stand with the tests that hold the figures.
sys.path.append(str(_ROOT / "tests"))

from builders.published_steps import (  # noqa: E402
    PublishedStep,
    middle,
    published_steps,
    with_prefill,
    with_step,
)
from inference_fleet.engine.estimate import ERROR_PERCENT  # noqa: E402

PATH = "docs/explanation/speed.md"
_NOTHING = "| | | "


def generate() -> dict[str, str]:
    """The page, from scripts/speed_page.template.md and the published rows."""
    text = (_ROOT / "scripts" / "speed_page.template.md").read_text(encoding="utf-8")
    steps = [step.step_error for step in with_step()]
    prefills = [step.prefill_error for step in with_prefill()]
    blocks = {
        "steps": str(len(steps)),
        "step median": f"{middle(steps) * 100:.0f}",
        "step within": _within(steps),
        "prefills": str(len(prefills)),
        "prefill median": f"{middle(prefills) * 100:.0f}",
        "prefill within": _within(prefills),
        "rows": "\n".join(_row(step) for step in published_steps()),
    }
    for name, block in blocks.items():
        text = text.replace("{{" + name + "}}", block)
    return {PATH: text}


def _within(errors: list[float]) -> str:
    return f"{sum(abs(error) * 100 <= ERROR_PERCENT for error in errors)} of {len(errors)}"


def _row(step: PublishedStep) -> str:
    row = step.row
    device = f"{row['devices']} x {row['accelerator']}"
    decoding = prefill = _NOTHING
    if "stepMilliseconds" in row:
        off = f"{step.step_error * 100:+.0f} %" if step.possible else "not possible"
        decoding = f"| {row['stepMilliseconds']:.1f} | {step.ours_milliseconds:.1f} | {off} "
    if "perPrefillTokenMicroseconds" in row:
        off = f"{step.prefill_error * 100:+.0f} %"
        prefill = f"| {row['perPrefillTokenMicroseconds']:.0f} | {step.ours_prefill_microseconds:.0f} | {off} "
    return f"| {row['model'].partition('/')[2]} | {device} {decoding}{prefill}| {row['source']} |"
