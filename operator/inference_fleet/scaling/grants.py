"""Between deciding and planning: what of the wishes a shared budget grants. No budgets exist yet: all is granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from inference_fleet.scaling.types import Decision

Object = TypeVar("Object")


def allocate(decisions: Mapping[Object, Decision], budget: None = None) -> Mapping[Object, Decision]:
    """Decisions by object -> grants by object. With no budget every wish is granted."""
    return decisions
