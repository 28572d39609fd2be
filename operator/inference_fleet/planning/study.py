"""What follows from an object before a count is known: is its spec accepted, which is in force, what stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from inference_fleet.planning.acceptance import Acceptance, accept
from inference_fleet.planning.pools import Pool, read_pools
from inference_fleet.planning.record import Record, in_force, read_records, record_for
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.wishes import object_limits
from inference_fleet.scaling.types import Limits
from inference_fleet.workload.revision import revision_of

# Fields of the spec that say how to treat the object now, not what to run: never part of an accepted record.
_NOT_RECORDED: Final = ("replicas", "suspend")


@dataclass(frozen=True)
class Study:
    """An object with everything that follows from it before a count is known: shared by the plan and by the tick.

    acceptance: of the spec as it stands. force: of the spec that is in force, None if none ever was accepted.
    """

    pools: tuple[Pool, ...]
    records: tuple[Record, ...]
    acceptance: Acceptance
    record: Record | None
    force: Acceptance | None
    limits: Limits | None


def study(snapshot: Snapshot, *, now: float) -> Study:
    """Read the object: is its spec accepted, which spec is in force, what stands in the cluster."""
    spec = snapshot.deployment.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    pools = read_pools(snapshot)
    records = read_records(snapshot)
    acceptance = accept(spec, snapshot)
    former = in_force(snapshot, records)
    if acceptance.accepted:
        recorded = {key: value for key, value in spec.items() if key not in _NOT_RECORDED}
        known = record_for(snapshot, records, recorded, updates=None)
        if known.raw is None:
            known = record_for(snapshot, records, recorded, updates=_carried_updates(snapshot, former, acceptance))
        record: Record | None = known
        force: Acceptance | None = acceptance
    else:
        record = former
        force = accept(former.spec, snapshot) if former else None
    limits = object_limits(force, pools, now=now) if force else None
    return Study(pools, records, acceptance, record, force, limits)


def studied_again(former: Study, *, now: float) -> Study:
    """The study of an unchanged snapshot at another time: schedules alone come and go."""
    if former.force is None or former.limits is None or not former.limits.schedules:
        return former
    return replace(former, limits=object_limits(former.force, former.pools, now=now))


def _carried_updates(snapshot: Snapshot, former: Record | None, acceptance: Acceptance) -> Mapping[str, str]:
    """Renderings that were asked for stay with variants whose intent a new spec does not change."""
    if former is None or not former.updates:
        return {}
    metadata = snapshot.deployment["metadata"]

    def revisions(of: Acceptance) -> dict[str, str]:
        return {
            v.name: revision_of(v.intent, namespace=str(metadata["namespace"]), name=str(metadata["name"]))
            for v in of.variants
        }

    before, after = revisions(accept(former.spec, snapshot)), revisions(acceptance)
    return {name: update for name, update in former.updates.items() if before.get(name) == after.get(name)}
