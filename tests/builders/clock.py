"""A clock that goes only when it is told to."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

# More turns of the event loop than any chain of callbacks here needs: whoever needs more spins.
_MOST_TURNS = 200_000


class VirtualClock:
    """Clock port whose time is moved by `advance`; sleepers wake in order, everything settles in between."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._start = start
        self._time = 0.0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now(self) -> float:
        return self._start + self._time

    def monotonic(self) -> float:
        return self._time

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        self._order += 1
        heapq.heappush(self._sleepers, (self._time + seconds, self._order, event))
        await event.wait()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, with everything that happens in it."""
        await self.settle()
        until = self._time + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, event = heapq.heappop(self._sleepers)
            self._time = max(self._time, due)
            event.set()
            await self.settle()
        self._time = until
        await self.settle()

    async def advance_until(self, condition: Callable[[], bool], *, within: float) -> float:
        """Let time pass until something holds; returns how long it took. Fails after `within` seconds."""
        await self.settle()
        begun = self._time
        while not condition():
            if self._time - begun >= within:
                raise AssertionError(f"did not hold within {within} s")
            await self.advance(min(1.0, begun + within - self._time))
        return self._time - begun

    async def settle(self) -> None:
        """Let all tasks run until they wait. Fails if somebody never does."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
        for _ in range(_MOST_TURNS):
            await asyncio.sleep(0)
            if not ready:
                return
        raise AssertionError("something spins without waiting")
