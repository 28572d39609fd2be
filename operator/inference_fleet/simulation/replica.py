"""One engine as a discrete-event machine: chunked prefill, batch and cache limits, first come first served.

Steps follow one another without a gap. A step decodes one token of every running sequence and prefills with what is
left of its token budget. Steps without prefill are alike until a sequence ends, a request comes or the cache is full:
they are taken in one jump, which is exact because the step time does not depend on the length of the contexts.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.simulation.request_log import RequestLog


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """What limits one engine: seconds of a step, sequences and tokens in it, tokens in the cache."""

    step_time: StepTimeModel
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    kv_cache_tokens: int = 400_000


@dataclass(slots=True)
class Counters:
    """Totals since the engine started, as its metrics page would show them."""

    prompt_tokens: int = 0
    generation_tokens: int = 0
    finished_requests: int = 0
    steps: int = 0
    inter_token_sum_seconds: float = 0.0
    inter_token_count: int = 0


class Replica:
    """One engine. `next_event`: when its current step, or jump of equal steps, ends; infinite while it is idle."""

    __slots__ = (
        "_jump_prefill",
        "_jump_start",
        "_jump_steps",
        "_left",
        "_order",
        "_seconds",
        "counters",
        "created",
        "decoding",
        "draining_since",
        "ended",
        "engine",
        "kv_tokens",
        "log",
        "name",
        "next_event",
        "outstanding",
        "preemptions",
        "prefilling",
        "ready_at",
        "step",
        "submitted",
        "variant",
        "waiting",
    )

    def __init__(
        self, *, name: str, variant: int, engine: EngineModel, log: RequestLog, created: float, ready_at: float
    ) -> None:
        self.name = name
        self.variant = variant
        self.engine = engine
        self.log = log
        self.created = created
        self.ready_at = ready_at
        self.draining_since: float | None = None
        self.ended: float | None = None
        self.waiting: deque[int] = deque()
        # [request, prompt tokens still to compute], in order of admission.
        self.prefilling: list[list[int]] = []
        # Heap of (step at which it ends, order of admission, request, cache tokens when it joined, step it joined).
        self.decoding: list[tuple[int, int, int, int, int]] = []
        self.step = 0
        self.kv_tokens = 0
        self.outstanding = 0
        self.submitted = 0
        self.preemptions = 0
        self.counters = Counters()
        self.next_event = math.inf
        self._left: dict[int, int] = {}
        self._order = 0
        self._jump_start = 0.0
        self._jump_steps = 0
        self._jump_prefill: list[tuple[list[int], int]] = []
        self._seconds = 0.0

    def submit(self, request: int, *, now: float) -> None:
        """Queue a request. A jump under way is cut at the end of its present step, where the request may join."""
        blocked = bool(self.waiting) or self.running >= self.engine.max_num_seqs
        self.waiting.append(request)
        self.outstanding += 1
        self.submitted += 1
        self.log.variant[request] = self.variant
        if self.next_event == math.inf:
            self._begin(now)
        elif not blocked and self._jump_steps > 1:
            self._cut(now)

    def advance(self) -> None:
        """Book the step or jump that ends at `next_event`, and begin the next."""
        now = self.next_event
        steps, decoding = self._jump_steps, len(self.decoding)
        self.step += steps
        self.kv_tokens += steps * decoding
        counters = self.counters
        counters.steps += steps
        counters.generation_tokens += steps * decoding
        counters.inter_token_count += steps * decoding
        counters.inter_token_sum_seconds += steps * decoding * self._seconds
        while self.decoding and self.decoding[0][0] <= self.step:
            _, _, request, kv_tokens, joined = heapq.heappop(self.decoding)
            self._finish(request, held=kv_tokens + self.step - joined, now=now)
        if self._jump_prefill:
            self._book_prefill(now)
        self._begin(now)

    def shown_counters(self, *, now: float) -> Counters:
        """The totals at `now`, within a jump too."""
        shown = self.counters
        if self.next_event == math.inf or self._jump_steps <= 1 or now <= self._jump_start:
            return shown
        steps = min(self._jump_steps, int((now - self._jump_start) / self._seconds))
        tokens = steps * len(self.decoding)
        return Counters(
            prompt_tokens=shown.prompt_tokens,
            generation_tokens=shown.generation_tokens + tokens,
            finished_requests=shown.finished_requests,
            steps=shown.steps + steps,
            inter_token_sum_seconds=shown.inter_token_sum_seconds + tokens * self._seconds,
            inter_token_count=shown.inter_token_count + tokens,
        )

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self.decoding) + len(self.prefilling)

    def abandon(self) -> list[int]:
        """Die: the requests that were not finished."""
        lost = [entry[2] for entry in self.decoding] + [entry[0] for entry in self.prefilling] + list(self.waiting)
        self.decoding, self.prefilling, self._jump_prefill = [], [], []
        self.waiting.clear()
        self.outstanding = 0
        self.next_event = math.inf
        return lost

    def _begin(self, now: float) -> None:
        engine = self.engine
        preempted = False
        while self.kv_tokens + len(self.decoding) > engine.kv_cache_tokens and self.running > 1:
            self._preempt()
            preempted = True
        decoding = len(self.decoding)
        budget = engine.max_num_batched_tokens - decoding
        shares: list[tuple[list[int], int]] = []
        for entry in self.prefilling:
            if budget <= 0:
                break
            tokens = min(entry[1], budget)
            shares.append((entry, tokens))
            budget -= tokens
        if self.waiting and not preempted:
            self._admit(shares, budget)
        self._jump_start = now
        self._jump_prefill = shares
        if shares:
            prefill = sum(tokens for _, tokens in shares)
            self._seconds = engine.step_time.step_seconds(prefill_tokens=prefill, decoding_sequences=decoding)
            self._jump_steps = 1
        elif decoding:
            self._seconds = engine.step_time.step_seconds(prefill_tokens=0, decoding_sequences=decoding)
            room = (engine.kv_cache_tokens - self.kv_tokens) // decoding
            self._jump_steps = max(1, min(self.decoding[0][0] - self.step, room))
        else:
            self.next_event = math.inf
            return
        self.next_event = now + self._jump_steps * self._seconds

    def _admit(self, shares: list[tuple[list[int], int]], budget: int) -> None:
        engine = self.engine
        while self.waiting and budget > 0 and self.running < engine.max_num_seqs:
            request = self.waiting[0]
            prompt = self._prompt_tokens(request)
            # The whole prompt must fit, and a token of every sequence that decodes beside it. One alone always may.
            if self.running and self.kv_tokens + prompt + len(self.decoding) > engine.kv_cache_tokens:
                return
            self.waiting.popleft()
            entry = [request, prompt]
            self.prefilling.append(entry)
            self.kv_tokens += prompt
            tokens = min(prompt, budget)
            shares.append((entry, tokens))
            budget -= tokens

    def _book_prefill(self, now: float) -> None:
        log = self.log
        for entry, tokens in self._jump_prefill:
            entry[1] -= tokens
            if entry[1] > 0:
                continue
            request = entry[0]
            self.prefilling.remove(entry)
            prompt = self._prompt_tokens(request)
            left = self._left.pop(request, None)
            if left is None:
                left = log.output_tokens[request]
                log.first_token[request] = now
                log.first_tokens.append(request)
                self.counters.prompt_tokens += log.input_tokens[request]
            self.counters.generation_tokens += 1
            if left <= 1:
                self._finish(request, held=prompt, now=now)
                continue
            self._order += 1
            heapq.heappush(self.decoding, (self.step + left - 1, self._order, request, prompt, self.step))

    def _prompt_tokens(self, request: int) -> int:
        """Tokens to compute before the next one: the prompt, and after a preemption what was written already."""
        left = self._left.get(request)
        written = 0 if left is None else self.log.output_tokens[request] - left
        return self.log.input_tokens[request] + written

    def _preempt(self) -> None:
        """The newest sequence gives its cache back and waits at the head of the queue, to be computed again."""
        self.preemptions += 1
        if self.prefilling:
            request = self.prefilling.pop()[0]
            self.kv_tokens -= self._prompt_tokens(request)
        else:
            newest = max(self.decoding, key=lambda sequence: sequence[1])
            self.decoding.remove(newest)
            heapq.heapify(self.decoding)
            ends, _, request, kv_tokens, joined = newest
            self.kv_tokens -= kv_tokens + self.step - joined
            self._left[request] = ends - self.step
        self.waiting.appendleft(request)

    def _finish(self, request: int, *, held: int, now: float) -> None:
        self.kv_tokens -= held
        self.outstanding -= 1
        self.counters.finished_requests += 1
        self.log.finish[request] = now
        self.log.finishes.append(request)

    def _cut(self, now: float) -> None:
        done = max(1, math.ceil((now - self._jump_start) / self._seconds))
        if done < self._jump_steps:
            self._jump_steps = done
            self.next_event = self._jump_start + done * self._seconds
