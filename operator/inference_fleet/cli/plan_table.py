"""A result of `inference-fleet/plan/v1` for people: one block a variant, units everywhere, at most 120 columns."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

_GIBIBYTE = 2**30
# Flags that say the most; the others are shown with --full.
_FIRST_WORDS = 6
_BAR_CHARACTERS = 32
_COLUMNS = 118
_BOUND_WORDS = {"Bandwidth": "bandwidth-bound", "Compute": "compute-bound", "KVCapacity": "bound by the KV cache"}


def table(result: Mapping[str, Any], *, full: bool) -> str:
    """One deployment. full: with the whole command line."""
    counts = [_count(len(result[key]), key) for key in ("refusals", "warnings") if result[key]]
    verdict = ", ".join(["accepted" if result["accepted"] else "refused", *counts])
    name = f"{result['name'] or '(no name)'} ({result['namespace'] or '(no namespace)'})"
    lines = [f"{name:<58} {verdict}"]
    for variant in result["variants"]:
        lines += _variant_lines(variant, full=full)
    cost = result["cost"]
    if cost["currency"]:
        lines.append(f"  cost     {cost['minPerHour']:.2f} - {cost['maxPerHour']:.2f} {cost['currency']}/h")
    for kind in ("refusals", "warnings"):
        for remark in result[kind]:
            lines += _wrapped(f"  {kind[:-1]:<8} ", f"{remark['path']}: {remark['message']}")
            if remark["suggestion"]:
                lines += _wrapped(" " * 11, remark["suggestion"])
    return "\n".join(lines)


def _variant_lines(variant: Mapping[str, Any], *, full: bool) -> Iterator[str]:
    where = f"vLLM {variant['engineVersion']} on {variant['acceleratorClassName']}"
    memory, estimate = variant["memory"], variant["estimate"]
    if variant["devicesPerReplica"] is None:
        yield f"  variant {variant['name']:<12} {where:<44} refused"
        if memory is not None:
            yield f"    memory   {_memory_words(memory)}"
        return
    devices = f" x{variant['devicesPerReplica']}" if variant["devicesPerReplica"] else ""
    price = f"{variant['costPerHour']:.2f} {variant['currency']}/h per replica" if variant["currency"] else "no price"
    limits, words = variant["effective"], variant["command"]
    length = f"{limits['maxModelLen']:,}" if limits["maxModelLen"] else "auto (the engine fits it to its memory)"
    yield f"  variant {variant['name']:<12} {where + devices:<44} {price}"
    yield f"    image    {variant['image']}"
    yield (
        f"    limits   {length} tokens a sequence, {limits['maxNumSeqs']:,} sequences,"
        f" {limits['maxNumBatchedTokens']:,} tokens a step"
    )
    yield f"    memory   {_memory_words(memory)}"
    if memory["kvCacheTokens"]:
        yield f"    holds    {_holds_words(memory, limits)}"
    if estimate is not None:
        yield from _wrapped("    speed    ", _speed_words(estimate))
    if variant["objectives"]:
        yield from _wrapped("    goals    ", "; ".join(_goal_words(goal) for goal in variant["objectives"]))
    shown = words if full else words[:_FIRST_WORDS]
    more = "" if len(shown) == len(words) else f" ...   (--full to see all {len(words) - 2})"
    yield f"    command  {shlex.join(shown)}{more}"


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
    return f"{words} or {limits['maxNumSeqs']:,} of {average:,}" if 0 < average < length else words


def _speed_words(estimate: Mapping[str, Any]) -> str:
    latency, rate = estimate["interTokenLatencySeconds"], estimate["tokensPerSecond"]
    full = f"{estimate['sequencesAtFull']:,} ({_BOUND_WORDS[estimate['boundBy']]}), ~{rate['atFull']:,.0f} tokens/s"
    return (
        f"~{_milliseconds(latency['atOne'])} per token at 1, ~{_milliseconds(latency['atFull'])} at {full}; first"
        f" token ~{_milliseconds(estimate['timeToFirstTokenSeconds'])} for {estimate['promptTokens']:,} prompt tokens"
        f" (estimate, +-{estimate['errorPercent']} %)"
    )


def _goal_words(goal: Mapping[str, Any]) -> str:
    words = f"{goal['name']} {goal['thresholdMilliseconds']:,} ms"
    if goal["metByIdleReplica"] is None:
        return f"{words}: not known"
    return f"{words}: {'met' if goal['metByIdleReplica'] else 'MISSED even'} by an idle replica"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _size(count: int) -> str:
    return f"{count / _GIBIBYTE:.1f}"


def _wrapped(head: str, text: str) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(
        head + text, _COLUMNS, subsequent_indent=indent, break_long_words=False, drop_whitespace=True
    ) or [head]


def _count(number: int, plural: str) -> str:
    return f"{number} {plural if number != 1 else plural[:-1]}"
