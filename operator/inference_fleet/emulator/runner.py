"""Drives the scheduler in real time: opens a step, waits until the step model says it is over, hands the tokens out.

The model's clock does not follow the machine's delays: a step that was handed out late is followed by one that is
due when it would have been due anyway, so that lateness never adds up unless the machine cannot keep pace at all.
Then (`_MAX_CATCH_UP_SECONDS`) the schedule is moved, and the metrics show the overrun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from inference_fleet.emulator.scheduler import Rejection, Scheduler, Step
from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.emulator.telemetry import Telemetry

# Beyond this the schedule moves instead of running steps back to back: about eight steps of 30 ms.
_MAX_CATCH_UP_SECONDS = 0.25

# Receives (new tokens, the reason if these were the last). Called from the loop; must not block.
Sink = Callable[[int, FinishReason | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and when, counted in finished requests or seconds after the start."""

    hang_after_requests: int | None = None
    crash_after_requests: int | None = None
    slow_start_seconds: float = 0.0
    slow_start_factor: float = 1.0


@dataclass(slots=True, eq=False)
class _Live:
    sink: Sink
    # The model's busy seconds when the sequence was first scheduled.
    model_started_at: float | None = None


class EngineRunner:
    """One engine: submit sequences, `run()` until cancelled."""

    def __init__(
        self, scheduler: Scheduler, telemetry: Telemetry, *, faults: Faults, on_crash: Callable[[], None]
    ) -> None:
        self.scheduler = scheduler
        self._telemetry = telemetry
        self._faults = faults
        self._on_crash = on_crash
        self._loop = asyncio.get_running_loop()
        self._live: dict[Sequence, _Live] = {}
        self._wake = asyncio.Event()
        self._finished_requests = 0
        # Sum of all steps' modelled seconds: the model's own clock, which stands still while idle.
        self._model_seconds = 0.0
        self._started_at = self._loop.time()
        self.dead = False
        self.hung = False

    @property
    def in_flight(self) -> int:
        return len(self._live)

    def now(self) -> float:
        """Seconds on the loop's clock, the one that all of a sequence's times are on."""
        return self._loop.time()

    def submit(self, sequence: Sequence, sink: Sink) -> Rejection | None:
        """Queue a sequence whose tokens go to `sink`, or say why it is turned away."""
        rejection = self.scheduler.submit(sequence)
        if rejection is not None:
            self._telemetry.on_rejected(rejection)
            return rejection
        self._live[sequence] = _Live(sink)
        self._wake.set()
        return None

    def abort(self, sequence: Sequence, reason: FinishReason = FinishReason.ABORT) -> None:
        """The caller has gone, or the engine ends: forget the sequence. Its sink hears nothing more."""
        if self._live.pop(sequence, None) is None:
            return
        self.scheduler.abort(sequence, reason)
        self._telemetry.on_finished(sequence)
        self._telemetry.set_gauges(self.scheduler)

    def fail_all(self) -> None:
        """End every sequence with an error, which its sink hears."""
        for sequence, live in list(self._live.items()):
            self.abort(sequence, FinishReason.ERROR)
            live.sink(0, FinishReason.ERROR)

    async def run(self) -> None:
        """Step for ever; ends only by a crash switch or by cancellation."""
        model_now = self._loop.time()
        while not self.dead:
            if not self.scheduler.has_work or self.hung:
                self._wake.clear()
                await self._wake.wait()
                model_now = self._loop.time()
                continue
            step = self.scheduler.start_step(now=model_now)
            if step is None:
                # Nothing schedulable now (should not happen: some sequence always fits an empty cache).
                self._wake.clear()
                await self._wake.wait()
                model_now = self._loop.time()
                continue
            seconds = step.seconds * self._slow_start_factor(model_now)
            for sequence, _ in step.shares:
                live = self._live.get(sequence)
                if live is not None and live.model_started_at is None:
                    live.model_started_at = self._model_seconds
            due = model_now + seconds
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            now = self._loop.time()
            self._model_seconds += seconds
            self._deliver(step, due=due, now=now)
            model_now = due if now - due <= _MAX_CATCH_UP_SECONDS else now

    def _deliver(self, step: Step, *, due: float, now: float) -> None:
        outcome = self.scheduler.finish_step(step)
        self._telemetry.on_step(outcome, self.scheduler, now=now, lag_seconds=now - due)
        for emission in outcome.emissions:
            sequence = emission.sequence
            if emission.finished is None:
                self._live[sequence].sink(emission.tokens, None)
                continue
            live = self._live.pop(sequence)
            self._telemetry.on_finished(sequence)
            self._observe_overrun(sequence, live, now=now)
            live.sink(emission.tokens, emission.finished)
            self._finished_requests += 1
        self._break_if_told()

    def _observe_overrun(self, sequence: Sequence, live: _Live, *, now: float) -> None:
        assert live.model_started_at is not None
        assert sequence.scheduled_at is not None
        modelled = self._model_seconds - live.model_started_at
        if modelled > 0:
            self._telemetry.overrun.observe(max(0.0, (now - sequence.scheduled_at) / modelled - 1.0))

    def _slow_start_factor(self, now: float) -> float:
        slow = now - self._started_at < self._faults.slow_start_seconds
        return self._faults.slow_start_factor if slow else 1.0

    def _break_if_told(self) -> None:
        hang, crash = self._faults.hang_after_requests, self._faults.crash_after_requests
        if hang is not None and self._finished_requests >= hang:
            self.hung = True
        if crash is not None and self._finished_requests >= crash:
            self.dead = True
            self.fail_all()
            self._on_crash()
