"""Time as this machine has it."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Clock port over the machine's clocks and the running event loop."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(max(0.0, seconds))
