"""One key at a time: snapshot, plan, writes, status, events. Computes nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

from inference_fleet.adapters.ports import Clock, ClusterError, Conflict, NotFound, Throttled
from inference_fleet.api.conditions import Reason
from inference_fleet.controller.event_recorder import EventRecorder
from inference_fleet.controller.executor import Execution, Executor, LostLead
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import CONTROLLER, Telemetry
from inference_fleet.controller.work_queue import Key, WorkQueue
from inference_fleet.planning.plan import Plan, plan
from inference_fleet.planning.snapshot import Object, Snapshot
from inference_fleet.planning.writes import EventNote
from inference_fleet.scaling.types import Decision

# A rollout step writes a few times in a row; an object that goes on and on does not settle.
WRITING_RUNS_IN_A_ROW: Final = 10

_log = logging.getLogger(__name__)


class Decisions(Protocol):
    """What the last tick came to."""

    def decision(self, key: Key, snapshot: Snapshot) -> Decision | None:
        """The last decision on this object, as far as it still holds; None if there is none yet."""
        ...

    def reported_lengths(self, key: Key) -> Mapping[str, int]:
        """Longest sequence per variant, as its engines last said."""
        ...

    def lowered(self, key: Key) -> None:
        """The decision was used to take capacity away."""
        ...

    def pod_loads(self, key: Key) -> Mapping[str, float]:
        """Requests per pod, as last sampled."""
        ...


class Reconciler:
    """Works keys off the queue."""

    def __init__(
        self,
        store: Store,
        queue: WorkQueue,
        executor: Executor,
        events: EventRecorder,
        decisions: Decisions,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._queue = queue
        self._executor = executor
        self._events = events
        self._decisions = decisions
        self._clock = clock
        self._telemetry = telemetry
        self._writing_runs: dict[Key, int] = {}
        self._refused: dict[Key, str] = {}

    async def work(self) -> None:
        """Work keys off until cancelled. Raises LostLead: then nobody may go on."""
        while True:
            key, waited = await self._queue.get()
            begun = self._clock.monotonic()
            self._telemetry.queue_seconds.labels(CONTROLLER).observe(waited)
            try:
                result = await self._attempt(key)
            finally:
                self._queue.done(key)
            took = self._clock.monotonic() - begun
            self._telemetry.work_seconds.labels(CONTROLLER).observe(took)
            self._telemetry.reconcile_seconds.labels(CONTROLLER).observe(took)
            self._telemetry.reconciles.labels(CONTROLLER, result).inc()

    async def _attempt(self, key: Key) -> str:
        try:
            again_after = await self.reconcile(key)
        except LostLead:
            raise
        except Throttled as error:
            self._queue.retry(key, at_least_seconds=error.retry_after_seconds)
            _log.info("%s/%s waits: %s", *key, error)
        except (Conflict, NotFound) as error:
            self._queue.retry(key)
            _log.debug("%s/%s was planned on an old view: %s", *key, error)
        except ClusterError as error:
            seconds = self._queue.retry(key)
            self._telemetry.reconcile_errors.labels(CONTROLLER).inc()
            _log.warning("%s/%s failed, again in %.1f s: %s", *key, seconds, error)
            return "error"
        except Exception:
            # A fault of ours in one object must not stop the others.
            self._queue.retry(key)
            self._telemetry.reconcile_errors.labels(CONTROLLER).inc()
            _log.exception("%s/%s cannot be planned", *key)
            return "error"
        else:
            self._queue.forget(key)
            if again_after is not None:
                self._queue.add_after(key, again_after)
                return "requeue_after"
            return "success"
        return "requeue"

    async def reconcile(self, key: Key) -> float | None:
        """Bring one object closer to its spec; returns when to look again without any change, in seconds.

        Raises what the cluster raises where trying again is the answer.
        """
        snapshot = self._store.snapshot(
            key,
            pod_loads=self._decisions.pod_loads(key),
            reported_lengths=self._decisions.reported_lengths(key),
            refused_write=self._refused.get(key),
        )
        if snapshot is None:
            self._writing_runs.pop(key, None)
            self._refused.pop(key, None)
            self._telemetry.forget(key)
            return None
        wanted = plan(snapshot, self._decisions.decision(key, snapshot), self._clock.now())
        execution = await self._executor.execute(wanted.writes)
        if execution.lowered:
            self._decisions.lowered(key)
        touched = set(execution.touched)
        if execution.stale is None and wanted.status is not None:
            touched |= await self._report(snapshot, wanted)
        self._look_again(key, touched, wrote=execution.done > 0 or bool(touched))
        if execution.stale is not None:
            raise execution.stale
        if execution.refused:
            self._complain(snapshot.deployment, execution)
            # The retry shows it as a condition.
            self._refused[key] = str(execution.refused[0])
            raise execution.refused[0]
        if self._refused.pop(key, None) is not None:
            self._queue.add(key)
        return wanted.requeue_after_seconds

    async def _report(self, snapshot: Snapshot, wanted: Plan) -> set[Key]:
        assert wanted.status is not None
        deployment = snapshot.deployment
        metadata = deployment["metadata"]
        now = self._store.snapshot((metadata["namespace"], metadata["name"]))
        if now is None or now.deployment is not deployment:
            # The object itself was written or has changed meanwhile: the next look tells what holds then.
            raise Conflict("the object has changed since the plan was made", status=409)
        touched = await self._executor.write_status(deployment, wanted.status)
        for note in wanted.events:
            self._events.note(deployment, note)
        return set(touched)

    def _look_again(self, key: Key, touched: set[Key], *, wrote: bool) -> None:
        """What was written is looked at once more; an object that never settles is slowed down."""
        runs = self._writing_runs.get(key, 0) + 1 if wrote else 0
        if runs:
            self._writing_runs[key] = runs
        else:
            self._writing_runs.pop(key, None)
        for other in touched - {key}:
            self._queue.add(other)
        if key not in touched:
            return
        if runs <= WRITING_RUNS_IN_A_ROW:
            self._queue.add(key)
        else:
            self._queue.add_after(key, min(60.0, 2.0 ** (runs - WRITING_RUNS_IN_A_ROW)))

    def _complain(self, deployment: Object, execution: Execution) -> None:
        error = execution.refused[0]
        note = EventNote("Warning", Reason.WRITE_REFUSED, f"the API server refuses a write: {error}")
        self._events.note(deployment, note)
