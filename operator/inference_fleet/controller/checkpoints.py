"""What the scaler learned, kept in one ConfigMap per object: written rarely, read back at the start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from inference_fleet.adapters.ports import AlreadyExists, Clock, Cluster, ClusterError, Conflict, NotFound, Object
from inference_fleet.adapters.reflector import list_all
from inference_fleet.adapters.resources import CONFIG_MAPS, INFERENCE_DEPLOYMENTS
from inference_fleet.api.conditions import Reason
from inference_fleet.api.names import LABEL_DEPLOYMENT, LABEL_MANAGED_BY, MANAGED_BY
from inference_fleet.controller.event_recorder import EventRecorder
from inference_fleet.controller.store import Store
from inference_fleet.controller.tick import FleetTick
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.pools import owner_uid
from inference_fleet.planning.writes import EventNote
from inference_fleet.scaling.memory import ScalerMemory

AT_MOST_EVERY_SECONDS: Final = 900.0
# So that a thousand objects do not write in the same second.
WRITES_PER_ROUND: Final = 20
DATA_KEY: Final = "memory.json"
DAMAGED: Final = (
    "what the scaler had learned cannot be read: it learns anew, and removes no replica until it has watched for some"
    " minutes"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Written:
    uid: str
    resource_version: str
    text: str
    at: float


class Checkpoints:
    """Reads and writes `<name>-scaler-memory`. Its loss costs windows that fill again, never capacity."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        tick: FleetTick,
        clock: Clock,
        events: EventRecorder,
        *,
        namespaces: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._store = store
        self._tick = tick
        self._clock = clock
        self._namespaces = namespaces
        self._written: dict[Key, _Written] = {}
        self._begun = clock.monotonic()

    async def load(self) -> None:
        """Read all memories back. One that is damaged or belongs to a former object counts as empty."""
        try:
            objects: list[Object] = []
            for namespace in self._namespaces or (None,):
                found, _ = await list_all(
                    self._cluster, CONFIG_MAPS, namespace=namespace, label_selector=LABEL_DEPLOYMENT
                )
                objects.extend(found)
        except ClusterError as error:
            _log.warning("the scaler's memories cannot be read and count as empty: %s", error)
            return
        for obj in objects:
            self._take(obj)

    def _take(self, obj: Object) -> None:
        metadata = obj["metadata"]
        key = (str(metadata["namespace"]), str((metadata.get("labels") or {}).get(LABEL_DEPLOYMENT)))
        owner = owner_uid(obj)
        if owner is None or metadata["name"] != _name(key):
            return
        text = str((obj.get("data") or {}).get(DATA_KEY, ""))
        memory = ScalerMemory.from_json(text)
        if memory is None:
            _log.warning("the scaler's memory of %s/%s is damaged and counts as empty", *key)
            self._tell_of_damage(key, owner)
        else:
            self._tick.remembered[key, owner] = memory
        self._written[key] = _Written(metadata["uid"], metadata["resourceVersion"], text, self._begun)

    def _tell_of_damage(self, key: Key, owner: str) -> None:
        deployment = self._store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1])
        if deployment is not None and deployment["metadata"]["uid"] == owner:
            self._events.note(deployment, EventNote("Warning", Reason.SCALER_MEMORY_DAMAGED, DAMAGED))

    async def save_due(self) -> None:
        """Write what has changed and was not written for a quarter of an hour; a few at a time."""
        now = self._clock.monotonic()
        due = [
            key
            for key in self._tick.scaled
            if now - (self._written[key].at if key in self._written else self._begun) >= AT_MOST_EVERY_SECONDS
        ]
        for key in due[:WRITES_PER_ROUND]:
            await self._save(key)
        for key in self._written.keys() - set(self._store.deployments()):
            del self._written[key]

    async def save_all(self) -> None:
        """Write all that has changed: at shutdown."""
        for key in tuple(self._tick.scaled):
            await self._save(key)

    async def _save(self, key: Key) -> None:
        # Both may have gone while others were written.
        entry = self._tick.scaled.get(key)
        deployment = self._store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1])
        if entry is None or deployment is None or deployment["metadata"]["uid"] != entry.uid:
            return
        if key in self._tick.waiting:
            # What was lived since the start looks recent and knows little: a successor is to ask for the rest, too.
            return
        text = entry.memory.to_json()
        written = self._written.get(key)
        if written is not None and written.text == text:
            return
        try:
            answer = await self._write(key, _body(key, deployment, text), written)
        except ClusterError as error:
            _log.warning("the scaler's memory of %s/%s is not saved: %s", *key, error)
            return
        metadata = answer["metadata"]
        self._written[key] = _Written(metadata["uid"], metadata["resourceVersion"], text, self._clock.monotonic())

    async def _write(self, key: Key, body: Object, written: _Written | None) -> Object:
        if written is not None:
            try:
                return await self._apply(key, body, uid=written.uid, version=written.resource_version)
            except (Conflict, NotFound):
                _log.debug("the scaler's memory of %s/%s was changed by another", *key)
        try:
            return await self._cluster.create(CONFIG_MAPS, body, namespace=key[0])
        except AlreadyExists:
            found = await self._cluster.get(CONFIG_MAPS, name=_name(key), namespace=key[0])
            if owner_uid(found) != owner_uid(body):
                raise
            metadata = found["metadata"]
            return await self._apply(key, body, uid=metadata["uid"], version=metadata["resourceVersion"])

    async def _apply(self, key: Key, body: Object, *, uid: str, version: str) -> Object:
        fenced = {**body, "metadata": {**body["metadata"], "uid": uid, "resourceVersion": version}}
        return await self._cluster.apply(CONFIG_MAPS, fenced, name=_name(key), namespace=key[0])


def _name(key: Key) -> str:
    return f"{key[1]}-scaler-memory"


def _body(key: Key, deployment: Mapping[str, Any], text: str) -> Object:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": _name(key),
            "namespace": key[0],
            "labels": {LABEL_DEPLOYMENT: key[1], LABEL_MANAGED_BY: MANAGED_BY},
            "ownerReferences": [
                {
                    "apiVersion": INFERENCE_DEPLOYMENTS.api_version,
                    "kind": INFERENCE_DEPLOYMENTS.kind,
                    "name": key[1],
                    "uid": deployment["metadata"]["uid"],
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "data": {DATA_KEY: text},
    }
