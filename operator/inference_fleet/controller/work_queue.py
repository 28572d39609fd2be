"""Keys waiting for work, by client-go's rules: each once, never two workers on one, failures wait longer each time."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from inference_fleet.adapters.ports import Clock

Key = tuple[str, str]
"""(namespace, name) of an InferenceDeployment."""

# client-go starts at 5 ms and ends at 1000 s; a reconcile here costs more, and nobody wants to wait a quarter hour.
FIRST_RETRY_SECONDS: Final = 0.2
LONGEST_RETRY_SECONDS: Final = 300.0


@dataclass(order=True)
class _Later:
    due: float
    order: int
    key: Key = field(compare=False)


class WorkQueue:
    """First come, first served. `jitter`: a number in [0, 1), so that a thousand failures do not come back as one."""

    def __init__(self, clock: Clock, *, jitter: Callable[[], float]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._ready: deque[Key] = deque()
        self._waiting: set[Key] = set()
        self._again: set[Key] = set()
        self._running: dict[Key, float] = {}
        self._added: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._later: list[_Later] = []
        self._due: dict[Key, float] = {}
        self._order = 0
        self._changed = asyncio.Event()
        self._timer_changed = asyncio.Event()
        self.adds = 0
        self.retries = 0

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key) -> None:
        """Queue a key. Queued already: nothing; being worked on: once more after that."""
        if key in self._running:
            if key not in self._again:
                self.adds += 1
                self._again.add(key)
            return
        if key in self._waiting:
            return
        self.adds += 1
        self._waiting.add(key)
        self._added[key] = self._clock.monotonic()
        self._ready.append(key)
        self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Queue a key later; the earliest of several wishes counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._later, _Later(due, self._order, key))
        self._timer_changed.set()

    def retry(self, key: Key, *, at_least_seconds: float = 0.0) -> float:
        """Queue a key after its back-off (doubling, half of it at random); returns the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.retries += 1
        full = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures, 32))
        seconds = max(at_least_seconds, full * (0.5 + 0.5 * self._jitter()))
        self.add_after(key, seconds)
        return seconds

    def forget(self, key: Key) -> None:
        """The key's work succeeded: its next failure waits short again."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """Failures in a row."""
        return self._failures.get(key, 0)

    async def get(self) -> tuple[Key, float]:
        """The next key, and how long it waited in seconds. `done` must follow."""
        while not self._ready:
            self._changed.clear()
            await self._changed.wait()
        key = self._ready.popleft()
        self._waiting.discard(key)
        now = self._clock.monotonic()
        self._running[key] = now
        return key, now - self._added.pop(key, now)

    def done(self, key: Key) -> None:
        """The worker has let go of the key."""
        self._running.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self._waiting.add(key)
            self._added[key] = self._clock.monotonic()
            self._ready.append(key)
            self._changed.set()

    @property
    def unfinished_seconds(self) -> float:
        """Sum over the keys being worked on."""
        now = self._clock.monotonic()
        return sum(now - since for since in self._running.values())

    @property
    def longest_running_seconds(self) -> float:
        """Age of the work that takes longest; 0 if none is under way."""
        now = self._clock.monotonic()
        return max((now - since for since in self._running.values()), default=0.0)

    @property
    def idle(self) -> bool:
        """Nothing ready and nothing under way; keys for later do not count."""
        return not self._ready and not self._running

    async def run_timer(self) -> None:
        """Move keys whose time has come; runs until cancelled."""
        while True:
            self._move_due()
            self._timer_changed.clear()
            if not self._later:
                await self._timer_changed.wait()
                continue
            seconds = self._later[0].due - self._clock.monotonic()
            await _first_of(self._clock.sleep(seconds), self._timer_changed.wait())

    def _move_due(self) -> None:
        now = self._clock.monotonic()
        while self._later and self._later[0].due <= now:
            later = heapq.heappop(self._later)
            # An entry that an earlier wish has overtaken is stale.
            if self._due.get(later.key) == later.due:
                del self._due[later.key]
                self.add(later.key)


async def _first_of(*waits: object) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
