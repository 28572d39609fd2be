"""How far a decision may be acted on when the counts have changed since it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from inference_fleet.scaling.types import Decision, Rule


def trusted(decision: Decision, *, seen: Mapping[str, int], current: Mapping[str, int]) -> Decision:
    """The decision, lowering only what it has seen. `seen`: replicas per variant when it was made.

    Whoever raised the count since then (another leader with younger signals) knew more than this decision did:
    decided 1 of 1 seen, 4 stand now -> 4 stay until the next decision has looked at them. Raising needs no such care.
    """
    held = tuple(
        (name, max(count, current.get(name, 0)) if current.get(name, 0) > seen.get(name, 0) else count)
        for name, count in decision.replicas
    )
    if held == decision.replicas:
        return decision
    total = sum(count for _, count in held)
    words = f"the count was raised to {total} since the last look: hold until the next"
    return dataclasses.replace(decision, replicas=held, rule=Rule.HOLD, message=words, limited_by=())
