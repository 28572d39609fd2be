"""What an engine wrote before it ended, where its termination message is too short: read with the user's rights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from inference_fleet.adapters.ports import Cluster, ClusterError
from inference_fleet.api.conditions import Reason
from inference_fleet.api.names import ENGINE_CONTAINER
from inference_fleet.engine.endings import Ending, ending_of

_LINES: Final = 400
# vLLM's processes mark what failed; settings that they list while starting are no failures.
_FAILED: Final = re.compile(r"\bERROR\b|Error: ")


@runtime_checkable
class LogReader(Protocol):
    """A cluster whose pods' logs can be read."""

    async def read_log(self, *, namespace: str, pod: str, container: str, previous: bool, lines: int) -> str:
        """The end of a container's log."""
        ...


async def log_ending(
    cluster: Cluster, *, namespace: str, pods: Sequence[Mapping[str, Any]]
) -> tuple[str, Ending] | None:
    """The pod and the cause that the log of the first engine which ended has; None if there is none, or no right."""
    if not isinstance(cluster, LogReader):
        return None
    for pod in pods:
        status = _engine(pod)
        if status is None or not int(status.get("restartCount") or 0):
            continue
        name = str(pod["metadata"]["name"])
        try:
            log = await cluster.read_log(
                namespace=namespace, pod=name, container=ENGINE_CONTAINER, previous=True, lines=_LINES
            )
        except ClusterError:
            return None
        ending = ending_of("\n".join(line for line in log.splitlines() if _FAILED.search(line)))
        return None if ending is None or ending.reason == Reason.ENGINE_CRASHED else (name, ending)
    return None


def _engine(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in containers if each.get("name") == ENGINE_CONTAINER), None)
