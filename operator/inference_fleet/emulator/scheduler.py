"""vLLM's scheduler as a discrete state machine: no clock, no sleep, no chance; time is an argument.

A step is opened by `start_step` and closed by `finish_step`. Rules as in vLLM 0.32/0.33 (`v1/core/sched/scheduler.py`):
running sequences first, in their order; a sequence that finds no free cache block preempts the last one (or the least
urgent one); then, if nothing was preempted, waiting sequences while slots, the token budget and free blocks last.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass

from inference_fleet.emulator.sequence import FinishReason, Sequence
from inference_fleet.engine.step_time import StepTimeModel


class SchedulingPolicy(enum.StrEnum):
    FCFS = "fcfs"
    PRIORITY = "priority"


class Rejection(enum.StrEnum):
    """Why a queue limit turned a request away; the values of `vllm:admission_rejections_total{reason}`."""

    MAX_NUM_QUEUED_REQS = "max_num_queued_reqs"
    MAX_NUM_QUEUED_TOKENS = "max_num_queued_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculation:
    """Speculative decoding: `num_tokens` drafts a step, each accepted with `acceptance_rate` if all before it were."""

    num_tokens: int
    acceptance_rate: float

    def expected_accepted_tokens(self) -> float:
        """Drafts accepted in a mean step: a + a^2 + ... + a^k. 3 drafts at 0.5 -> 0.875."""
        return math.fsum(self.acceptance_rate**position for position in range(1, self.num_tokens + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """What the command line allows: sequences and tokens in one step, cache blocks, queue."""

    max_num_seqs: int
    max_num_batched_tokens: int
    num_blocks: int
    block_size: int = 16
    enable_chunked_prefill: bool = True
    policy: SchedulingPolicy = SchedulingPolicy.FCFS
    max_num_queued_reqs: int | None = None
    max_num_queued_tokens: int | None = None
    # 0 = no limit on one sequence's share of a step.
    long_prefill_token_threshold: int = 0
    speculation: Speculation | None = None

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One pass through the model: who takes part with how many tokens, and how long it takes."""

    started_at: float
    ends_at: float
    shares: tuple[tuple[Sequence, int], ...]
    prefill_tokens: int
    decoding_sequences: int

    @property
    def seconds(self) -> float:
        return self.ends_at - self.started_at


@dataclass(frozen=True, slots=True)
class Emission:
    """Tokens that one sequence got out of a step, and its end if this was the last."""

    sequence: Sequence
    tokens: int
    finished: FinishReason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutcome:
    """What a step brought. `draft_tokens` and `accepted_per_position` are of speculative decoding."""

    emissions: tuple[Emission, ...]
    drafts: int = 0
    draft_tokens: int = 0
    accepted_per_position: tuple[int, ...] = ()


class Scheduler:
    """Queue, batch and cache of one engine."""

    def __init__(self, limits: SchedulerLimits, step_time: StepTimeModel) -> None:
        self.limits = limits
        self.step_time = step_time
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.free_blocks = limits.num_blocks
        self.preemptions = 0
        # Fractions of accepted drafts carried over, so that the mean is exact without chance.
        self._accepted_credit = 0.0

    # --- the public moves ---------------------------------------------------------------------------------------

    def submit(self, sequence: Sequence) -> Rejection | None:
        """Queue a sequence, or say which limit of the queue turns it away."""
        limit_reqs, limit_tokens = self.limits.max_num_queued_reqs, self.limits.max_num_queued_tokens
        if limit_reqs is not None and len(self.waiting) >= limit_reqs:
            return Rejection.MAX_NUM_QUEUED_REQS
        if limit_tokens is not None and self._queued_tokens() + sequence.tokens > limit_tokens:
            return Rejection.MAX_NUM_QUEUED_TOKENS
        self._enqueue(sequence)
        return None

    def abort(self, sequence: Sequence, reason: FinishReason = FinishReason.ABORT) -> None:
        """Take a sequence out, wherever it is; a step that is under way forgets it. Ended ones stay as they are."""
        if sequence.finished is not None:
            return
        sequence.finished = reason
        if sequence in self.running:
            self.running.remove(sequence)
            self._free(sequence)
        else:
            self.waiting.remove(sequence)

    def start_step(self, *, now: float) -> Step | None:
        """Choose what the next pass through the model computes; None if there is nothing to do."""
        shares: dict[Sequence, int] = {}
        budget = self._continue_running(shares)
        if budget is not None:
            self._admit_waiting(shares, budget, now=now)
        if not shares:
            return None
        # Preempted in this very step: its share went back to the budget.
        prefill = sum(tokens for sequence, tokens in shares.items() if not sequence.is_decoding)
        decoding = [tokens for sequence, tokens in shares.items() if sequence.is_decoding]
        # A draft token is verified like a prompt token: it passes through the model beside its sequence's own.
        prefill_work = prefill + sum(tokens - 1 for tokens in decoding)
        seconds = self.step_time.step_seconds(prefill_tokens=prefill_work, decoding_sequences=len(decoding))
        return Step(
            started_at=now,
            ends_at=now + seconds,
            shares=tuple(shares.items()),
            prefill_tokens=prefill,
            decoding_sequences=len(decoding),
        )

    def finish_step(self, step: Step) -> StepOutcome:
        """Book what the step computed; every sequence whose tokens are all computed writes its next one."""
        emissions: list[Emission] = []
        drafts = draft_tokens = 0
        speculation = self.limits.speculation
        per_position = [0] * (speculation.num_tokens if speculation else 0)
        for sequence, tokens in step.shares:
            if sequence.finished is not None:
                continue
            accepted = 0
            if sequence.is_decoding and tokens > 1:
                accepted = self._accept(tokens - 1)
                drafts += 1
                draft_tokens += tokens - 1
                for position in range(accepted):
                    per_position[position] += 1
                sequence.computed_tokens += 1
            else:
                sequence.computed_tokens += tokens
                if sequence.pending_tokens > 0:
                    continue  # a chunk of a long prompt
            new_tokens = min(1 + accepted, sequence.output_limit - sequence.output_tokens)
            sequence.output_tokens += new_tokens
            sequence.computed_tokens += new_tokens - 1
            if sequence.output_tokens >= sequence.output_limit:
                sequence.finished = sequence.ends_with
                self.running.remove(sequence)
                self._free(sequence)
            emissions.append(Emission(sequence, new_tokens, sequence.finished))
        return StepOutcome(
            emissions=tuple(emissions),
            drafts=drafts,
            draft_tokens=draft_tokens,
            accepted_per_position=tuple(per_position),
        )

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    @property
    def kv_cache_usage(self) -> float:
        """Share of the cache blocks in use, 0..1."""
        return 1.0 - self.free_blocks / self.limits.num_blocks

    # --- choosing a step ----------------------------------------------------------------------------------------

    def _continue_running(self, shares: dict[Sequence, int]) -> int | None:
        """Give every running sequence its share; the budget that is left, or None after a preemption."""
        budget = self.limits.max_num_batched_tokens
        preempted = False
        index = 0
        while index < len(self.running) and budget > 0:
            sequence = self.running[index]
            tokens = min(self._wanted(sequence), budget)
            if not self._grow(sequence, tokens):
                victim = self._least_urgent()
                budget += shares.pop(victim, 0)
                self._preempt(victim)
                preempted = True
                if self.policy_is_priority:
                    # The victim may have stood before us: start over behind those that have their share.
                    index = len([s for s in self.running if s in shares])
                continue
            shares[sequence] = tokens
            budget -= tokens
            index += 1
        return None if preempted else budget

    def _admit_waiting(self, shares: dict[Sequence, int], budget: int, *, now: float) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_num_seqs:
            sequence = self.waiting[0]
            wanted = self._wanted(sequence)
            if wanted > budget and not self.limits.enable_chunked_prefill:
                return
            # `scheduler_reserve_full_isl`: admitted only if the whole prompt would fit now.
            if self.limits.blocks_for(sequence.tokens) > self.free_blocks:
                return
            tokens = min(wanted, budget)
            self._grow(sequence, tokens)
            self.waiting.popleft()
            self.running.append(sequence)
            if sequence.scheduled_at is None:
                sequence.scheduled_at = max(now, sequence.arrived_at)
            shares[sequence] = tokens
            budget -= tokens

    def _wanted(self, sequence: Sequence) -> int:
        if sequence.is_decoding:
            speculation = self.limits.speculation
            # Drafts beyond the last token would be thrown away.
            left = sequence.output_limit - sequence.output_tokens - 1
            return 1 + (min(speculation.num_tokens, left) if speculation else 0)
        threshold = self.limits.long_prefill_token_threshold
        return min(sequence.pending_tokens, threshold) if threshold else sequence.pending_tokens

    @property
    def policy_is_priority(self) -> bool:
        return self.limits.policy is SchedulingPolicy.PRIORITY

    def _least_urgent(self) -> Sequence:
        if self.policy_is_priority:
            return max(self.running, key=lambda sequence: (sequence.priority, sequence.arrived_at))
        return self.running[-1]

    def _preempt(self, victim: Sequence) -> None:
        self.running.remove(victim)
        self._free(victim)
        victim.computed_tokens = 0
        victim.preemptions += 1
        self.preemptions += 1
        if self.policy_is_priority:
            self._enqueue(victim)
        else:
            self.waiting.appendleft(victim)

    # --- queue, cache, drafts -----------------------------------------------------------------------------------

    def _enqueue(self, sequence: Sequence) -> None:
        if not self.policy_is_priority:
            self.waiting.append(sequence)
            return
        key = (sequence.priority, sequence.arrived_at)
        for place, other in enumerate(self.waiting):
            if key < (other.priority, other.arrived_at):
                self.waiting.insert(place, sequence)
                return
        self.waiting.append(sequence)

    def _queued_tokens(self) -> int:
        return sum(sequence.tokens for sequence in self.waiting)

    def _grow(self, sequence: Sequence, tokens: int) -> bool:
        """Take the blocks that `tokens` more need; False, and nothing taken, if there are not as many."""
        missing = self.limits.blocks_for(sequence.computed_tokens + tokens) - sequence.blocks
        if missing > self.free_blocks:
            return False
        if missing > 0:
            sequence.blocks += missing
            self.free_blocks -= missing
        return True

    def _free(self, sequence: Sequence) -> None:
        self.free_blocks += sequence.blocks
        sequence.blocks = 0

    def _accept(self, drafted: int) -> int:
        assert self.limits.speculation is not None
        self._accepted_credit += self.limits.speculation.expected_accepted_tokens()
        accepted = min(drafted, int(self._accepted_credit))
        self._accepted_credit = min(self._accepted_credit - accepted, float(self.limits.speculation.num_tokens))
        return accepted
