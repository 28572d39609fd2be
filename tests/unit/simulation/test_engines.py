"""The compiled loop against a plain engine that takes one step after another: the same times to the last bit.

Step times are dyadic fractions, and arrivals lie between their sums, so that both ways of adding them are exact.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numba
import pytest

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation.engines import PREEMPTIONS, compiled
from inference_fleet.simulation.fleet import Fleet, FleetSettings, VariantModel
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrival, RequestLog

STEP = StepTimeModel(base_seconds=2.0**-7, per_prefill_token_seconds=2.0**-14, per_decoding_sequence_seconds=2.0**-15)


@dataclass(eq=False)
class Sequence:
    arrival: float
    prompt: int
    output: int
    computed: int = 0
    written: int = 0
    first: float | None = None
    finish: float | None = None

    @property
    def to_compute(self) -> int:
        # What was written before a preemption is computed again; the newest token's cache is made by the next step.
        return self.prompt + self.written


@dataclass(eq=False)
class PlainEngine:
    """One step at a time, straight from the rules; no jumps, no heap."""

    engine: EngineModel
    waiting: list[Sequence] = field(default_factory=list)
    prefilling: list[Sequence] = field(default_factory=list)
    decoding: list[Sequence] = field(default_factory=list)
    given: int = 0
    ends: float | None = None
    preemptions: int = 0
    shares: list[tuple[Sequence, int]] = field(default_factory=list)

    @property
    def outstanding(self) -> int:
        return len(self.waiting) + len(self.prefilling) + len(self.decoding)

    def held(self) -> int:
        # A prompt is admitted as a whole; a decoding sequence holds all but its newest token.
        whole = sum(sequence.to_compute for sequence in self.prefilling)
        return whole + sum(sequence.prompt + sequence.written - 1 for sequence in self.decoding)

    def submit(self, sequence: Sequence, now: float) -> None:
        self.given += 1
        self.waiting.append(sequence)
        if self.ends is None:
            self.begin(now)

    def begin(self, now: float) -> None:
        preempted = False
        while self.held() + len(self.decoding) > self.engine.kv_cache_tokens and (
            len(self.decoding) + len(self.prefilling) > 1
        ):
            newest = (self.prefilling or self.decoding).pop()
            newest.computed = 0
            self.waiting.insert(0, newest)
            self.preemptions += 1
            preempted = True
        budget = self.engine.max_num_batched_tokens - len(self.decoding)
        self.shares = []
        for sequence in self.prefilling:
            self.shares.append((sequence, min(budget, sequence.to_compute - sequence.computed)))
            budget -= self.shares[-1][1]
        while not preempted and self.waiting and budget > 0:
            sequence, running = self.waiting[0], len(self.prefilling) + len(self.decoding)
            room = self.engine.kv_cache_tokens - self.held() - len(self.decoding)
            if running >= self.engine.max_num_seqs or (running and sequence.to_compute > room):
                break
            self.prefilling.append(self.waiting.pop(0))
            self.shares.append((sequence, min(budget, sequence.to_compute)))
            budget -= self.shares[-1][1]
        self.shares = [(sequence, tokens) for sequence, tokens in self.shares if tokens > 0]
        if not self.shares and not self.decoding:
            self.ends = None
            return
        self.ends = now + STEP.step_seconds(
            prefill_tokens=sum(tokens for _, tokens in self.shares), decoding_sequences=len(self.decoding)
        )

    def end(self) -> None:
        now = self.ends
        assert now is not None
        for sequence in self.decoding:
            sequence.written += 1
        done = []
        for sequence, tokens in self.shares:
            sequence.computed += tokens
            if sequence.computed == sequence.to_compute:
                self.prefilling.remove(sequence)
                sequence.written += 1
                sequence.first = now if sequence.first is None else sequence.first
                done.append(sequence)
        self.decoding += done
        for sequence in [s for s in self.decoding if s.written == s.output]:
            self.decoding.remove(sequence)
            sequence.finish = now
        self.begin(now)


def replayed(sequences: list[Sequence], engines: list[PlainEngine]) -> None:
    for sequence in [*sequences, None]:
        while True:
            busy = [engine for engine in engines if engine.ends is not None]
            engine = min(busy, key=lambda engine: engine.ends or 0.0, default=None)
            if engine is None or engine.ends is None or (sequence is not None and engine.ends > sequence.arrival):
                break
            engine.end()
        if sequence is not None:
            min(engines, key=lambda engine: (engine.outstanding, engine.given)).submit(sequence, sequence.arrival)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("replicas", "cache", "batch", "budget", "preempts"),
    [(1, 1_300, 16, 512, True), (2, 1_210, 64, 256, True), (3, 100_000, 8, 512, False), (3, 100_000, 256, 2048, False)],
)
def test_the_loop_keeps_the_times_of_a_plain_engine(
    seed: int, replicas: int, cache: int, batch: int, budget: int, preempts: bool
) -> None:
    chance = random.Random(seed)
    # Odd multiples of 2^-20 s: no arrival falls on the end of a step, which is a multiple of 2^-15 s.
    times = sorted((2 * chance.randrange(0, 25 * 2**19) + 1) * 2.0**-20 for _ in range(250))
    rows = [(time, chance.randint(1, 900), chance.choice((1, 2, chance.randint(1, 300)))) for time in times]
    engine = EngineModel(step_time=STEP, max_num_seqs=batch, max_num_batched_tokens=budget, kv_cache_tokens=cache)
    sequences = [Sequence(*row) for row in rows]
    engines = [PlainEngine(engine) for _ in range(replicas)]
    replayed(sequences, engines)
    log = RequestLog(Arrival(*row) for row in rows)
    variant = VariantModel(name="a", engine=engine)
    fleet = Fleet([variant], log, settings=FleetSettings(), start=[replicas], seed=seed)
    moment = 0.0
    while moment < 2_000.0:  # in uneven pieces, as ticks and scrapes do
        moment += chance.choice((5.0, 10.0, 35.0))
        fleet.advance(moment)
    assert log.first_token.tolist() == [sequence.first for sequence in sequences]
    assert log.finish.tolist() == [sequence.finish for sequence in sequences]
    counted = [int(replica.whole[PREEMPTIONS]) for replica in fleet.replicas]
    assert counted == [engine.preemptions for engine in engines]
    assert (sum(counted) > 0) == preempts


def test_without_a_place_to_keep_machine_code_it_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def nowhere(*functions: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*functions)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(lambda number: number + 1)(1) == 2
