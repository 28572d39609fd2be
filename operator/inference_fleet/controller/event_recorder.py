"""Posts events on InferenceDeployments; one that says the same again within minutes is left out."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from inference_fleet.adapters.ports import Clock, Cluster, ClusterError
from inference_fleet.adapters.resources import EVENTS, INFERENCE_DEPLOYMENTS
from inference_fleet.api.names import FIELD_MANAGER
from inference_fleet.planning.writes import EventNote

SAME_AGAIN_SECONDS: Final = 600.0
REMEMBERED: Final = 4096
# What waits beyond this is forgotten, the oldest first.
MOST_WAITING: Final = 5000
# Between two events while there is work of more weight.
GIVE_WAY_SECONDS: Final = 0.2
# Limits of events.k8s.io/v1, whose validation counts bytes.
LONGEST_NOTE: Final = 1024
LONGEST_INSTANCE: Final = 128

_log = logging.getLogger(__name__)


class EventRecorder:
    """`instance`: who posts, the pod's name. `busy`: whether reconciles wait, which then go first."""

    def __init__(self, cluster: Cluster, clock: Clock, *, instance: str, busy: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = instance[:LONGEST_INSTANCE]
        self._posted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._count = 0
        self._busy = busy
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self._arrived = asyncio.Event()

    async def run(self) -> None:
        """Post what waits, one by one, until cancelled. A failure is only logged: nothing rests on an event."""
        while True:
            while self._waiting:
                await self._post(self._waiting.popleft())
                if self._busy():
                    await self._clock.sleep(GIVE_WAY_SECONDS)
            self._arrived.clear()
            await self._arrived.wait()

    def note(self, deployment: Mapping[str, Any], note: EventNote) -> None:
        """Have an event posted on the object soon."""
        metadata = deployment["metadata"]
        now = self._clock.now()
        identity = (str(metadata["uid"]), str(note.reason), note.message)
        if now - self._posted.get(identity, float("-inf")) < SAME_AGAIN_SECONDS:
            return
        self._posted[identity] = now
        self._posted.move_to_end(identity)
        while len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)
        self._count += 1
        body = {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {
                "name": f"{metadata['name']}.{int(now * 1e6):x}.{self._count:x}",
                "namespace": metadata["namespace"],
            },
            "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": f"{FIELD_MANAGER}-operator",
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "reason": str(note.reason),
            "type": note.type,
            "note": note.message.encode()[:LONGEST_NOTE].decode(errors="ignore"),
            "regarding": {
                "apiVersion": INFERENCE_DEPLOYMENTS.api_version,
                "kind": INFERENCE_DEPLOYMENTS.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
        self._waiting.append(body)
        self._arrived.set()

    async def _post(self, body: dict[str, Any]) -> None:
        try:
            await self._cluster.create(EVENTS, body, namespace=body["metadata"]["namespace"])
        except ClusterError as error:
            _log.warning("no event %s on %s: %s", body["reason"], body["regarding"]["name"], error)
