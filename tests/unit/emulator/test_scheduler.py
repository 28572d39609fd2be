"""The emulated scheduler: batch, budget, cache, queue, preemption, speculation, as vLLM's has them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from builders.engine import make_scheduler, make_sequence, run_until_idle
from inference_fleet.emulator.scheduler import Rejection, SchedulingPolicy, Speculation
from inference_fleet.emulator.sequence import FinishReason, Sequence


def test_first_token_comes_at_the_end_of_the_step_that_completes_the_prefill() -> None:
    scheduler = make_scheduler()
    sequence = make_sequence(prompt=4, output=3)
    scheduler.submit(sequence)
    step = scheduler.start_step(now=5.0)
    assert step is not None
    assert round(step.seconds, 6) == 0.014  # 10 ms + 4 x 1 ms
    outcome = scheduler.finish_step(step)
    assert [(e.tokens, e.finished) for e in outcome.emissions] == [(1, None)]


def test_decode_step_costs_base_and_one_sequence() -> None:
    scheduler = make_scheduler()
    scheduler.submit(make_sequence(prompt=4, output=3))
    first = scheduler.start_step(now=0.0)
    assert first is not None
    scheduler.finish_step(first)
    second = scheduler.start_step(now=1.0)
    assert second is not None
    assert (second.prefill_tokens, second.decoding_sequences, round(second.seconds, 6)) == (0, 1, 0.012)


def test_long_prompt_is_computed_in_chunks_of_the_budget_beside_decodes() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=8)
    scheduler.submit(make_sequence(prompt=2, output=9))
    scheduler.finish_step(scheduler.start_step(now=0.0))  # type: ignore[arg-type]
    long = make_sequence(prompt=20, output=1)
    scheduler.submit(long)
    shares = []
    while long.finished is None:
        step = scheduler.start_step(now=0.0)
        assert step is not None
        shares.append((step.prefill_tokens, step.decoding_sequences))
        scheduler.finish_step(step)
    # The decode keeps its one token of the budget of 8; 7 + 7 + 6 = 20.
    assert shares == [(7, 1), (7, 1), (6, 1)]


def test_without_chunking_a_prompt_waits_for_a_budget_that_holds_it() -> None:
    scheduler = make_scheduler(max_num_batched_tokens=10, enable_chunked_prefill=False)
    scheduler.submit(make_sequence(prompt=6))
    scheduler.submit(make_sequence(prompt=6))
    step = scheduler.start_step(now=0.0)
    assert step is not None
    assert step.prefill_tokens == 6  # with chunking it would be 10
    assert len(scheduler.waiting) == 1


def test_batch_never_exceeds_max_num_seqs_and_the_rest_waits_in_order() -> None:
    scheduler = make_scheduler(max_num_seqs=2)
    sequences = [make_sequence(at=float(n)) for n in range(4)]
    for sequence in sequences:
        scheduler.submit(sequence)
    scheduler.start_step(now=9.0)
    assert scheduler.running == sequences[:2]
    assert list(scheduler.waiting) == sequences[2:]


def test_full_cache_preempts_the_last_sequence_which_computes_its_tokens_again() -> None:
    # 4 blocks of 4: two sequences of 7 + 3 tokens need 3 blocks each at their end.
    scheduler = make_scheduler(num_blocks=4)
    first, second = make_sequence(prompt=7, output=4), make_sequence(prompt=7, output=4)
    scheduler.submit(first)
    scheduler.submit(second)
    run_until_idle(scheduler)
    assert (first.preemptions, second.preemptions) == (0, 1)
    assert (first.output_tokens, second.output_tokens) == (4, 4)
    assert scheduler.free_blocks == 4


def test_prompt_that_does_not_fit_now_blocks_the_queue_behind_it() -> None:
    scheduler = make_scheduler(num_blocks=4, max_num_batched_tokens=64)
    big = make_sequence(prompt=12, output=2)
    scheduler.submit(make_sequence(prompt=4, output=2))
    scheduler.submit(big)
    scheduler.submit(make_sequence(prompt=1, output=1))
    scheduler.start_step(now=0.0)
    # First come, first served: the small one behind does not slip past.
    assert len(scheduler.running) == 2
    assert big in scheduler.running


def test_priority_policy_serves_the_smaller_number_first_and_preempts_the_larger() -> None:
    scheduler = make_scheduler(policy=SchedulingPolicy.PRIORITY, max_num_seqs=1)
    low, high = make_sequence(priority=5), make_sequence(priority=-1, at=1.0)
    scheduler.submit(low)
    scheduler.submit(high)
    scheduler.start_step(now=2.0)
    assert scheduler.running == [high]

    tight = make_scheduler(policy=SchedulingPolicy.PRIORITY, num_blocks=4)
    low, high = make_sequence(prompt=7, output=4, priority=5), make_sequence(prompt=7, output=4, priority=0, at=1.0)
    tight.submit(low)
    tight.submit(high)
    run_until_idle(tight)
    assert (low.preemptions, high.preemptions) == (1, 0)  # first come first served would preempt `high`


def test_full_queue_turns_away_and_says_by_which_limit() -> None:
    scheduler = make_scheduler(max_num_queued_reqs=1)
    assert scheduler.submit(make_sequence()) is None
    assert scheduler.submit(make_sequence()) is Rejection.MAX_NUM_QUEUED_REQS
    by_tokens = make_scheduler(max_num_queued_tokens=7)
    assert by_tokens.submit(make_sequence(prompt=4)) is None
    assert by_tokens.submit(make_sequence(prompt=4)) is Rejection.MAX_NUM_QUEUED_TOKENS


def test_aborted_sequence_frees_its_blocks_and_its_open_step_forgets_it() -> None:
    scheduler = make_scheduler()
    sequence, waiting = make_sequence(), make_sequence()
    scheduler.submit(sequence)
    step = scheduler.start_step(now=0.0)
    assert step is not None
    scheduler.submit(waiting)
    scheduler.abort(sequence)
    scheduler.abort(waiting)
    assert scheduler.finish_step(step).emissions == ()
    assert sequence.finished is waiting.finished is FinishReason.ABORT
    assert scheduler.free_blocks == scheduler.limits.num_blocks
    assert not scheduler.has_work
    scheduler.abort(sequence, FinishReason.ERROR)
    assert sequence.finished is FinishReason.ABORT


def test_long_prefill_threshold_caps_one_sequences_share() -> None:
    scheduler = make_scheduler(long_prefill_token_threshold=5)
    scheduler.submit(make_sequence(prompt=12))
    step = scheduler.start_step(now=0.0)
    assert step is not None
    assert step.prefill_tokens == 5


def test_speculation_writes_the_expected_mean_and_never_beyond_the_limit() -> None:
    scheduler = make_scheduler(speculation=Speculation(num_tokens=3, acceptance_rate=0.5))
    sequence = make_sequence(prompt=4, output=101)
    scheduler.submit(sequence)
    steps = 0
    while sequence.finished is None:
        step = scheduler.start_step(now=0.0)
        assert step is not None
        scheduler.finish_step(step)
        steps += 1
    assert sequence.output_tokens == 101
    # 0.5 + 0.25 + 0.125 accepted a step: 100 tokens in 100 / 1.875 = 53.3 steps after the prefill.
    assert 53 <= steps - 1 <= 56


def test_queue_time_is_not_negative_when_a_late_step_takes_a_request_that_came_after_its_start() -> None:
    scheduler = make_scheduler()
    sequence = make_sequence(at=2.0)
    scheduler.submit(sequence)
    scheduler.start_step(now=1.9)
    assert sequence.scheduled_at == 2.0


_SEQUENCES = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 20), st.integers(-2, 2), st.integers(0, 30), st.booleans()),
    min_size=1,
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(
    load=_SEQUENCES,
    max_num_seqs=st.integers(1, 6),
    spare_tokens=st.integers(0, 30),
    num_blocks=st.integers(15, 40),
    policy=st.sampled_from(list(SchedulingPolicy)),
    drafts=st.integers(0, 3),
)
def test_conservation(
    load: list[tuple[int, int, int, int, bool]],
    max_num_seqs: int,
    spare_tokens: int,
    num_blocks: int,
    policy: SchedulingPolicy,
    drafts: int,
) -> None:
    """Blocks, slots, budget and tokens are conserved; everything submitted ends, once, with the tokens it was due."""
    limit = max_num_seqs * (1 + drafts) + spare_tokens
    scheduler = make_scheduler(
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=limit,
        num_blocks=num_blocks + drafts,
        policy=policy,
        speculation=Speculation(num_tokens=drafts, acceptance_rate=0.7) if drafts else None,
    )
    arrivals = sorted(load, key=lambda item: item[3])
    submitted: list[Sequence] = []
    aborted: list[Sequence] = []
    emitted: dict[Sequence, int] = {}
    now = 0.0
    for number in range(5_000):
        while arrivals and arrivals[0][3] <= number:
            prompt, output, priority, _, abort = arrivals.pop(0)
            sequence = make_sequence(prompt=prompt, output=output, priority=priority, at=now)
            assert scheduler.submit(sequence) is None
            submitted.append(sequence)
            if abort:
                aborted.append(sequence)
        if aborted and number % 3 == 0:
            scheduler.abort(aborted.pop())
        step = scheduler.start_step(now=now)
        if step is None:
            # Only an empty engine has no step: no deadlock.
            assert not scheduler.has_work
            if not arrivals:
                break
            continue
        assert sum(tokens for _, tokens in step.shares) <= limit
        assert len(scheduler.running) <= max_num_seqs
        assert sum(s.blocks for s in scheduler.running) + scheduler.free_blocks == scheduler.limits.num_blocks
        assert all(s.blocks == 0 and s.computed_tokens == 0 for s in scheduler.waiting)
        assert {s for s, _ in step.shares} <= set(scheduler.running)
        assert step.ends_at > now
        for emission in scheduler.finish_step(step).emissions:
            emitted[emission.sequence] = emitted.get(emission.sequence, 0) + emission.tokens
        now = step.ends_at
    else:
        raise AssertionError("never came to rest")
    assert scheduler.free_blocks == scheduler.limits.num_blocks
    for sequence in submitted:
        assert emitted.get(sequence, 0) == sequence.output_tokens <= sequence.output_limit
        if sequence.finished is FinishReason.LENGTH:
            assert sequence.output_tokens == sequence.output_limit
        else:
            assert sequence.finished is FinishReason.ABORT
