"""Between deciding and planning: what of the wishes a shared budget grants. No budgets exist yet: all is granted."""

from __future__ import annotations

from collections.abc import Mapping

from inference_fleet.scaling.types import Decision


def allocate(decisions: Mapping[str, Decision], budget: None = None) -> Mapping[str, Decision]:
    """Decisions by object key -> grants by object key. With no budget every wish is granted."""
    return decisions
