"""Every quarter of a minute: sample the whole fleet, decide for every object, queue those for which that is news."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from inference_fleet.adapters.ports import Clock, FleetSamples, Signals
from inference_fleet.adapters.resources import INFERENCE_DEPLOYMENTS
from inference_fleet.controller.collector import collect_young
from inference_fleet.controller.replay import with_last_look
from inference_fleet.controller.store import Store
from inference_fleet.controller.telemetry import Telemetry
from inference_fleet.controller.work_queue import Key, WorkQueue
from inference_fleet.planning.attainment_status import told_objectives
from inference_fleet.planning.counts import current_replicas, observation_of
from inference_fleet.planning.pools import read_pools
from inference_fleet.planning.snapshot import Snapshot
from inference_fleet.planning.study import Study, studied_again, study
from inference_fleet.planning.trust import trusted
from inference_fleet.planning.wishes import recorded_replicas, spec_replicas
from inference_fleet.scaling.decide import decide
from inference_fleet.scaling.grants import allocate
from inference_fleet.scaling.memory import ScalerMemory
from inference_fleet.scaling.types import Decision, Limits, Observation, PodSample, Rule, SignalState

# Objects decided in one go before others get their turn; one takes up to a millisecond.
BATCH: Final = 5
# Objects decided between two looks at what they left behind, 3 ms each.
COLLECTED: Final = 50
# Another cause of missing signals, or other pods that are silent, are told when they have lasted so long: one at one
# tick and another at the next is no news.
OTHER_CAUSE_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scaled:
    """One object as the scaler saw it last. uid: a successor of the same name starts with nothing.

    seen: replicas per variant that the decision was made from, or that it has lowered them to since. missing:
    words on signals that are missing, and since when they are the same (unix seconds); told: those that were news last.
    """

    uid: str
    memory: ScalerMemory
    decision: Decision
    limits: Limits
    observation: Observation
    seen: Mapping[str, int]
    missing: tuple[str, float] = ("", 0.0)
    told: str = ""


@dataclass(frozen=True)
class Waiting:
    """An object that no replica is taken from before its scaler has gone through the last half hour, or until then.

    memory: as it was at the start of the operator, which was at `begun` (unix seconds, as `until`).
    """

    uid: str
    memory: ScalerMemory
    begun: float
    until: float


@dataclass
class FleetTick:
    """Holds the last decision and the scaler's memory of every object.

    seconds: between two ticks. last_tick: monotonic seconds at the end of the last one, None before the first.
    remembered: memories of objects that are not being decided on, by (key, uid): as read back at the start, or from
    before they were suspended. waiting: those that lack the last minutes and may still be told of them. looked_at: when
    the fleet was last looked at (unix seconds). tell: told of every look, and when it was.
    """

    store: Store
    queue: WorkQueue
    signals: Signals
    clock: Clock
    telemetry: Telemetry
    seconds: float
    remembered: dict[tuple[Key, str], ScalerMemory] = field(default_factory=dict)
    scaled: dict[Key, Scaled] = field(default_factory=dict)
    waiting: dict[Key, Waiting] = field(default_factory=dict)
    looked_at: float | None = None
    last_tick: float | None = None
    tell: Callable[[Mapping[Key, Scaled], float], None] | None = None
    _studied: dict[Key, tuple[Snapshot, Study]] = field(default_factory=dict, repr=False)

    def decision(self, key: Key, snapshot: Snapshot) -> Decision | None:
        """The last decision on this object, as far as it may be acted on; None before the first tick that saw it."""
        entry = self._current(key)
        if entry is None:
            return None
        current = current_replicas(read_pools(snapshot), recorded=recorded_replicas(snapshot))
        return trusted(entry.decision, seen=entry.seen, current=current)

    def reported_lengths(self, key: Key) -> Mapping[str, int]:
        """Longest sequence per variant that its engines say they take, tokens: the shortest of what they say."""
        entry = self._current(key)
        found: dict[str, int] = {}
        for variant in entry.observation.variants if entry else ():
            said = [int(sample.max_model_len) for sample in variant.pods if sample.max_model_len]
            if said:
                found[variant.name] = min(said)
        return found

    def lowered(self, key: Key) -> None:
        """The decision was used to lower: it does so once, whoever raises the count again until the next tick."""
        if (entry := self.scaled.get(key)) is not None:
            seen = {name: min(entry.seen.get(name, 0), count) for name, count in entry.decision.replicas}
            self.scaled[key] = dataclasses.replace(entry, seen=seen)

    def caught_up(self, key: Key, replayed: ScalerMemory | None) -> None:
        """The object waits no more. replayed: what the last minutes taught; None: nothing, what was lived since counts.

        The last tick that was lived is learned on top. Not even what the half hour shows lowers anything before a cold
        start has passed.
        """
        waited = self.waiting.pop(key, None)
        entry = self.scaled.get(key)
        if waited is None or entry is None or entry.uid != waited.uid:
            return
        memory = entry.memory
        if replayed is not None:
            at = entry.decision.time
            memory = with_last_look(replayed, entry.observation, entry.limits, lived=memory, at=at)
        self.scaled[key] = dataclasses.replace(entry, memory=dataclasses.replace(memory, last_down=self.clock.now()))

    def pod_loads(self, key: Key) -> Mapping[str, float]:
        """Requests that each pod of the object runs and queues."""
        entry = self._current(key)
        if entry is None:
            return {}
        samples = [sample for variant in entry.observation.variants for sample in variant.pods]
        return {sample.pod: (sample.running or 0.0) + (sample.waiting or 0.0) for sample in samples if sample.answered}

    async def run(self) -> None:
        """Tick until cancelled, the first time after one period; one that comes late does not make the next hurry."""
        took = 0.0
        while True:
            await self.clock.sleep(max(1.0, self.seconds - took))
            begun = self.clock.monotonic()
            await self.tick()
            took = self.clock.monotonic() - begun

    async def tick(self) -> None:
        """Sample once and decide for all."""
        # What a new object promises is asked for from its second tick on: it takes two to see anything move.
        objectives = {objective for entry in self.scaled.values() for objective in entry.limits.objectives}
        promised = {(objective.metric, objective.threshold_seconds) for objective in objectives}
        fleet = await self.signals.sample(at=self.clock.now(), promised=promised)
        self.telemetry.ticks.labels("problem" if fleet.problem else "ok").inc()
        if fleet.problem:
            _log.warning("signals are unknown: %s", fleet.problem)
        samples = _by_namespace(fleet)
        now = self.looked_at = self.clock.now()
        news = []
        for number, key in enumerate(self.store.deployments(), start=1):
            try:
                if self._decide(key, fleet, samples.get(key[0], {}), now):
                    news.append(key)
            except Exception:
                # A fault of ours in one object must not leave the others without a decision.
                _log.exception("%s/%s cannot be scaled", *key)
                self._set_aside(key)
            if number % BATCH == 0:
                await self.clock.sleep(0)
            if number % COLLECTED == 0:
                collect_young()
        self._forget_gone()
        self._grant()
        if self.tell is not None:
            self.tell(self.scaled, now)
        for key in news:
            self.queue.add(key)
        self.last_tick = self.clock.monotonic()

    def _decide(self, key: Key, fleet: FleetSamples, samples: Mapping[str, PodSample], now: float) -> bool:
        """Whether there is something to tell or to do."""
        snapshot = self.store.snapshot(key)
        studied = self._study(key, snapshot, now) if snapshot is not None and scales(snapshot) else None
        if snapshot is None or studied is None or studied.limits is None:
            self._set_aside(key)
            return False
        most = {variant.name: variant.max_replicas for variant in studied.limits.variants}
        recorded = recorded_replicas(snapshot)
        observation = observation_of(
            studied.pools,
            most=most,
            recorded=recorded,
            spec_replicas=spec_replicas(snapshot),
            samples=samples,
            histograms={name: fleet.histograms.get((*key, name), ()) for name in most},
            problem=fleet.problem,
            arrivals=(fleet.arrivals[key], now) if key in fleet.arrivals else None,
            clocks=fleet.clocks,
        )
        uid = str(snapshot.deployment["metadata"]["uid"])
        former = self.scaled.get(key)
        if former is not None and former.uid != uid:
            former = None
        memory = former.memory if former else self.remembered.get((key, uid), ScalerMemory.empty())
        waits = self.waiting.get(key)
        if waits is not None and waits.uid == uid:
            decision, memory = _held(memory, observation, studied.limits, waits, now=now)
        else:
            decision, memory = decide(memory, observation, studied.limits, now)
        self.remembered.pop((key, uid), None)
        seen = current_replicas(studied.pools, recorded=recorded)
        before = former.missing if former else ("", now)
        missing = before if before[0] == decision.problem else (decision.problem, now)
        told = decision.problem if former is None else former.told
        entry = Scaled(uid, memory, decision, studied.limits, observation, seen, missing, told)
        news = former is None or _news(former) != _news(entry) or _has_another_cause(entry, now=now)
        self.scaled[key] = dataclasses.replace(entry, told=decision.problem) if news else entry
        if former is not None and former.decision.replicas != decision.replicas:
            self.telemetry.decisions.labels(*key, decision.rule.value).inc()
        if news:
            _log.info("%s/%s: %d replicas (%s): %s", *key, decision.total, decision.rule.value, decision.message)
            return True
        return _attainment_is_news(snapshot, decision, now=now)

    def _grant(self) -> None:
        """What the fleet as a whole may have of what its objects wish."""
        for key, granted in allocate({key: entry.decision for key, entry in self.scaled.items()}).items():
            if granted is not self.scaled[key].decision:
                self.scaled[key] = dataclasses.replace(self.scaled[key], decision=granted)

    def _study(self, key: Key, snapshot: Snapshot, now: float) -> Study:
        """What the object asks for; most have not changed since the last tick."""
        seen, former = self._studied.get(key, (None, None))
        studied = studied_again(former, now=now) if former and seen is snapshot else study(snapshot, now=now)
        self._studied[key] = snapshot, studied
        return studied

    def _set_aside(self, key: Key) -> None:
        """No decision is made on the object now: the last one ages and is not acted on; what was learned stays."""
        if (entry := self.scaled.pop(key, None)) is not None:
            self.remembered[key, entry.uid] = entry.memory
            self.queue.add(key)

    def _forget_gone(self) -> None:
        there = set(self.store.deployments())
        for key in self.scaled.keys() - there:
            del self.scaled[key]
        for key in self._studied.keys() - there:
            del self._studied[key]
        for key in [key for key, waits in self.waiting.items() if self._uid(key) != waits.uid]:
            del self.waiting[key]
        for key, uid in [of for of in self.remembered if self._uid(of[0]) != of[1]]:
            # Also where a successor has taken the name.
            del self.remembered[key, uid]

    def _uid(self, key: Key) -> str | None:
        deployment = self.store.get(INFERENCE_DEPLOYMENTS, namespace=key[0], name=key[1])
        return None if deployment is None else str(deployment["metadata"]["uid"])

    def _current(self, key: Key) -> Scaled | None:
        entry = self.scaled.get(key)
        return entry if entry is not None and entry.uid == self._uid(key) else None


def _news(entry: Scaled) -> tuple[object, ...]:
    """What is told when it changes; terms and words go along."""
    decision = entry.decision
    return (
        decision.replicas,
        decision.recommended,
        decision.rule,
        decision.limited_by,
        decision.signals,
        bool(decision.unreachable),
        decision.unjudged,
        # Whether it is Prometheus that does not answer, or the engines; its own words may change with every tick.
        decision.signals is SignalState.UNKNOWN and entry.observation.problem is None,
    )


def _has_another_cause(entry: Scaled, *, now: float) -> bool:
    words, since = entry.missing
    return words != entry.told and now - since >= OTHER_CAUSE_SECONDS


def _held(
    memory: ScalerMemory, observation: Observation, limits: Limits, waits: Waiting, *, now: float
) -> tuple[Decision, ScalerMemory]:
    """Decided as always, but that no step down is due; a decision that holds says why."""
    decision, memory = decide(dataclasses.replace(memory, last_down=now), observation, limits, now)
    current = sum(variant.desired for variant in observation.variants)
    if decision.rule not in (Rule.HOLD, Rule.DOWN_RATE) or decision.total < current:
        return decision, memory
    begun, until = (datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") for at in (waits.begun, waits.until))
    words = (
        f"hold {decision.total}: the operator started at {begun} UTC without a recent memory of it and reads the last"
        f" half hour back from Prometheus first, until {until} at the latest"
    )
    return dataclasses.replace(decision, rule=Rule.HOLD, message=words), memory


def _attainment_is_news(snapshot: Snapshot, decision: Decision, *, now: float) -> bool:
    told = (snapshot.deployment.get("status") or {}).get("objectives") or []
    return told_objectives(told, decision.attainments, now=now) != told


def scales(snapshot: Snapshot) -> bool:
    """Whether decisions are made on the object: it is neither suspended nor going."""
    spec = snapshot.deployment.get("spec")
    suspended = isinstance(spec, Mapping) and spec.get("suspend") is True
    return not suspended and not snapshot.deployment["metadata"].get("deletionTimestamp")


def _by_namespace(fleet: FleetSamples) -> dict[str, dict[str, PodSample]]:
    found: dict[str, dict[str, PodSample]] = {}
    for (namespace, pod), sample in fleet.pods.items():
        found.setdefault(namespace, {})[pod] = sample
    return found
