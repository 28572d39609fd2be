"""A result of `inference-fleet/plan/v1` for people: one block a variant, units everywhere, as wide as the terminal."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

_GIBIBYTE = 2**30
# Flags that say the most; the others are shown with --full.
_FIRST_WORDS = 6
_BAR_CHARACTERS = 32
# Wider lines are hard to read; narrower than this nothing is readable anyway.
_MOST_COLUMNS = 118
_LEAST_COLUMNS = 60
_BOUND_WORDS = {"Bandwidth": "bandwidth-bound", "Compute": "compute-bound", "KVCapacity": "bound by the KV cache"}


def table(result: Mapping[str, Any], *, full: bool, columns: int = _MOST_COLUMNS) -> str:
    """One deployment. full: with the whole command line."""
    columns = max(_LEAST_COLUMNS, min(_MOST_COLUMNS, columns))
    counts = [_count(len(result[key]), key) for key in ("refusals", "warnings") if result[key]]
    verdict = ", ".join(["accepted" if result["accepted"] else "refused", *counts])
    name = f"{result['name'] or '(no name)'} ({result['namespace'] or '(no namespace)'})"
    lines = [f"{name:<{columns // 2 - 1}} {verdict}"]
    for variant in result["variants"]:
        for head, text in _variant_lines(variant, full=full):
            lines += _wrapped(head, text, columns)
    cost = result["cost"]
    if cost["currency"]:
        lines.append(f"  cost     {cost['minPerHour']:.2f} - {cost['maxPerHour']:.2f} {cost['currency']}/h")
    for kind in ("refusals", "warnings"):
        for remark in result[kind]:
            words = f"{remark['path']}: {remark['message']}"
            lines += _wrapped(f"  {kind[:-1]:<8} ", words if words[-1] in ".?" else f"{words}.", columns)
            if remark["suggestion"]:
                lines += _wrapped(" " * 11, remark["suggestion"], columns)
    return "\n".join(lines)


def _variant_lines(variant: Mapping[str, Any], *, full: bool) -> Iterator[tuple[str, str]]:
    """Head and text of each line; a text may be wrapped."""
    name = f"  variant {variant['name']:<8} "
    where = f"vLLM {variant['engineVersion']} on {variant['acceleratorClassName']}"
    memory, estimate = variant["memory"], variant["estimate"]
    if variant["devicesPerReplica"] is None:
        yield name, f"{where}: refused"
        if memory is not None:
            yield "    memory   ", _memory_words(memory)
            if memory["cheapestFix"]:
                yield "    fits     ", f"with {memory['cheapestFix']}"
        return
    devices = f" x{variant['devicesPerReplica']}" if variant["devicesPerReplica"] else ""
    price = f"{variant['costPerHour']:.2f} {variant['currency']}/h per replica" if variant["currency"] else "no price"
    limits, words = variant["effective"], variant["command"]
    longest = (
        f"{limits['maxModelLen']:,} tokens a sequence" if limits["maxModelLen"] else "sequences as long as fit (auto)"
    )
    yield name, f"{where}{devices}, {price}"
    yield "    image    ", variant["image"]
    yield (
        "    limits   ",
        f"{longest}, {limits['maxNumSeqs']:,} sequences, {limits['maxNumBatchedTokens']:,} tokens a step",
    )
    yield "    memory   ", _memory_words(memory)
    if memory["kvCacheTokens"]:
        yield "    holds    ", _holds_words(memory, limits)
    if memory["cheapestFix"]:
        yield "    safer    ", f"with {memory['cheapestFix']}"
    if estimate is not None:
        yield "    speed    ", _speed_words(estimate)
        yield "    guesses  ", _speculation_words(estimate)
    if variant["alternatives"]:
        yield "    instead  ", "; ".join(_alternative_words(each) for each in variant["alternatives"])
    if variant["objectives"]:
        yield "    goals    ", "; ".join(_goal_words(goal) for goal in variant["objectives"])
    shown = words if full else words[:_FIRST_WORDS]
    more = "" if len(shown) == len(words) else f" ... (--full to see all {len(words) - 2})"
    yield "    command  ", f"{shlex.join(shown)}{more}"


def _memory_words(memory: Mapping[str, Any]) -> str:
    device, budget = memory["deviceBytes"], memory["budgetBytes"]
    if memory["weightsBytes"] is None:
        return f"{_size(budget)} of {_size(device)} GiB a device; the model's size is not known (model.shape)"
    if memory["kvCacheBytes"] is None:
        known = f"weights {_size(memory['weightsBytes'])} GiB"
        if memory["kvBytesPerToken"]:
            known += f", {memory['kvBytesPerToken'] / 1024:.0f} KiB of cache a token"
        return f"{_size(budget)} of {_size(device)} GiB a device; {known}"
    other = sum(memory[key] or 0 for key in ("activationBytes", "cudaGraphBytes", "runtimeBytes", "loraBytes"))
    parts = [("weights", "=", memory["weightsBytes"]), ("draft", "-", memory["draftModelBytes"] or 0)]
    parts += [("KV", "#", memory["kvCacheBytes"]), ("other", "+", other)]
    parts.append(("free", ".", max(0, device - sum(part for _, _, part in parts))))
    bar = "".join(sign * round(_BAR_CHARACTERS * part / device) for _, sign, part in parts)[:_BAR_CHARACTERS]
    named = ", ".join(f"{name} {_size(part)}" for name, _, part in parts if part)
    return f"[{bar:.<{_BAR_CHARACTERS}}] {memory['verdict'].lower()}: {named} of {_size(device)} GiB a device"


def _holds_words(memory: Mapping[str, Any], limits: Mapping[str, Any]) -> str:
    tokens = memory["kvCacheTokens"]
    length = limits["maxModelLen"] or memory["largestMaxModelLen"]
    words = f"{tokens:,} tokens: {memory['concurrencyAtMaxModelLen']:,.1f} sequences of {length:,}"
    average = tokens // limits["maxNumSeqs"]
    if 0 < average < length:
        words += f" or {limits['maxNumSeqs']:,} of {average:,}"
    longest = memory["largestMaxModelLen"]
    return f"{words}; the longest that fits: {longest:,}" if longest and longest > length else words


def _speed_words(estimate: Mapping[str, Any]) -> str:
    latency, rate = estimate["interTokenLatencySeconds"], estimate["tokensPerSecond"]
    full = f"{estimate['sequencesAtFull']:,} ({_BOUND_WORDS[estimate['boundBy']]}), ~{rate['atFull']:,.0f} tokens/s"
    return (
        f"~{_milliseconds(latency['atOne'])} per token at 1, ~{_milliseconds(latency['atFull'])} at {full}; first"
        f" token ~{_milliseconds(estimate['timeToFirstTokenSeconds'])} for {estimate['promptTokens']:,} prompt tokens"
        f" (estimate, +-{estimate['errorPercent']} %)"
    )


def _speculation_words(estimate: Mapping[str, Any]) -> str:
    speculation = estimate["speculation"]
    depth, pay = speculation["numSpeculativeTokens"], speculation["acceptedTokensToPay"]
    full = estimate["sequencesAtFull"]
    never = pay["atFull"] >= depth
    at_full = f"never at {full:,}" if never else f"~{pay['atFull']:.1f} at {full:,}"
    return f"{depth} speculative tokens pay from ~{pay['atOne']:.1f} accepted a step at 1, {at_full}"


def _alternative_words(each: Mapping[str, Any]) -> str:
    latency, rate = each["interTokenLatencySeconds"], each["tokensPerSecond"]
    full = f"~{_milliseconds(latency['atFull'])} at {each['sequencesAtFull']:,}, ~{rate['atFull']:,.0f} tokens/s"
    return f"{each['change']}: ~{_milliseconds(latency['atOne'])} per token at 1, {full}"


def _goal_words(goal: Mapping[str, Any]) -> str:
    words = f"{goal['name']} {goal['thresholdMilliseconds']:,} ms"
    if goal["metByIdleReplica"] is None:
        return f"{words}: not known"
    return f"{words}: {'met' if goal['metByIdleReplica'] else 'MISSED even'} by an idle replica"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _size(count: int) -> str:
    return f"{count / _GIBIBYTE:.1f}"


def _wrapped(head: str, text: str, columns: int) -> list[str]:
    indent = " " * len(head)
    # Broken at spaces only: a flag or a path in two pieces cannot be copied.
    return textwrap.wrap(
        head + text,
        columns,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [head]


def _count(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural[:-1]}"
