"""Pools as they are: one ReplicaSet each, with its pods judged one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inference_fleet.api.conditions import Reason
from inference_fleet.api.names import ENGINE_CONTAINER, LABEL_REVISION, LABEL_VARIANT
from inference_fleet.planning.fallen_pods import FAILING_FALLS, Fallen, connected, fallen_pods
from inference_fleet.planning.pod_failures import engine_container, failure_of, loads
from inference_fleet.planning.snapshot import Object, Snapshot
from inference_fleet.planning.times import unix_seconds


@dataclass(frozen=True)
class PodView:
    """One pod that does not terminate. Of ready, unschedulable and failing at most one holds; if none: it starts.

    created and ready_since: unix seconds. unschedulable: the scheduler's words. failing: why it will not get ready,
    with words. node: where it runs. loading: the engine runs, and is not ready yet. cold_start_seconds: from its
    creation to Ready, None if it is not ready, or not for the first time.
    """

    name: str
    raw: Object
    created: float
    ready_since: float | None
    unschedulable: str | None
    failing: Reason | None
    failing_words: str = ""
    node: str | None = None
    loading: bool = False
    cold_start_seconds: float | None = None

    @property
    def starting(self) -> bool:
        """On its way."""
        return self.ready_since is None and self.unschedulable is None and self.failing is None


@dataclass(frozen=True)
class Pool:
    """All replicas of one variant and revision. quota: why the API server refused pods, if it did.

    fallen: pods that nodes refused, evicted or lost, oldest first, whenever it was; they are no replicas.
    """

    variant: str
    revision: str
    replica_set: Object
    replicas: int
    created: float
    pods: tuple[PodView, ...]
    terminating: int
    quota: str | None
    fallen: tuple[Fallen, ...] = ()

    @property
    def recent_falls(self) -> tuple[Fallen, ...]:
        """Those in whose place the newest pods were made; none once every replica serves."""
        if self.ready >= self.replicas:
            return ()
        return connected(self.fallen, created=[pod.created for pod in self.pods])

    @property
    def keeps_falling(self) -> bool:
        """Nodes refuse its pods again and again. What was evicted or lost with its node may well find another one."""
        refused = [one for one in self.recent_falls if one.reason is Reason.REFUSED_BY_NODE]
        return len(refused) >= FAILING_FALLS

    @property
    def ready(self) -> int:
        """Pods that serve."""
        return sum(pod.ready_since is not None for pod in self.pods)

    @property
    def starting(self) -> int:
        """Replicas on their way; those whose pods the controller has not made yet among them."""
        unborn = 0 if self.quota or self.keeps_falling else self._unborn
        return unborn + sum(pod.starting for pod in self.pods)

    @property
    def unschedulable(self) -> int:
        """Replicas that no node takes or no quota allows."""
        refused = self._unborn if self.quota else 0
        return refused + sum(pod.unschedulable is not None for pod in self.pods)

    @property
    def failing(self) -> int:
        """Replicas that failed again and again."""
        unborn = self._unborn if self.keeps_falling and not self.quota else 0
        return unborn + sum(pod.failing is not None for pod in self.pods)

    @property
    def _unborn(self) -> int:
        return max(0, self.replicas - len(self.pods))

    def available(self, *, minimum_seconds: float, now: float) -> int:
        """Pods that have been ready for so long."""
        return sum(pod.ready_since is not None and now - pod.ready_since >= minimum_seconds for pod in self.pods)


def read_pools(snapshot: Snapshot) -> tuple[Pool, ...]:
    """The pools this object owns (by UID, not by label), oldest first."""
    uid = snapshot.deployment["metadata"]["uid"]
    pools = []
    for replica_set in snapshot.replica_sets:
        metadata = replica_set["metadata"]
        if owner_uid(replica_set) != uid or metadata.get("deletionTimestamp"):
            continue
        labels = metadata.get("labels") or {}
        pods = [pod for pod in snapshot.pods if owner_uid(pod) == metadata["uid"]]
        living = [pod for pod in pods if not _gone(pod)]
        pools.append(
            _with_falls(
                Pool(
                    variant=labels.get(LABEL_VARIANT, ""),
                    revision=labels.get(LABEL_REVISION, ""),
                    replica_set=replica_set,
                    replicas=int((replica_set.get("spec") or {}).get("replicas", 0)),
                    created=unix_seconds(metadata.get("creationTimestamp")) or 0.0,
                    pods=tuple(_view(pod, budget=_start_budget(replica_set)) for pod in sorted(living, key=_name)),
                    terminating=sum(bool(pod["metadata"].get("deletionTimestamp")) for pod in pods),
                    quota=_quota(replica_set),
                    fallen=fallen_pods(pods),
                )
            )
        )
    return tuple(sorted(pools, key=lambda pool: (pool.created, pool.revision)))


def _with_falls(pool: Pool) -> Pool:
    """Where pods keep falling, the next one is not on its way until its engine runs."""
    if not pool.keeps_falling:
        return pool
    last = pool.recent_falls[-1]
    pods = (
        replace(pod, failing=last.reason, failing_words=last.words) if pod.starting and not pod.loading else pod
        for pod in pool.pods
    )
    return replace(pool, pods=tuple(pods))


def owner_uid(obj: Object) -> str | None:
    """UID of the controlling owner."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return str(reference.get("uid"))
    return None


def _gone(pod: Object) -> bool:
    """Terminating, or ended for good: no replica any more (the ReplicaSet makes another)."""
    phase = (pod.get("status") or {}).get("phase")
    return bool(pod["metadata"].get("deletionTimestamp")) or phase in ("Failed", "Succeeded")


def _name(pod: Object) -> str:
    return str(pod["metadata"]["name"])


def _view(pod: Object, *, budget: float | None) -> PodView:
    status = pod.get("status") or {}
    ready = _condition(status, "Ready")
    scheduled = _condition(status, "PodScheduled")
    ready_since = unix_seconds(ready.get("lastTransitionTime")) or 0.0 if ready.get("status") == "True" else None
    unschedulable = None
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        unschedulable = str(scheduled.get("message") or "no node takes it")
    on_its_way = ready_since is None and unschedulable is None
    failure = failure_of(status, start_budget_seconds=budget) if on_its_way else None
    created = unix_seconds(pod["metadata"].get("creationTimestamp")) or 0.0
    return PodView(
        name=_name(pod),
        raw=pod,
        created=created,
        ready_since=ready_since,
        unschedulable=unschedulable,
        failing=failure.reason if failure else None,
        failing_words=failure.words if failure else "",
        node=(pod.get("spec") or {}).get("nodeName"),
        loading=on_its_way and failure is None and loads(status),
        cold_start_seconds=_cold_start(status, created=created, ready_since=ready_since, budget=budget),
    )


def _cold_start(
    status: Mapping[str, Any], *, created: float, ready_since: float | None, budget: float | None
) -> float | None:
    """From creation to Ready; None where the engine ran before, or has run for longer than a start may.

    Created on Monday, out of the endpoints for a minute on Wednesday: no start took two days.
    """
    container = engine_container(status) or {}
    if ready_since is None or int(container.get("restartCount") or 0):
        return None
    running = unix_seconds(((container.get("state") or {}).get("running") or {}).get("startedAt"))
    again = running is not None and budget is not None and ready_since - running > budget
    return None if again else ready_since - created


def _start_budget(replica_set: Object) -> float | None:
    """Seconds that the pods' startup probe allows; None if the template says nothing of one."""
    template = ((replica_set.get("spec") or {}).get("template") or {}).get("spec") or {}
    for container in template.get("containers") or ():
        probe = container.get("startupProbe") or {}
        if container.get("name") == ENGINE_CONTAINER and probe.get("failureThreshold"):
            return float(probe["failureThreshold"]) * float(probe.get("periodSeconds") or 10)
    return None


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    for condition in status.get("conditions") or ():
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _quota(replica_set: Object) -> str | None:
    failure = _condition(replica_set.get("status") or {}, "ReplicaFailure")
    return str(failure.get("message") or failure.get("reason")) if failure.get("status") == "True" else None
