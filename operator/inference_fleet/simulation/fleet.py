"""A fleet of simulated engines behind a router: starts that take their time, drains, crashes, one clock."""

from __future__ import annotations

import enum
import heapq
import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference_fleet.simulation import engines as loop
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
    """How requests are spread, and how long a replica that is removed may finish its work. patience_seconds: a request
    that waited longer in an engine's queue is gone when its turn comes; by default nobody goes.
    """

    routing: Routing = Routing.LEAST_OUTSTANDING
    drain_seconds: float = 600.0
    patience_seconds: float = math.inf


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
        self._ready_rows = np.zeros(0, dtype=np.int64)
        self._starting: list[tuple[float, int, Replica]] = []
        self._draining: list[Replica] = []
        self._numbers = 0
        self._at_random = settings.routing is Routing.RANDOM
        # Drawn for repeatable runs, not for secrets. One stream for each use, so that policies meet the same starts.
        self._start_chance = [random.Random(f"{seed} cold start {v.name}") for v in variants]  # noqa: S311
        sequences = max(variant.engine.max_num_seqs for variant in variants)
        whole, real, next_event, decoding, prefilling = loop.empty_rows(max(4, sum(start)), sequences=sequences)
        self._free = list(range(len(whole)))
        self._engines = loop.Engines(
            arrival=log.arrival,
            input_tokens=log.input_tokens,
            output_tokens=log.output_tokens,
            # One draw for each request, so that policies meet the same.
            chance=np.random.default_rng(zlib.crc32(f"{seed} route".encode())).random(
                len(log) if self._at_random else 0
            ),
            first_token=log.first_token,
            finish=log.finish,
            variant=log.variant,
            first_order=log.first_order,
            finish_order=log.finish_order,
            left=np.zeros(len(log), dtype=np.int32),
            next_waiting=np.full(len(log), -1, dtype=np.int32),
            unrouted=np.zeros(len(log), dtype=np.int32),
            marks=log.marks,
            whole=whole,
            real=real,
            next_event=next_event,
            decoding=decoding,
            prefilling=prefilling,
        )
        for place, count in enumerate(start):
            for _ in range(count):
                self._ready.append(self._create(place, ready_at=0.0))
        self._note_ready()

    # --- what can be done -----------------------------------------------------------------------------------------

    def advance(self, until: float) -> None:
        """Let everything happen that happens up to and at `until`."""
        while self._starting and self._starting[0][0] <= until:
            ready_at, _, replica = heapq.heappop(self._starting)
            if replica.ended is None:
                loop.run(self._engines, self._ready_rows, self._at_random, ready_at, False)
                self.now = ready_at
                self._become_ready(replica)
        loop.run(self._engines, self._ready_rows, self._at_random, until, True)
        self.now = until
        self._end_drains()

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
            order = sorted(starting, key=lambda r: -r.created) + sorted(serving, key=self.outstanding)
            for replica in order[: len(live) - wanted]:
                self._remove(replica)

    def crash(self, replica: Replica) -> None:
        """A replica dies: what it held fails, and its ReplicaSet starts another."""
        self._abandon(replica)
        self._forget(replica)
        self._end(replica, at=self.now)
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
        return sum(1 for replica in self._draining if replica.variant == variant)

    def outstanding(self, replica: Replica) -> int:
        """Requests that a replica has and has not answered."""
        return int(replica.whole[loop.OUTSTANDING])

    def shown(self, replicas: Sequence[Replica]) -> list[list[float]]:
        """What each replica's metrics page shows now; columns as in `engines.show`."""
        rows = np.array([replica.row for replica in replicas], dtype=np.int64)
        shown: list[list[float]] = loop.show(self._engines, rows, self.now).tolist()
        return shown

    @property
    def all_arrived(self) -> bool:
        """Whether every request of the log has arrived."""
        return bool(self.log.marks[loop.NEXT_ARRIVAL] >= len(self.log))

    @property
    def idle(self) -> bool:
        """Whether no request is left to arrive or to finish."""
        marks = self.log.marks
        return (
            self.all_arrived
            and bool(marks[loop.UNROUTED_BEGIN] == marks[loop.UNROUTED_END])
            and not self._engines.whole[:, loop.OUTSTANDING].any()
        )

    def replica_seconds(self, variant: int, *, start: float, end: float) -> float:
        """From creation to end, the part within [start, end]."""
        return sum(
            max(0.0, min(replica.ended if replica.ended is not None else end, end) - max(replica.created, start))
            for replica in self.replicas
            if replica.variant == variant
        )

    # --- inside ---------------------------------------------------------------------------------------------------

    def _create(self, variant: int, *, ready_at: float) -> Replica:
        model = self.variants[variant]
        if not self._free:
            self._grow()
        row = self._free.pop(0)
        engine, step = model.engine, model.engine.step_time
        whole, real = self._engines.whole[row], self._engines.real[row]
        whole[[loop.MAX_SEQS, loop.MAX_TOKENS, loop.CACHE_TOKENS, loop.VARIANT]] = (
            engine.max_num_seqs,
            engine.max_num_batched_tokens,
            engine.kv_cache_tokens,
            variant,
        )
        whole[[loop.MAX_QUEUED_REQS, loop.MAX_QUEUED_TOKENS]] = [
            loop.NO_LIMIT if limit is None else limit
            for limit in (engine.max_num_queued_reqs, engine.max_num_queued_tokens)
        ]
        real[[loop.BASE, loop.PER_PREFILL, loop.PER_DECODING, loop.PATIENCE]] = (
            step.base_seconds,
            step.per_prefill_token_seconds,
            step.per_decoding_sequence_seconds,
            self.settings.patience_seconds,
        )
        replica = Replica(
            name=f"{model.name}-{len(self.replicas)}",
            variant=variant,
            engine=engine,
            created=self.now,
            ready_at=ready_at,
            row=row,
            whole=whole,
        )
        self.replicas.append(replica)
        self._live[variant].append(replica)
        return replica

    def _grow(self) -> None:
        """Twice as many rows."""
        old = self._engines
        count = len(old.whole)
        fresh = loop.empty_rows(count, sequences=old.decoding.shape[1])
        names = ("whole", "real", "next_event", "decoding", "prefilling")
        self._engines = old._replace(
            **{name: np.concatenate((getattr(old, name), rows)) for name, rows in zip(names, fresh, strict=True)}
        )
        self._free = list(range(count, 2 * count))
        for replica in self.replicas:
            if replica.ended is None:
                replica.whole = self._engines.whole[replica.row]

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
        self._ready.append(replica)
        self._note_ready()
        self.cold_starts[replica.variant].append(self.now - replica.created)
        loop.route_unrouted(self._engines, self._ready_rows, self._at_random, self.now)

    def _note_ready(self) -> None:
        self._ready_rows = np.array([replica.row for replica in self._ready], dtype=np.int64)

    def _remove(self, replica: Replica) -> None:
        self._forget(replica)
        if self.outstanding(replica) == 0:
            self._end(replica, at=self.now)
        else:
            replica.draining_since = self.now
            replica.whole[loop.DRAINING] = 1
            self._draining.append(replica)

    def _forget(self, replica: Replica) -> None:
        self._live[replica.variant].remove(replica)
        if replica in self._ready:
            self._ready.remove(replica)
            self._note_ready()

    def _abandon(self, replica: Replica) -> None:
        """Its requests fail."""
        state, row, whole = self._engines, replica.row, replica.whole
        self.log.failures += state.decoding[row, : whole[loop.DECODING], 1].tolist()
        self.log.failures += state.prefilling[row, : whole[loop.PREFILLING], 0].tolist()
        request = int(whole[loop.FIRST_WAITING])
        for _ in range(whole[loop.WAITING]):
            self.log.failures.append(request)
            request = int(state.next_waiting[request])

    def _end(self, replica: Replica, *, at: float) -> None:
        """Give its row back."""
        replica.ended = at
        replica.whole = replica.whole.copy()
        row, state = replica.row, self._engines
        for array, fresh in zip(
            (state.whole, state.real, state.next_event), loop.empty_rows(1, sequences=1)[:3], strict=True
        ):
            array[row] = fresh[0]
        self._free.append(row)

    def _end_drains(self) -> None:
        """Those that are done, when they were done; those that take too long, now, and what they hold fails."""
        for replica in list(self._draining):
            if replica.whole[loop.OUTSTANDING] == 0:
                self._draining.remove(replica)
                self._end(replica, at=float(self._engines.real[replica.row, loop.ENDED]))
            elif (
                replica.draining_since is not None and replica.draining_since <= self.now - self.settings.drain_seconds
            ):
                self._draining.remove(replica)
                self._abandon(replica)
                self._end(replica, at=self.now)
