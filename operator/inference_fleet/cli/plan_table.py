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
_LABEL_COLUMNS = 17
# Fewer accepted tokens a step than this are shown as none.
_NEGLIGIBLE_TOKENS = 0.05
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
    name = f"  variant {variant['name']}".ljust(_LABEL_COLUMNS - 1) + " "
    where = f"vLLM {variant['engineVersion']} on {variant['acceleratorClassName']}"
    memory, estimate = variant["memory"], variant["estimate"]
    if variant["devicesPerReplica"] is None:
        yield name, f"{where}: refused"
        if memory is not None:
            yield _label("memory"), _memory_words(memory)
            if memory["cheapestFix"]:
                yield _label("fits"), f"with {memory['cheapestFix']}"
        return
    devices = f" x{variant['devicesPerReplica']}" if variant["devicesPerReplica"] else ""
    price = (
        f"{variant['costPerHour']:.2f} {variant['currency']}/h per replica"
        if variant["currency"]
        else "no price (cost of the AcceleratorClass)"
    )
    limits, words = variant["effective"], variant["command"]
    longest = (
        f"{limits['maxModelLen']:,} tokens a sequence" if limits["maxModelLen"] else "sequences as long as fit (auto)"
    )
    yield name, f"{where}{devices}, {price}"
    yield _label("image"), variant["image"]
    yield (
        _label("limits"),
        f"{longest}, {limits['maxNumSeqs']:,} sequences, {limits['maxNumBatchedTokens']:,} tokens a step",
    )
    yield _label("memory"), _memory_words(memory)
    if memory["kvCacheTokens"]:
        yield _label("holds"), _holds_words(memory, limits)
    if memory["cheapestFix"]:
        yield _label("safer"), f"with {memory['cheapestFix']}"
    if estimate is not None:
        yield _label("speed"), _speed_words(estimate)
        yield _label("speculation"), _speculation_words(estimate)
    for number, each in enumerate(variant["alternatives"]):
        yield _label("" if number else "instead"), _alternative_words(each)
    if variant["objectives"]:
        yield _label("objectives"), "; ".join(_objective_words(each) for each in variant["objectives"])
    shown = words if full else words[:_FIRST_WORDS]
    more = "" if len(shown) == len(words) else f" ... (--full to see all {len(words) - 2})"
    yield _label("command"), f"{shlex.join(shown)}{more}"


def _label(word: str) -> str:
    return f"    {word}".ljust(_LABEL_COLUMNS)


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
    parts += [("KV cache", "#", memory["kvCacheBytes"]), ("other", "+", other)]
    parts.append(("free", ".", max(0, device - sum(part for _, _, part in parts))))
    bar = "".join(sign * round(_BAR_CHARACTERS * part / device) for _, sign, part in parts)[:_BAR_CHARACTERS]
    named = ", ".join(f"{name} {_size(part)} ({sign})" for name, sign, part in parts if part)
    return f"[{bar:.<{_BAR_CHARACTERS}}] {memory['verdict'].lower()}: {named} of {_size(device)} GiB a device"


def _holds_words(memory: Mapping[str, Any], limits: Mapping[str, Any]) -> str:
    tokens = memory["kvCacheTokens"]
    length = limits["maxModelLen"] or memory["largestMaxModelLen"]
    words = f"{tokens:,} tokens: {memory['concurrencyAtMaxModelLen']:,.1f} sequences of {length:,} tokens"
    average = tokens // limits["maxNumSeqs"]
    if 0 < average < length:
        words += f", or {limits['maxNumSeqs']:,} of {average:,}"
    longest = memory["largestMaxModelLen"]
    return f"{words}; longest sequence that fits: {longest:,}" if longest and longest > length else words


def _speed_words(estimate: Mapping[str, Any]) -> str:
    return (
        f"{_pace_words(estimate)} in all ({_BOUND_WORDS[estimate['boundBy']]}); first token"
        f" ~{_milliseconds(estimate['timeToFirstTokenSeconds'])} for a prompt of {estimate['promptTokens']:,} tokens"
        f" (estimate, +-{estimate['errorPercent']}%)"
    )


def _pace_words(estimate: Mapping[str, Any]) -> str:
    latency, rate = estimate["interTokenLatencySeconds"], estimate["tokensPerSecond"]
    one, many = _milliseconds(latency["atOne"]), _milliseconds(latency["atFull"])
    full = f"~{many} with {estimate['sequencesAtFull']:,}: ~{rate['atFull']:,.0f} tokens/s"
    return f"~{one} per token with 1 sequence, {full}"


def _speculation_words(estimate: Mapping[str, Any]) -> str:
    speculation, full = estimate["speculation"], estimate["sequencesAtFull"]
    depth, pay = speculation["numSpeculativeTokens"], speculation["acceptedTokensToPay"]
    one, many = (_payment_words(pay[at], depth) for at in ("atOne", "atFull"))
    where = f"{one} with 1 sequence, {many} with {full:,}" if one != many else f"{one} with 1 to {full:,} sequences"
    return f"{depth} guessed tokens a step pay off {where}"


def _payment_words(accepted: float, depth: int) -> str:
    """How many of the guessed tokens must be accepted in a step, on average."""
    if accepted >= depth:
        return "never"
    return f"from ~{accepted:.1f} accepted" if accepted >= _NEGLIGIBLE_TOKENS else "whatever is accepted"


def _alternative_words(each: Mapping[str, Any]) -> str:
    return f"{each['change']}: {_pace_words(each)}"


def _objective_words(objective: Mapping[str, Any]) -> str:
    words = f"{objective['name']} {objective['thresholdMilliseconds']:,} ms"
    if objective["metByIdleReplica"] is None:
        return f"{words}: not known"
    return f"{words}: {'met' if objective['metByIdleReplica'] else 'MISSED even'} by an idle replica"


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
