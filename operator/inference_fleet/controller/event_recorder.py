"""Posts events on InferenceDeployments; one that says the same again within minutes is left out."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from inference_fleet.adapters.ports import Clock, Cluster, ClusterError
from inference_fleet.adapters.resources import EVENTS, INFERENCE_DEPLOYMENTS
from inference_fleet.api.names import FIELD_MANAGER
from inference_fleet.planning.writes import EventNote

SAME_AGAIN_SECONDS: Final = 600.0
REMEMBERED: Final = 4096
# Limits of events.k8s.io/v1.
LONGEST_NOTE: Final = 1024
LONGEST_INSTANCE: Final = 128

_log = logging.getLogger(__name__)


class EventRecorder:
    """`instance`: who posts, the pod's name."""

    def __init__(self, cluster: Cluster, clock: Clock, *, instance: str) -> None:
        self._cluster = cluster
        self._clock = clock
        self._instance = instance[:LONGEST_INSTANCE]
        self._posted: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._count = 0

    async def post(self, deployment: Mapping[str, Any], note: EventNote) -> None:
        """Post one event. A failure is only logged: events are for people, nothing rests on them."""
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
            "note": note.message[:LONGEST_NOTE],
            "regarding": {
                "apiVersion": INFERENCE_DEPLOYMENTS.api_version,
                "kind": INFERENCE_DEPLOYMENTS.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
        }
        try:
            await self._cluster.create(EVENTS, body, namespace=metadata["namespace"])
        except ClusterError as error:
            _log.warning("no event %s on %s: %s", note.reason, metadata["name"], error)
