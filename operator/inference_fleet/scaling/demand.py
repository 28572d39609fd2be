"""The load of the whole fleet as one number: replicas at the nominal limit. It does not depend on how many run.

Source: design, sections 2 and 3.2, with the capacity of a steady state in place of a share for prefill (see need_of).
"""

from __future__ import annotations

from collections.abc import Collection
from operator import add
from typing import Final, NamedTuple

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.signals import FleetLoad
from inference_fleet.scaling.types import VariantLimits

# Without a measured mix: the mean chat of Azure 2023.
DEFAULT_PROMPT_TOKENS: Final = 1155.0
DEFAULT_OUTPUT_TOKENS: Final = 211.0
KEPT_PER_TICK: Final = 0.9
# A replica is reckoned to do this share of its possible work, however tight the pace.
LEAST_SHARE: Final = 0.15
# Of a cache or a batch: fuller ones preempt or queue.
USABLE_SHARE: Final = 0.92
# A backlog is to be worked off in this time.
BACKLOG_SECONDS: Final = 30.0
# Less demand than this makes no difference to the replicas; it keeps logarithms finite.
LEAST_DEMAND: Final = 0.02
# Of a full replica's time, the least that is not work by tokens; it keeps quotients finite.
LEAST_LEFT: Final = 1e-3


class Traffic(NamedTuple):
    """Decayed sums from which the mean lengths follow; a pause leaves them as they are."""

    prompt_tokens: float = 0.0
    prefills: float = 0.0
    output_tokens: float = 0.0
    finishes: float = 0.0
    cached_tokens: float = 0.0
    running: float = 0.0
    sequence_seconds: float = 0.0

    @property
    def mean_prompt(self) -> float:
        """Tokens of a prompt that are computed."""
        return self.prompt_tokens / self.prefills if self.prefills >= 1 else DEFAULT_PROMPT_TOKENS

    @property
    def mean_output(self) -> float:
        """Tokens of an answer."""
        # Of an answer under way half is written, on average. Without it the first answers of a rise count as endless:
        # their tokens are there, and none has finished.
        answers = (self.finishes + self.prefills) / 2
        return self.output_tokens / answers if answers >= 1 else DEFAULT_OUTPUT_TOKENS

    @property
    def service_seconds(self) -> float:
        """How long a request runs, by Little's law; 0 while unknown."""
        return self.sequence_seconds / self.finishes if self.finishes >= 1 else 0.0

    @property
    def tokens_per_sequence(self) -> float:
        """Cache that a running sequence takes, on average."""
        if self.running >= 1:
            return self.cached_tokens / self.running
        return self.mean_prompt + self.mean_output

    def learned(self, load: FleetLoad) -> Traffic:
        """With what moved in one tick."""
        if not load.changes:
            return self
        # By columns, so that every sum is one pass.
        _, _, seconds, prompts, tokens, finishes, _, _, _, _, _, begun, _ = zip(*load.changes, strict=True)
        prompt, generated, finished = sum(prompts), sum(tokens), sum(finishes)
        if not prompt + generated + finished:
            return self
        prefills = sum(map(add, finishes, begun))
        known = [variant for variant in load.variants if variant.kv_tokens is not None and variant.running > 0]
        elapsed = sum(seconds) / len(seconds)
        return Traffic(
            prompt_tokens=self.prompt_tokens * KEPT_PER_TICK + prompt,
            prefills=max(0.0, self.prefills * KEPT_PER_TICK + prefills),
            output_tokens=self.output_tokens * KEPT_PER_TICK + generated,
            finishes=self.finishes * KEPT_PER_TICK + finished,
            cached_tokens=self.cached_tokens * KEPT_PER_TICK + sum([variant.kv_tokens or 0.0 for variant in known]),
            running=self.running * KEPT_PER_TICK + sum([variant.running for variant in known]),
            sequence_seconds=self.sequence_seconds * KEPT_PER_TICK + load.running / load.moving_share * elapsed,
        )


class Rates(NamedTuple):
    """Per second, over the fleet: requests that arrived, prompt tokens that arrived, tokens generated."""

    arrivals: float
    prompt: float
    generated: float


def rates_of(load: FleetLoad, traffic: Traffic) -> Rates | None:
    """The fleet's rates; None if no pod has a newer sample than before.

    Arrivals are what finished and what was added to those under way: completions alone under-count exactly when it
    matters. Rejected requests have arrived too, with the mean lengths.
    """
    arrivals = prompt = generated = 0.0
    mean_prompt, mean_output = traffic.mean_prompt, traffic.mean_output
    for _, _, seconds, prompts, tokens, finished, rejected, _, _, _, queued, begun, _ in load.changes:
        arrivals += (finished + begun + queued + rejected) / seconds
        prompt += (prompts + (queued + rejected) * mean_prompt) / seconds
        generated += (tokens + (begun + queued + rejected) * mean_output) / seconds
    if not load.changes:
        return None
    share = load.moving_share
    rates = Rates(max(0.0, arrivals) * share, max(0.0, prompt) * share, max(0.0, generated) * share)
    if load.arrival_rate is None:
        return rates
    # A gateway knows what came. What the engines have not seen of it, or have seen before, is of mean length.
    unseen = load.arrival_rate - rates.arrivals
    return Rates(
        load.arrival_rate,
        max(0.0, rates.prompt + unseen * mean_prompt),
        max(0.0, rates.generated + unseen * mean_output),
    )


class Need(NamedTuple):
    """Replicas of one variant that the load takes at the nominal limit: by tokens that come, by what they hold.

    queue_seconds: of one replica, to serve what waits. unit: seconds of one replica per prompt token; request_seconds:
    for a mean request. full: requests under way in a full replica; fixed: the share of their time in it that is the
    same however few they are.
    """

    compute: float
    space: float
    queue_seconds: float
    unit: float
    request_seconds: float
    full: float
    fixed: float

    @property
    def demand(self) -> float:
        """What limits first."""
        return max(self.compute, self.space, LEAST_DEMAND)

    @property
    def backlog(self) -> float:
        """Replicas that work the queue off in 30 s."""
        return self.queue_seconds / BACKLOG_SECONDS


def need_of(
    variant: VariantLimits,
    step: StepTimeModel,
    *,
    rates: Rates,
    load: FleetLoad,
    traffic: Traffic,
    pace_seconds: float,
) -> Need:
    """What the whole fleet's load takes if this variant alone carried it.

    In a steady state a replica that serves r requests per second, of p prompt and o output tokens, takes steps of
    s = b0 + b1 p r s + b2 n and holds n = r o s sequences, so s = b0 / (1 - r (b1 p + b2 o)). The pace s <= S holds
    while r (b1 p + b2 o) <= 1 - b0 / S; the batch holds n <= m while r (b1 p + b2 o + b0 o / m) <= 1. Both are linear
    in tokens: b1 per prompt token, b2 per output token, and a share 1/m of the base step.
    Example: b0 33 ms, b1 190 us, b2 60 us, S 200 ms, m 80, p 964, o 206, 10 requests per second: 1.95 seconds of
    work per second; by pace 2.34 replicas, by space 2.80.
    """
    b0, b1, b2 = step.base_seconds, step.per_prefill_token_seconds, step.per_decoding_sequence_seconds
    usable = max(LEAST_SHARE, 1 - b0 / pace_seconds)
    sequences, mean_output = _most_sequences(variant, traffic), traffic.mean_output
    work = b1 * rates.prompt + b2 * rates.generated
    by_pace, by_space = work / usable, work + b0 / sequences * rates.generated
    work_of_one = b1 * traffic.mean_prompt + b2 * mean_output
    request_seconds = max(work_of_one / usable, work_of_one + b0 / sequences * mean_output)
    held = max(_cache(variant, load), load.running / variant.max_num_seqs)
    # n = r o s with s = b0 / (1 - r work) at the nominal r = 1 / request_seconds.
    left = max(request_seconds - work_of_one, LEAST_LEFT * request_seconds)
    return Need(
        compute=max(by_pace, by_space),
        space=held / USABLE_SHARE,
        queue_seconds=(load.waiting + load.rejected) * request_seconds,
        unit=b1 / usable,
        request_seconds=request_seconds,
        full=b0 * mean_output / left,
        fixed=left / request_seconds,
    )


def clogged(load: FleetLoad, *, pods: Collection[str], request_seconds: float, patience_seconds: float) -> int:
    """Of these pods, those whose own queue takes longer than a caller waits for a first token: what comes is late.

    request_seconds: of their variant, for a mean request.
    """
    return sum(1 for name, pod in load.pods if pod.waiting * request_seconds > patience_seconds and name in pods)


def _most_sequences(variant: VariantLimits, traffic: Traffic) -> float:
    """Sequences that the batch or the cache of one replica holds, by what a running one was seen to take."""
    most = variant.max_num_seqs * USABLE_SHARE
    if variant.kv_cache_tokens:
        most = min(most, variant.kv_cache_tokens * USABLE_SHARE / max(traffic.tokens_per_sequence, 1.0))
    return max(most, 1.0)


def _cache(variant: VariantLimits, load: FleetLoad) -> float:
    """Whole caches of this variant that are in use."""
    if not variant.kv_cache_tokens or any(one.kv_tokens is None for one in load.variants):
        return sum([one.kv_share for one in load.variants]) * load.share
    return sum([one.kv_tokens or 0.0 for one in load.variants]) * load.share / variant.kv_cache_tokens
