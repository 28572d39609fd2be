"""After the start: scalers without a recent memory are told of the last half hour by Prometheus, beside the live ticks.

Whoever lacks the last minutes is known before the first tick and waits: it is scaled up as any other, and nothing of it
goes. A few at a time, the scarcest first, they are then asked about and gone through, in a bounded share of the event
loop's time. Whoever has not had its turn in time, or of whom Prometheus has nothing, learns from now on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from inference_fleet.adapters.ports import Clock, FleetSamples, PastSamples, Signals
from inference_fleet.controller.replay import PodsOfSets, Replay, by_replica_set
from inference_fleet.controller.store import Store
from inference_fleet.controller.tick import FleetTick, Waiting, scales
from inference_fleet.controller.work_queue import Key
from inference_fleet.planning.pools import read_pools
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Mode

STEP_SECONDS: Final = 15.0
WINDOW_TICKS: Final = 120
# A memory that knows of the last minutes needs nothing.
RECENT_SECONDS: Final = 120.0
# All of it: a scaler that has watched for so long knows what its next steps down rest on.
LONGEST_SECONDS: Final = 300.0
# After an answer that was none.
RETRY_SECONDS: Final = 15.0
# Asked about at once: one answer is 0.4 MB of text, and all of them 12 MB as samples. Names are part of the address.
MOST_PODS: Final = 100
FEWEST_PODS: Final = 10
MOST_DEPLOYMENTS: Final = 24
# Those next in turn among whom they are chosen.
MOST_LOOKED_AT: Final = 100
# Of the event loop's time, in slices after which others have their turn. Whoever uses no time is stopped by the count.
SHARE: Final = 1 / 2
SLICE_SECONDS: Final = 0.01
SLICE_STEPS: Final = 30

_log = logging.getLogger(__name__)


@dataclass
class Refill:
    """Gives memories to the tick. _failed: how often those who wait were asked about in vain."""

    store: Store
    tick: FleetTick
    signals: Signals
    clock: Clock
    _until: float = 0.0
    _pods_at_once: int = MOST_PODS
    _failed: dict[Key, int] = field(default_factory=dict)
    _replayed: int = 0

    def begin(self) -> None:
        """Before the first tick: mark those that lack the last minutes. Asks nobody."""
        now = self.clock.now()
        self._until = self.clock.monotonic() + LONGEST_SECONDS
        for key in self.store.deployments():
            snapshot = self.store.snapshot(key)
            if snapshot is None or not scales(snapshot) or not snapshot.pods:
                continue
            uid = str(snapshot.deployment["metadata"]["uid"])
            memory = self.tick.remembered.get((key, uid), ScalerMemory.empty())
            if memory.seen_at is None or now - memory.seen_at > RECENT_SECONDS:
                self.tick.waiting[key] = Waiting(uid, memory, begun=now, until=now + LONGEST_SECONDS)

    async def run(self) -> None:
        """After the first tick: go on until nobody waits, for five minutes at most. Never raises."""
        waited, begun = len(self.tick.waiting), self.clock.monotonic()
        if not waited:
            return
        _log.info("%d scalers lack the last minutes: they take no replica away until they know them", waited)
        try:
            while self.clock.monotonic() < self._until and (chunk := self._chunk()):
                await self._take(chunk)
        except Exception:
            _log.exception("the last minutes cannot be gone through")
        for key in tuple(self.tick.waiting):
            self.tick.caught_up(key, None)
        took = self.clock.monotonic() - begun
        words = (
            "%d of %d scalers go on from the last half hour in Prometheus after %.0f s; the others learn from now on"
        )
        _log.info(words, self._replayed, waited, took)

    def _chunk(self) -> tuple[Key, ...]:
        """Those to ask about next, the scarcest first; nobody if nobody waits."""
        for key in tuple(self.tick.waiting):
            # Gone or suspended meanwhile, or not to be scaled for another reason.
            if key not in self.tick.scaled or self.store.snapshot(key) is None:
                self.tick.caught_up(key, None)
        namespaces_of: dict[str, set[str]] = {}
        for namespace, name in self.store.deployments():
            namespaces_of.setdefault(name, set()).add(namespace)
        chosen: list[Key] = []
        for key in sorted(self.tick.waiting, key=self._turn)[:MOST_LOOKED_AT]:
            if len(chosen) == MOST_DEPLOYMENTS:
                break
            # Whoever shares the namespace of one and the name of another is in the answer, too.
            namespaces, names = ({each[part] for each in (*chosen, key)} for part in (0, 1))
            told_of = [(namespace, name) for name in names for namespace in namespaces_of[name] & namespaces]
            if not chosen or (len(told_of) <= MOST_DEPLOYMENTS and self._pods(told_of) <= self._pods_at_once):
                chosen.append(key)
        return tuple(chosen)

    def _pods(self, keys: Sequence[Key]) -> int:
        return sum(len(snapshot.pods) for key in keys if (snapshot := self.store.snapshot(key)) is not None)

    def _turn(self, key: Key) -> tuple[int, bool, float]:
        """Least failed first, then who is scaled by what it learns, then by the load of what serves."""
        entry = self.tick.scaled[key]
        demand = next((term.value for term in entry.decision.terms if term.name == "demand"), 0.0)
        ready = sum(variant.ready for variant in entry.observation.variants)
        return self._failed.get(key, 0), entry.limits.mode is not Mode.AUTOMATIC, -demand / max(ready, 1)

    async def _take(self, chunk: Sequence[Key]) -> None:
        """Ask about them and go through the answer, in parts where one alone has more pods than are asked about at
        once.
        """
        replays = [replay for key in chunk if (replay := self._replay(key)) is not None]
        assert self.tick.looked_at is not None
        # The last look itself is learned when it is over: whoever is not decided yet in the tick under way is next.
        end = math.floor(self.tick.looked_at) - STEP_SECONDS
        known = min((replay.memory.seen_at or -math.inf for replay in replays), default=end)
        window = [end - STEP_SECONDS * back for back in reversed(range(WINDOW_TICKS))]
        moments = [at for at in window if at > known]
        if not moments:
            for replay in replays:
                self.tick.caught_up(replay.key, None)
        promised = {(each.metric, each.threshold_seconds) for replay in replays for each in replay.limits.objectives}
        size = max(2, self._pods_at_once * WINDOW_TICKS // max(1, self._pods(chunk)))
        parts = [moments[first : first + size] for first in range(0, len(moments), size)]
        for number, part in enumerate(parts, start=1):
            past = await self.signals.past(moments=part, promised=promised, of=chunk)
            if past.problem:
                await self._put_off(chunk, past.problem)
                return
            if not await self._go_through(replays, past, ends=number == len(parts)):
                return
        self._pods_at_once = min(MOST_PODS, 2 * self._pods_at_once)

    def _replay(self, key: Key) -> Replay | None:
        snapshot, entry, waits = self.store.snapshot(key), self.tick.scaled.get(key), self.tick.waiting[key]
        if snapshot is None or entry is None or entry.uid != waits.uid:
            self.tick.caught_up(key, None)
            return None
        return Replay(key, waits.memory, entry.limits, read_pools(snapshot), entry.observation)

    async def _put_off(self, chunk: Sequence[Key], problem: str) -> None:
        """Others first then, and fewer at once."""
        _log.warning("the last minutes cannot be asked for: %s", problem)
        for key in chunk:
            self._failed[key] = self._failed.get(key, 0) + 1
        self._pods_at_once = max(FEWEST_PODS, self._pods_at_once // 2)
        await self.clock.sleep(max(0.0, min(RETRY_SECONDS, self._until - self.clock.monotonic())))

    async def _go_through(self, replays: Sequence[Replay], past: PastSamples, *, ends: bool) -> bool:
        """Whether there was time for all of it. ends: whether they are up to date then."""
        slices = _Slices(self.clock)
        looks: list[tuple[float, FleetSamples, PodsOfSets]] = []
        for at, fleet in past.moments:
            looks.append((at, fleet, by_replica_set(fleet, at=at)))
            await slices.turn()
        for replay in replays:
            try:
                for at, fleet, pods in looks:
                    replay.step(fleet, pods, at=at)
                    await slices.turn()
            except Exception:
                _log.exception("%s/%s: the last minutes cannot be gone through again", *replay.key)
                self.tick.caught_up(replay.key, None)
                continue
            if self.clock.monotonic() >= self._until:
                return False
            if ends:
                self._replayed += replay.begun
                self.tick.caught_up(replay.key, replay.memory if replay.begun else None)
        return True


@dataclass
class _Slices:
    """Work on the event loop in slices, with pauses that leave it the share that is allowed."""

    clock: Clock
    _begun: float | None = None
    _steps: int = 0

    async def turn(self) -> None:
        """After every step, which takes a millisecond or so."""
        now = self.clock.monotonic()
        begun = now if self._begun is None else self._begun
        self._begun, self._steps = begun, self._steps + 1
        if now - begun >= SLICE_SECONDS or self._steps >= SLICE_STEPS:
            await self.clock.sleep((now - begun) * (1 / SHARE - 1))
            self._begun, self._steps = self.clock.monotonic(), 0
