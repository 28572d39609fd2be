"""The three ways out: cluster, signals, clock. Everything above gets them handed and opens nothing by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inference_fleet.scaling.types import HistogramSample, PodSample

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of object as the REST API names it. group "" is the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As in manifests: `apps/v1`, `v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True)
class Page:
    """One page of a list: items, where to go on (None at the end), and the list's resourceVersion."""

    items: Sequence[Object]
    continue_token: str | None
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK, with the object."""

    type: str
    object: Object


class ClusterError(Exception):
    """A call to the API server that did not do what was asked. `status`: the HTTP status, 0 if there was none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ClusterError):
    """404: there is no such object (any more)."""


class AlreadyExists(ClusterError):
    """409 to a create: the name is taken."""


class Conflict(ClusterError):
    """409 to a fenced write: the object has changed since the plan was made. Look again."""


class Forbidden(ClusterError):
    """401 or 403: we may not."""


class Invalid(ClusterError):
    """400 or 422: the server does not take this object."""


class Expired(ClusterError):
    """410: the resourceVersion or the continue token is too old. List again."""


class Throttled(ClusterError):
    """429: later. `retry_after_seconds`: the server's wish."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message, status=429)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(ClusterError):
    """5xx, a time-out or a broken connection: the write may or may not have happened."""


class NoCluster(ClusterError):
    """No kubeconfig, or none that can be used: it is not known where a cluster is."""


class Cluster(Protocol):
    """The Kubernetes API, as raw dictionaries. All writes carry our field manager."""

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str | None = None,
    ) -> Page:
        """One page of a list; all namespaces if none is given."""
        ...

    def watch(
        self, resource: Resource, *, resource_version: str, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """Changes since a resourceVersion; ends when the server ends it."""
        ...

    async def get(self, resource: Resource, *, name: str, namespace: str | None = None) -> Object:
        """One object."""
        ...

    async def create(self, resource: Resource, body: Mapping[str, Any], *, namespace: str | None = None) -> Object:
        """POST."""
        ...

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """Server-side apply with force; put metadata.uid and resourceVersion into the body to fence it."""
        ...

    async def merge_patch(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        name: str,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> Object:
        """JSON merge patch; put metadata.uid and resourceVersion into the body to fence it."""
        ...

    async def replace(
        self, resource: Resource, body: Mapping[str, Any], *, name: str, namespace: str | None = None
    ) -> Object:
        """PUT, fenced by the resourceVersion in the body. Used for the Lease."""
        ...

    async def delete(
        self,
        resource: Resource,
        *,
        name: str,
        namespace: str | None = None,
        uid: str,
        resource_version: str | None,
        grace_period_seconds: int | None = None,
    ) -> None:
        """DELETE with preconditions; background propagation."""
        ...


PodKey = tuple[str, str]
"""(namespace, pod name)."""
VariantKey = tuple[str, str, str]
"""(namespace, InferenceDeployment, variant)."""
DeploymentKey = tuple[str, str]
"""(namespace, InferenceDeployment)."""
Promised = tuple[str, float]
"""(metric, threshold in seconds) of an objective."""


@dataclass(frozen=True)
class FleetSamples:
    """What Prometheus knows of all engines at one moment.

    histograms: per variant, metric and edge (seconds) the totals. arrivals: requests that a gateway counted, by
    namespace and name of the InferenceDeployment. problem: why there is nothing, else None. clocks: words on clocks
    that differ, which may be why samples are not of now.
    """

    pods: Mapping[PodKey, PodSample] = field(default_factory=dict)
    histograms: Mapping[VariantKey, tuple[HistogramSample, ...]] = field(default_factory=dict)
    arrivals: Mapping[tuple[str, str], float] = field(default_factory=dict)
    problem: str | None = None
    clocks: str = ""


@dataclass(frozen=True)
class PastSamples:
    """What Prometheus knew of all engines at some moments (unix seconds), oldest first. problem: why there is nothing,
    else None.
    """

    moments: tuple[tuple[float, FleetSamples], ...] = ()
    problem: str | None = None


class Signals(Protocol):
    """The metrics of the fleet."""

    async def sample(self, *, at: float, promised: Collection[Promised]) -> FleetSamples:
        """Every signal of every engine, one query per signal; of histograms only the edges at which these are judged.

        Never raises: a failure is a `problem`.
        """
        ...

    async def past(
        self, *, moments: Sequence[float], promised: Collection[Promised], of: Collection[DeploymentKey]
    ) -> PastSamples:
        """The same at evenly spaced moments of the past, of these deployments, by one range query per signal. Others
        that have the namespace of one and the name of another may be among them. It never keeps `sample` waiting.

        Never raises: a failure is a `problem`.
        """
        ...


class Clock(Protocol):
    """Time."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...
