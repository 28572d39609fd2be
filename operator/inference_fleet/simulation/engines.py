"""All engines of a fleet as arrays, and the compiled loop that moves them: chunked prefill, batch and cache limits.

Steps of an engine follow one another without a gap. A step decodes one token of every running sequence and prefills
with what is left of its token budget, first come first served. Steps without prefill are alike until a sequence ends,
a request comes or the cache is full: they are taken in one jump, which is exact because the step time does not depend
on the length of the contexts. Between two arrivals engines do not meet, so each is moved on by itself.

All in one file: numba keeps a function's machine code until the function's own file changes, so a column or a heap
that stood in another one could change unseen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Machine code, kept beside the source (or in the user's cache) for the next process."""
    try:
        made: _Function = numba.njit(cache=True)(function)
    except RuntimeError:
        # Nowhere to keep it: it is compiled anew in every process.
        made = numba.njit(function)
    return made


# Columns of `Engines.whole`, one row per engine: its limits, its state, its counters since it started.
MAX_SEQS: Final = 0
MAX_TOKENS: Final = 1
CACHE_TOKENS: Final = 2
VARIANT: Final = 3
STEP: Final = 4
HELD_TOKENS: Final = 5
OUTSTANDING: Final = 6
SUBMITTED: Final = 7
PREEMPTIONS: Final = 8
DECODING: Final = 9
PREFILLING: Final = 10
SHARES: Final = 11
WAITING: Final = 12
FIRST_WAITING: Final = 13
LAST_WAITING: Final = 14
ORDER: Final = 15
JUMP_STEPS: Final = 16
PROMPT_TOKENS: Final = 17
GENERATION_TOKENS: Final = 18
FINISHED: Final = 19
STEPS: Final = 20
INTER_TOKENS: Final = 21
DRAINING: Final = 22
QUEUED_TOKENS: Final = 23
REJECTED: Final = 24
MAX_QUEUED_REQS: Final = 25
MAX_QUEUED_TOKENS: Final = 26
WHOLE_COLUMNS: Final = 27
# For a limit of the queue.
NO_LIMIT: Final = np.iinfo(np.int64).max
# Columns of `Engines.real`.
BASE: Final = 0
PER_PREFILL: Final = 1
PER_DECODING: Final = 2
JUMP_START: Final = 3
STEP_SECONDS: Final = 4
INTER_SECONDS: Final = 5
ENDED: Final = 6
PATIENCE: Final = 7
REAL_COLUMNS: Final = 8
# Places of `Engines.marks`: how many are in the lists of events, which request comes next, the queue before the router.
FIRST_TOKENS: Final = 0
FINISHES: Final = 1
NEXT_ARRIVAL: Final = 2
UNROUTED_BEGIN: Final = 3
UNROUTED_END: Final = 4
MARKS: Final = 5
# A sequence ends at a step; among those of one step the first admitted comes first. Both in one key.
ORDER_BITS: Final = 31


class Engines(NamedTuple):
    """State of every engine and request. Rows of one engine: `whole`, `real`, `next_event`, `decoding`, `prefilling`.

    next_event: when its current step, or jump, ends; infinite while it is idle. decoding: heap of (key, request, cache
    tokens when it joined, step it joined). prefilling: (request, tokens still to compute, tokens in this step), in
    order of admission. left: tokens still to write of a request that was preempted, else 0. next_waiting: linked list.
    """

    arrival: Any
    input_tokens: Any
    output_tokens: Any
    chance: Any
    first_token: Any
    finish: Any
    variant: Any
    first_order: Any
    finish_order: Any
    left: Any
    next_waiting: Any
    unrouted: Any
    marks: Any
    whole: Any
    real: Any
    next_event: Any
    decoding: Any
    prefilling: Any


def empty_rows(rows: int, *, sequences: int) -> tuple[Any, Any, Any, Any, Any]:
    """whole, real, next_event, decoding and prefilling of so many idle engines."""
    whole = np.zeros((rows, WHOLE_COLUMNS), dtype=np.int64)
    whole[:, FIRST_WAITING] = whole[:, LAST_WAITING] = -1
    return (
        whole,
        np.zeros((rows, REAL_COLUMNS)),
        np.full(rows, np.inf),
        np.zeros((rows, sequences, 4), dtype=np.int64),
        np.zeros((rows, sequences, 3), dtype=np.int64),
    )


@compiled
def run(engines: Engines, ready: Any, at_random: bool, until: float, until_included: bool) -> None:
    """Let everything happen up to `until`: steps that end by then, and arrivals before it (or by it)."""
    arrival, marks, next_event = engines.arrival, engines.marks, engines.next_event
    while True:
        request = marks[NEXT_ARRIVAL]
        comes = request < arrival.shape[0] and (
            arrival[request] < until or (until_included and arrival[request] <= until)
        )
        now = arrival[request] if comes else until
        for row in range(next_event.shape[0]):
            while next_event[row] <= now:
                _advance(engines, row)
        if not comes:
            return
        marks[NEXT_ARRIVAL] = request + 1
        _route(engines, request, ready, at_random, now)


@compiled
def route_unrouted(engines: Engines, ready: Any, at_random: bool, now: float) -> None:
    """Hand on what waited for a ready engine."""
    marks = engines.marks
    while marks[UNROUTED_BEGIN] < marks[UNROUTED_END]:
        request = engines.unrouted[marks[UNROUTED_BEGIN]]
        marks[UNROUTED_BEGIN] += 1
        _route(engines, request, ready, at_random, now)


@compiled
def show(engines: Engines, rows: Any, now: float) -> Any:
    """Per engine, as its metrics page shows it at `now`, within a jump too: running, waiting, cache tokens held,
    prompt tokens, generated tokens, finished requests, steps, seconds between tokens, how many such gaps, and rejected
    requests."""
    shown = np.zeros((rows.shape[0], 10))
    for place in range(rows.shape[0]):
        row = rows[place]
        whole, real = engines.whole[row], engines.real[row]
        steps = 0
        if engines.next_event[row] != math.inf and whole[JUMP_STEPS] > 1 and now > real[JUMP_START]:
            steps = min(whole[JUMP_STEPS], int((now - real[JUMP_START]) / real[STEP_SECONDS]))
        tokens = steps * whole[DECODING]
        shown[place, 0] = whole[DECODING] + whole[PREFILLING]
        shown[place, 1] = whole[WAITING]
        shown[place, 2] = whole[HELD_TOKENS]
        shown[place, 3] = whole[PROMPT_TOKENS]
        shown[place, 4] = whole[GENERATION_TOKENS] + tokens
        shown[place, 5] = whole[FINISHED]
        shown[place, 6] = whole[STEPS] + steps
        shown[place, 7] = real[INTER_SECONDS] + tokens * real[STEP_SECONDS]
        shown[place, 8] = whole[INTER_TOKENS] + tokens
        shown[place, 9] = whole[REJECTED]
    return shown


@compiled
def _route(engines: Engines, request: int, ready: Any, at_random: bool, now: float) -> None:
    """To any ready engine, or to the one with the fewest requests; among equals the one given least so far."""
    if ready.shape[0] == 0:
        engines.unrouted[engines.marks[UNROUTED_END]] = request
        engines.marks[UNROUTED_END] += 1
        return
    best = ready[0]
    if at_random:
        best = ready[int(engines.chance[request] * ready.shape[0])]
    else:
        whole = engines.whole
        for row in ready[1:]:
            if whole[row, OUTSTANDING] < whole[best, OUTSTANDING] or (
                whole[row, OUTSTANDING] == whole[best, OUTSTANDING] and whole[row, SUBMITTED] < whole[best, SUBMITTED]
            ):
                best = row
    _submit(engines, best, request, now)


@compiled
def _submit(engines: Engines, row: int, request: int, now: float) -> None:
    """Queue a request, or turn it away. A jump under way is cut at the end of its present step, where it may join."""
    whole, real = engines.whole[row], engines.real[row]
    whole[SUBMITTED] += 1
    engines.variant[request] = whole[VARIANT]
    tokens = engines.input_tokens[request]
    if whole[WAITING] >= whole[MAX_QUEUED_REQS] or whole[QUEUED_TOKENS] + tokens > whole[MAX_QUEUED_TOKENS]:
        whole[REJECTED] += 1
        return
    blocked = whole[WAITING] > 0 or whole[DECODING] + whole[PREFILLING] >= whole[MAX_SEQS]
    engines.next_waiting[request] = -1
    if whole[WAITING] > 0:
        engines.next_waiting[whole[LAST_WAITING]] = request
    else:
        whole[FIRST_WAITING] = request
    whole[LAST_WAITING] = request
    whole[WAITING] += 1
    whole[QUEUED_TOKENS] += tokens
    whole[OUTSTANDING] += 1
    if engines.next_event[row] == math.inf:
        _begin(engines, row, now)
    elif not blocked and whole[JUMP_STEPS] > 1:
        done = max(1, math.ceil((now - real[JUMP_START]) / real[STEP_SECONDS]))
        if done < whole[JUMP_STEPS]:
            whole[JUMP_STEPS] = done
            engines.next_event[row] = real[JUMP_START] + done * real[STEP_SECONDS]


@compiled
def _advance(engines: Engines, row: int) -> None:
    """Book the step or jump that ends at `next_event`, and begin the next."""
    now = engines.next_event[row]
    whole, real, heap = engines.whole[row], engines.real[row], engines.decoding[row]
    steps, decoding = whole[JUMP_STEPS], whole[DECODING]
    whole[STEP] += steps
    whole[HELD_TOKENS] += steps * decoding
    whole[STEPS] += steps
    whole[GENERATION_TOKENS] += steps * decoding
    whole[INTER_TOKENS] += steps * decoding
    real[INTER_SECONDS] += steps * decoding * real[STEP_SECONDS]
    while whole[DECODING] > 0 and heap[0, 0] >> ORDER_BITS <= whole[STEP]:
        request, held = heap[0, 1], heap[0, 2] + whole[STEP] - heap[0, 3]
        _pop(heap, whole)
        _finish(engines, whole, request, held, now)
    if whole[SHARES] > 0:
        _book_prefill(engines, row, now)
    _begin(engines, row, now)
    if whole[DRAINING] and engines.next_event[row] == math.inf:
        real[ENDED] = now


@compiled
def _begin(engines: Engines, row: int, now: float) -> None:
    whole, real, prefilling = engines.whole[row], engines.real[row], engines.prefilling[row]
    preempted = False
    while whole[HELD_TOKENS] + whole[DECODING] > whole[CACHE_TOKENS] and whole[DECODING] + whole[PREFILLING] > 1:
        _preempt(engines, row)
        preempted = True
    decoding = whole[DECODING]
    budget = whole[MAX_TOKENS] - decoding
    prefill = 0
    shares = 0
    while shares < whole[PREFILLING] and budget > 0:
        tokens = min(prefilling[shares, 1], budget)
        prefilling[shares, 2] = tokens
        budget -= tokens
        prefill += tokens
        shares += 1
    if not preempted:
        while whole[WAITING] > 0 and budget > 0 and decoding + whole[PREFILLING] < whole[MAX_SEQS]:
            request = whole[FIRST_WAITING]
            prompt = _prompt_tokens(engines, request)
            if now - engines.arrival[request] > real[PATIENCE]:
                # Whoever asked has gone away.
                whole[FIRST_WAITING] = engines.next_waiting[request]
                whole[WAITING] -= 1
                whole[QUEUED_TOKENS] -= prompt
                whole[OUTSTANDING] -= 1
                continue
            # The whole prompt must fit, and a token of every sequence that decodes beside it. One alone always may.
            if decoding + whole[PREFILLING] > 0 and whole[HELD_TOKENS] + prompt + decoding > whole[CACHE_TOKENS]:
                break
            whole[FIRST_WAITING] = engines.next_waiting[request]
            whole[WAITING] -= 1
            whole[QUEUED_TOKENS] -= prompt
            tokens = min(prompt, budget)
            place = whole[PREFILLING]
            prefilling[place, 0] = request
            prefilling[place, 1] = prompt
            prefilling[place, 2] = tokens
            whole[PREFILLING] += 1
            whole[HELD_TOKENS] += prompt
            budget -= tokens
            prefill += tokens
            shares += 1
    real[JUMP_START] = now
    whole[SHARES] = shares
    if shares > 0:
        real[STEP_SECONDS] = real[BASE] + real[PER_PREFILL] * prefill + real[PER_DECODING] * decoding
        whole[JUMP_STEPS] = 1
    elif decoding > 0:
        real[STEP_SECONDS] = real[BASE] + real[PER_PREFILL] * 0 + real[PER_DECODING] * decoding
        room = (whole[CACHE_TOKENS] - whole[HELD_TOKENS]) // decoding
        first_end = engines.decoding[row, 0, 0] >> ORDER_BITS
        whole[JUMP_STEPS] = max(1, min(first_end - whole[STEP], room))
    else:
        engines.next_event[row] = math.inf
        return
    engines.next_event[row] = now + whole[JUMP_STEPS] * real[STEP_SECONDS]


@compiled
def _book_prefill(engines: Engines, row: int, now: float) -> None:
    """Shares are given in order until the budget is spent, so that those that are done are the first ones."""
    whole, prefilling = engines.whole[row], engines.prefilling[row]
    done = 0
    for place in range(whole[SHARES]):
        prefilling[place, 1] -= prefilling[place, 2]
        if prefilling[place, 1] > 0:
            break
        done += 1
        request = prefilling[place, 0]
        prompt = _prompt_tokens(engines, request)
        left = engines.left[request]
        if left == 0:
            left = engines.output_tokens[request]
            engines.first_token[request] = now
            engines.first_order[engines.marks[FIRST_TOKENS]] = request
            engines.marks[FIRST_TOKENS] += 1
            whole[PROMPT_TOKENS] += engines.input_tokens[request]
        engines.left[request] = 0
        whole[GENERATION_TOKENS] += 1
        if left <= 1:
            _finish(engines, whole, request, prompt, now)
        else:
            whole[ORDER] += 1
            key = ((whole[STEP] + left - 1) << ORDER_BITS) | whole[ORDER]
            _push(engines.decoding[row], whole, key, request, prompt, whole[STEP])
    for place in range(done, whole[PREFILLING]):
        prefilling[place - done, 0] = prefilling[place, 0]
        prefilling[place - done, 1] = prefilling[place, 1]
    whole[PREFILLING] -= done


@compiled
def _prompt_tokens(engines: Engines, request: int) -> int:
    """Tokens to compute before the next one: the prompt, and after a preemption what was written already."""
    left = engines.left[request]
    written = engines.output_tokens[request] - left if left > 0 else 0
    prompt: int = engines.input_tokens[request] + written
    return prompt


@compiled
def _preempt(engines: Engines, row: int) -> None:
    """The newest sequence gives its cache back and waits at the head of the queue, to be computed again."""
    whole, heap = engines.whole[row], engines.decoding[row]
    whole[PREEMPTIONS] += 1
    if whole[PREFILLING] > 0:
        whole[PREFILLING] -= 1
        request = engines.prefilling[row, whole[PREFILLING], 0]
        whole[HELD_TOKENS] -= _prompt_tokens(engines, request)
    else:
        newest, newest_order = 0, -1
        for place in range(whole[DECODING]):
            order = heap[place, 0] & ((1 << ORDER_BITS) - 1)
            if order > newest_order:
                newest, newest_order = place, order
        request = heap[newest, 1]
        whole[HELD_TOKENS] -= heap[newest, 2] + whole[STEP] - heap[newest, 3]
        engines.left[request] = (heap[newest, 0] >> ORDER_BITS) - whole[STEP]
        _take_out(heap, whole, newest)
    engines.next_waiting[request] = whole[FIRST_WAITING] if whole[WAITING] > 0 else -1
    whole[FIRST_WAITING] = request
    if whole[WAITING] == 0:
        whole[LAST_WAITING] = request
    whole[WAITING] += 1
    whole[QUEUED_TOKENS] += _prompt_tokens(engines, request)


@compiled
def _finish(engines: Engines, whole: Any, request: int, held: int, now: float) -> None:
    whole[HELD_TOKENS] -= held
    whole[OUTSTANDING] -= 1
    whole[FINISHED] += 1
    engines.finish[request] = now
    engines.finish_order[engines.marks[FINISHES]] = request
    engines.marks[FINISHES] += 1


@compiled
def _push(heap: Any, whole: Any, key: int, request: int, held: int, joined: int) -> None:
    place = whole[DECODING]
    whole[DECODING] += 1
    while place > 0 and heap[(place - 1) >> 1, 0] > key:
        _copy(heap, (place - 1) >> 1, place)
        place = (place - 1) >> 1
    heap[place, 0] = key
    heap[place, 1] = request
    heap[place, 2] = held
    heap[place, 3] = joined


@compiled
def _pop(heap: Any, whole: Any) -> None:
    """Drop the first; the last takes its way down from there."""
    whole[DECODING] -= 1
    count = whole[DECODING]
    key, request, held, joined = heap[count, 0], heap[count, 1], heap[count, 2], heap[count, 3]
    place = 0
    while 2 * place + 1 < count:
        child = 2 * place + 1
        if child + 1 < count and heap[child + 1, 0] < heap[child, 0]:
            child += 1
        if heap[child, 0] >= key:
            break
        _copy(heap, child, place)
        place = child
    heap[place, 0] = key
    heap[place, 1] = request
    heap[place, 2] = held
    heap[place, 3] = joined


@compiled
def _take_out(heap: Any, whole: Any, place: int) -> None:
    """Remove from anywhere: up to the top, then drop it."""
    while place > 0:
        _copy(heap, (place - 1) >> 1, place)
        place = (place - 1) >> 1
    _pop(heap, whole)


@compiled
def _copy(heap: Any, source: int, target: int) -> None:
    for column in range(4):
        heap[target, column] = heap[source, column]
