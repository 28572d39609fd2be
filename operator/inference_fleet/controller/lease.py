"""Who leads: one Lease, taken, renewed, and given back. Losing it ends the process.

The rules are client-go's leader election: a foreign Lease counts as expired once our own clock has seen it unchanged
for its duration, so the clocks of two machines are never compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from inference_fleet.adapters.ports import AlreadyExists, Clock, Cluster, ClusterError, Conflict, NotFound, Object
from inference_fleet.adapters.resources import LEASES
from inference_fleet.api.names import LEASE_NAME

# client-go's defaults.
DURATION_SECONDS: Final = 15
RENEW_DEADLINE_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another may lead by now: this process must end."""


class Lease:
    """`identity`: this process, unlike any other. `jitter`: a number in [0, 1)."""

    def __init__(
        self, cluster: Cluster, clock: Clock, *, namespace: str, identity: str, jitter: Callable[[], float]
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._namespace = namespace
        self._identity = identity
        self._jitter = jitter
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed: float | None = None

    def holds(self) -> bool:
        """Whether we lead for certain, at this moment."""
        return self._renewed is not None and self._clock.monotonic() - self._renewed < RENEW_DEADLINE_SECONDS

    async def acquire(self) -> None:
        """Wait until we lead."""
        _log.info("waiting for the Lease %s/%s as %s", self._namespace, LEASE_NAME, self._identity)
        while not await self._try():
            await self._clock.sleep(RETRY_SECONDS * (1.0 + 0.2 * self._jitter()))
        _log.info("leading as %s", self._identity)

    async def keep(self) -> None:
        """Renew until it fails for too long; then LeaseLost is raised."""
        while True:
            await self._clock.sleep(RETRY_SECONDS)
            if await self._try():
                continue
            if not self.holds() or self._is_foreign():
                self._renewed = None
                raise LeaseLost(f"the Lease {self._namespace}/{LEASE_NAME} is lost")

    async def release(self) -> None:
        """Let a successor begin at once. Only if we still hold it."""
        if not self.holds() or self._seen is None:
            return
        self._renewed = None
        body = {**self._seen, "spec": {**self._seen["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}}
        try:
            await self._cluster.replace(LEASES, body, name=LEASE_NAME, namespace=self._namespace)
        except ClusterError as error:
            _log.info("the Lease is not given back: %s", error)

    async def _try(self) -> bool:
        begun = self._clock.monotonic()
        try:
            found = await self._cluster.get(LEASES, name=LEASE_NAME, namespace=self._namespace)
        except NotFound:
            found = None
        except ClusterError as error:
            _log.warning("the Lease cannot be read: %s", error)
            return False
        if found is not None:
            self._observe(found)
            if not self._may_take(found):
                return False
        try:
            self._observe(await self._write(found))
        except (Conflict, AlreadyExists, NotFound):
            return False
        except ClusterError as error:
            _log.warning("the Lease cannot be written: %s", error)
            return False
        # Counted from before the call: the server's copy is not older than that.
        self._renewed = begun
        return True

    async def _write(self, found: Object | None) -> Object:
        now = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        former: dict[str, Any] = dict((found or {}).get("spec") or {})
        ours = former.get("holderIdentity") == self._identity
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": former["acquireTime"] if ours and "acquireTime" in former else now,
            "renewTime": now,
            "leaseTransitions": int(former.get("leaseTransitions") or 0) + (0 if ours or found is None else 1),
        }
        if found is None:
            body = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": LEASE_NAME, "namespace": self._namespace},
                "spec": spec,
            }
            return await self._cluster.create(LEASES, body, namespace=self._namespace)
        body = {**found, "spec": spec}
        return await self._cluster.replace(LEASES, body, name=LEASE_NAME, namespace=self._namespace)

    def _observe(self, found: Object) -> None:
        version = found["metadata"].get("resourceVersion")
        if self._seen is None or self._seen["metadata"].get("resourceVersion") != version:
            self._seen_at = self._clock.monotonic()
        self._seen = found

    def _may_take(self, found: Object) -> bool:
        spec = found.get("spec") or {}
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        duration = float(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
        return self._clock.monotonic() - self._seen_at >= duration

    def _is_foreign(self) -> bool:
        holder = ((self._seen or {}).get("spec") or {}).get("holderIdentity")
        return bool(holder) and holder != self._identity
