"""How far a decision may be acted on when the counts have changed since it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from inference_fleet.planning.counts import desired_replicas
from inference_fleet.planning.pools import read_pools
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.wishes import recorded_replicas
from inference_fleet.scaling.types import Decision, Rule


def current_replicas(snapshot: Snapshot) -> dict[str, int]:
    """What every variant is meant to have now, as the scaler counts it."""
    recorded = recorded_replicas(snapshot)
    pools = read_pools(snapshot)
    return {
        variant: desired_replicas([p for p in pools if p.variant == variant], recorded=recorded.get(variant))
        for variant in sorted({pool.variant for pool in pools})
    }


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
