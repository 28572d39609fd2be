"""A fleet of simulated engines behind a router: starts that take their time, drains, crashes, one clock."""

from __future__ import annotations

import enum
import heapq
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inference_fleet.simulation.replica import EngineModel, Replica
from inference_fleet.simulation.request_log import RequestLog

# A pod's readiness probe runs on this grid: Ready is seen up to this much after the fact.
PROBE_SECONDS = 5.0


class Routing(enum.StrEnum):
    """Which ready replica takes a request."""

    LEAST_OUTSTANDING = "least-outstanding"
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantModel:
    """One kind of replica: its engine, what it costs, and how long a start takes (log-normal, mean and cv)."""

    name: str
    engine: EngineModel
    cold_start_seconds: float = 120.0
    cold_start_cv: float = 0.25
    cost_per_hour: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """How requests are spread, and how long a replica that is removed may finish its work."""

    routing: Routing = Routing.LEAST_OUTSTANDING
    drain_seconds: float = 600.0


class Fleet:
    """Replicas of one or more variants that serve the requests of a log. Time moves only by `advance`."""

    def __init__(
        self,
        variants: Sequence[VariantModel],
        log: RequestLog,
        *,
        settings: FleetSettings,
        start: Sequence[int],
        seed: int,
    ) -> None:
        self.variants = tuple(variants)
        self.log = log
        self.settings = settings
        self.now = 0.0
        self.replicas: list[Replica] = []
        self.cold_starts: list[list[float]] = [[] for _ in variants]
        self.scale_events = 0
        self._live: list[list[Replica]] = [[] for _ in variants]
        self._ready: list[Replica] = []
        self._starting: list[tuple[float, int, Replica]] = []
        self._events: list[tuple[float, int, Replica]] = []
        self._unrouted: deque[int] = deque()
        self._next_arrival = 0
        self._numbers = 0
        # Drawn for repeatable runs, not for secrets. One stream for each use, so that policies meet the same starts.
        self._start_chance = [random.Random(f"{seed} cold start {v.name}") for v in variants]  # noqa: S311
        self._route_chance = random.Random(f"{seed} route")  # noqa: S311
        for place, count in enumerate(start):
            for _ in range(count):
                self._ready.append(self._create(place, ready_at=0.0))

    # --- what can be done -----------------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Let everything happen that happens up to and at `until`."""
        arrivals, log = self.log.arrival, self.log
        while True:
            arrival = arrivals[self._next_arrival] if self._next_arrival < len(log) else math.inf
            ready = self._starting[0][0] if self._starting else math.inf
            event = self._events[0][0] if self._events else math.inf
            now = min(arrival, ready, event)
            if now > until:
                break
            self.now = now
            if event <= now:
                self._run_event()
            elif ready <= now:
                self._become_ready(heapq.heappop(self._starting)[2])
            else:
                self._route(self._next_arrival)
                self._next_arrival += 1
        self.now = until
        self._end_overdue_drains()

    def scale(self, variant: int, wanted: int) -> None:
        """Ask for so many replicas: new ones start, surplus ones go (youngest start first, then the least busy)."""
        live = self._live[variant]
        if wanted == len(live):
            return
        self.scale_events += 1
        for _ in range(wanted - len(live)):
            self._start(variant)
        if wanted < len(live):
            starting = [r for r in live if r.ready_at > self.now]
            serving = [r for r in live if r.ready_at <= self.now]
            order = sorted(starting, key=lambda r: -r.created) + sorted(serving, key=lambda r: r.outstanding)
            for replica in order[: len(live) - wanted]:
                self._remove(replica)

    def crash(self, replica: Replica) -> None:
        """A replica dies: what it held fails, and its ReplicaSet starts another."""
        for request in replica.abandon():
            self.log.failures.append(request)
        self._forget(replica)
        self._end(replica)
        self._start(replica.variant)

    # --- what can be seen -----------------------------------------------------------------------------------------

    def desired(self, variant: int) -> int:
        """Replicas that are asked for: ready and starting."""
        return len(self._live[variant])

    def ready(self, variant: int) -> list[Replica]:
        """Replicas that take requests."""
        return [replica for replica in self._live[variant] if replica.ready_at <= self.now]

    def draining(self, variant: int) -> int:
        """Replicas that only finish their work."""
        return sum(
            1 for r in self.replicas if r.variant == variant and r.draining_since is not None and r.ended is None
        )

    @property
    def all_arrived(self) -> bool:
        """Whether every request of the log has arrived."""
        return self._next_arrival >= len(self.log)

    @property
    def idle(self) -> bool:
        """Whether no request is left to arrive or to finish."""
        return (
            self.all_arrived
            and not self._unrouted
            and all(r.outstanding == 0 or r.ended is not None for r in self.replicas)
        )

    def replica_seconds(self, variant: int, *, start: float, end: float) -> float:
        """From creation to end, the part within [start, end]."""
        return sum(
            max(0.0, min(replica.ended if replica.ended is not None else end, end) - max(replica.created, start))
            for replica in self.replicas
            if replica.variant == variant
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    def _run_event(self) -> None:
        time, _, replica = heapq.heappop(self._events)
        if replica.next_event != time:
            return  # the jump was cut: its new end has an entry of its own
        replica.advance()
        if replica.next_event != math.inf:
            self._schedule(replica)
        elif replica.draining_since is not None:
            self._end(replica)

    def _schedule(self, replica: Replica) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (replica.next_event, self._numbers, replica))

    def _route(self, request: int) -> None:
        if not self._ready:
            self._unrouted.append(request)
            return
        if self.settings.routing is Routing.RANDOM:
            replica = self._route_chance.choice(self._ready)
        else:
            replica = _least_busy(self._ready)
        before = replica.next_event
        replica.submit(request, now=self.now)
        if replica.next_event != before:
            self._schedule(replica)

    def _create(self, variant: int, *, ready_at: float) -> Replica:
        model = self.variants[variant]
        replica = Replica(
            name=f"{model.name}-{len(self.replicas)}",
            variant=variant,
            engine=model.engine,
            log=self.log,
            created=self.now,
            ready_at=ready_at,
        )
        self.replicas.append(replica)
        self._live[variant].append(replica)
        return replica

    def _start(self, variant: int) -> None:
        model = self.variants[variant]
        spread = math.sqrt(math.log1p(model.cold_start_cv**2))
        mean_of_log = math.log(model.cold_start_seconds) - spread**2 / 2 if model.cold_start_seconds > 0 else -math.inf
        seconds = math.exp(self._start_chance[variant].gauss(mean_of_log, spread)) if spread else math.exp(mean_of_log)
        seen = math.ceil((self.now + seconds) / PROBE_SECONDS) * PROBE_SECONDS
        replica = self._create(variant, ready_at=seen)
        self._numbers += 1
        heapq.heappush(self._starting, (seen, self._numbers, replica))

    def _become_ready(self, replica: Replica) -> None:
        if replica.ended is not None:
            return
        self._ready.append(replica)
        self.cold_starts[replica.variant].append(self.now - replica.created)
        for _ in range(len(self._unrouted)):
            self._route(self._unrouted.popleft())

    def _remove(self, replica: Replica) -> None:
        self._forget(replica)
        if replica.outstanding == 0:
            self._end(replica)
        else:
            replica.draining_since = self.now

    def _forget(self, replica: Replica) -> None:
        self._live[replica.variant].remove(replica)
        if replica in self._ready:
            self._ready.remove(replica)

    def _end(self, replica: Replica) -> None:
        replica.ended = self.now

    def _end_overdue_drains(self) -> None:
        for replica in self._overdue():
            self.log.failures.extend(replica.abandon())
            self._end(replica)

    def _overdue(self) -> Iterator[Replica]:
        oldest = self.now - self.settings.drain_seconds
        return (
            r for r in self.replicas if r.draining_since is not None and r.ended is None and r.draining_since <= oldest
        )


def _least_busy(ready: Sequence[Replica]) -> Replica:
    """Fewest outstanding requests; among equals the one that has been given least so far."""
    best = ready[0]
    for replica in ready:
        if replica.outstanding < best.outstanding or (
            replica.outstanding == best.outstanding and replica.submitted < best.submitted
        ):
            best = replica
    return best
