"""The accepted specs as they are kept: ControllerRevisions, and which of them is in force."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.planning.pools import owner_uid
from inference_fleet.planning.snapshot import Object, Snapshot

# As many as Kubernetes keeps of a StatefulSet by default.
KEPT_RECORDS: Final = 10


@dataclass(frozen=True)
class Record:
    """An accepted spec. updates: variant -> the rendering that was asked for beside the intent (`apply-update`)."""

    name: str
    number: int
    spec: Mapping[str, Any]
    updates: Mapping[str, str]
    raw: Object | None = None


def read_records(snapshot: Snapshot) -> tuple[Record, ...]:
    """The records this object owns, oldest first; one that cannot be read is left out."""
    uid = snapshot.deployment["metadata"]["uid"]
    found = []
    for raw in snapshot.controller_revisions:
        data = raw.get("data")
        if owner_uid(raw) != uid or not isinstance(data, Mapping) or not isinstance(data.get("spec"), Mapping):
            continue
        updates = data.get("updates")
        found.append(
            Record(
                name=str(raw["metadata"]["name"]),
                number=int(raw.get("revision") or 0),
                spec=data["spec"],
                updates=dict(updates) if isinstance(updates, Mapping) else {},
                raw=raw,
            )
        )
    return tuple(sorted(found, key=lambda record: (record.number, record.name)))


def in_force(snapshot: Snapshot, records: tuple[Record, ...]) -> Record | None:
    """The record status names; the newest one if status was lost."""
    name = (snapshot.deployment.get("status") or {}).get("acceptedRevision")
    for record in records:
        if record.name == name:
            return record
    return records[-1] if records else None


def record_for(
    snapshot: Snapshot, records: tuple[Record, ...], spec: Mapping[str, Any], *, updates: Mapping[str, str] | None
) -> Record:
    """The record of this spec: the newest that says the same, else a new one with the next number.

    updates None: whatever was asked for with it before; a spec edited back returns to its former pods.
    """
    for record in reversed(records):
        if _same(record.spec, spec) and (updates is None or dict(record.updates) == dict(updates)):
            return record
    wanted = dict(updates or {})
    number = max((record.number for record in records), default=0) + 1
    digest = hashlib.sha256(_text({"spec": spec, "updates": wanted}).encode()).hexdigest()[:10]
    name = f"{snapshot.deployment['metadata']['name']}-{digest}"
    return Record(name=name, number=number, spec=spec, updates=wanted)


def superfluous(records: tuple[Record, ...], keep: Record) -> tuple[Record, ...]:
    """The oldest records beyond the kept number, never the one in force."""
    others = [record for record in records if record.name != keep.name]
    return tuple(others[: max(0, len(others) - (KEPT_RECORDS - 1))])


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return _text(a) == _text(b)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
