"""Generates docs/reference/engine-arguments.md from the data of each vLLM release."""

from __future__ import annotations

from collections.abc import Iterable

from engine_effects import EFFECTS
from engine_flag_history import FlagHistory, flag_history

from inference_fleet.api.vllm_engine import LOOKUP_METHODS
from inference_fleet.engine.checks.drafts import NEEDS_DRAFT, WITHOUT_DRAFT
from inference_fleet.engine.checks.speculation import AHEAD, NOT_OFFERED, OWN_DEPTH
from inference_fleet.engine.versions import EngineVersion, Flag, engine_version, known_versions

PATH = "docs/reference/engine-arguments.md"

_INTRODUCTION = """\
# Engine arguments

This page lists which field of an InferenceDeployment sets which flag of `vllm serve`, which other flags `extraArgs`
accepts, and which are denied, for vLLM {releases}. `inference-fleet engine flags --version VERSION` prints the list for
one release, and `inference-fleet engine describe --python PATH` compares an installed vLLM with it.

These flags are always passed: `--max-model-len` (`auto` if neither the spec nor the model's shape gives a length),
`--max-num-seqs`, `--max-num-batched-tokens`, `--gpu-memory-utilization`, `--served-model-name`, `--host`,
`--port`, `--shutdown-timeout`, `--allowed-media-domains`, `--disable-access-log-for-endpoints`. Switches are written
`--enable-x` and `--no-enable-x`, which every release accepts.

**Since** is the first minor release that has the flag; `{oldest}` means that one or an older one. **Until** is the last
release that has it. Values, marks and required other flags are those of {newest}.
"""


def generate() -> dict[str, str]:
    releases = [release for release in map(engine_version, known_versions()) if isinstance(release, EngineVersion)]
    newest = releases[-1]
    history = flag_history()
    parts = [
        _INTRODUCTION.format(
            releases=", ".join(release.version for release in releases),
            oldest=min(history.since.values(), key=lambda minor: int(minor.partition(".")[2])),
            newest=newest.minor,
        ),
        "## Flags with a field of their own\n",
        _table(
            ("Field", "Flag", "Since", "Latency", "Throughput", "Memory", "Quality"),
            sorted(_field(flag, history) for flag in _marked(newest, "typed") if _said_by(flag)),
        ),
        "## Flags that extraArgs takes\n",
        _table(
            ("Flag", "Value", "Works only beside", "Since"),
            (
                (f"`{flag.flag}`", _value(flag), f"`{flag.needs}`" if flag.needs else "", history.since[flag.flag])
                for flag in sorted(_marked(newest, "allowed"), key=lambda each: each.flag)
            ),
        ),
        "## Flags that are denied\n\nAnything that stands in none of these tables is denied too.\n",
        _table(
            ("Flag", "Why", "Since"),
            (
                (f"`{flag.flag}`", flag.reason or "", history.since[flag.flag])
                for flag in sorted(_marked(newest, "denied"), key=lambda each: (each.reason or "", each.flag))
            ),
        ),
        "## Flags that are gone\n\nNo release that is supported has them; a manifest from before may.\n",
        _table(
            ("Flag", "Since", "Until"),
            ((f"`{flag}`", history.since[flag], until) for flag, until in sorted(history.until.items())),
        ),
        "## Quantization methods\n",
        _table(
            ("Method", "From compute capability", "Activation types", "While loading", "Not on"),
            (
                (
                    f"`{method.method}`" + (" (deprecated)" if method.deprecated else ""),
                    f"{method.minimum_capability // 10}.{method.minimum_capability % 10}",
                    ", ".join(method.activation_types),
                    "yes" if method.online else "",
                    ", ".join(method.unsupported),
                )
                for method in newest.quantization.values()
            ),
        ),
        "## Speculative methods\n\nDepths by batch size go with all of them, but not with data parallelism.\n",
        _table(
            ("Method", "Draft", "numSpeculativeTokens", "Prompt lookup", "Async scheduling", "Releases"),
            (_speculative(name, releases) for name in _speculative_methods(releases)),
        ),
        "## Words that differ between releases\n",
        _table(
            ("Release", "Speculative methods", "KV cache types"),
            (
                (release.version, _words(release.speculative_methods), _words(release.kv_cache_types))
                for release in releases
            ),
        ),
    ]
    return {PATH: "\n".join(parts)}


def _speculative_methods(releases: list[EngineVersion]) -> list[str]:
    """In the newest release's order; the names for layers of single models mean `mtp`."""
    names = [name for release in reversed(releases) for name in release.speculative_methods]
    return [name for name in dict.fromkeys(names) if name not in NOT_OFFERED and not name.endswith("_mtp")]


def _speculative(name: str, releases: list[EngineVersion]) -> tuple[str, ...]:
    draft = "required" if name in NEEDS_DRAFT else "none" if name in WITHOUT_DRAFT else "the model's own layers, or one"
    have = [release.minor for release in releases if name in release.speculative_methods]
    successor = next((each for release in releases if (each := release.removed_speculative.get(name))), None)
    return (
        f"`{name}`" + (" and names that end in `_mtp`" if name == "mtp" else ""),
        draft,
        "optional" if name in OWN_DEPTH else "required",
        "optional" if name in LOOKUP_METHODS else "refused",
        "yes" if name in AHEAD or name.endswith("mtp") else "refused",
        ("all" if len(have) == len(releases) else ", ".join(have) or "none")
        + (f"; then `{successor}`" if successor and len(have) < len(releases) else ""),
    )


def _field(flag: Flag, history: FlagHistory) -> tuple[str, ...]:
    effect = EFFECTS[flag.field or ""]
    words = (effect.latency, effect.throughput, effect.memory, effect.quality)
    return (f"`{flag.field}`", f"`{flag.flag}`", history.since[flag.flag], *words)


def _marked(release: EngineVersion, mark: str) -> list[Flag]:
    return [flag for flag in release.flags.values() if flag.mark == mark]


def _said_by(flag: Flag) -> bool:
    # Other spellings of the same thing: the operator writes --model and --speculative-config.
    return flag.flag == "--model" or not (flag.field == "model" or flag.name.startswith("spec_"))


def _value(flag: Flag) -> str:
    """What may stand behind it, in a few words."""
    if flag.kind in ("switch", "presence"):
        return ""
    if flag.choices or flag.words:
        return _words(flag.choices or flag.words)
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = ", ".join(f"{signs[sign]} {bound:g}" for sign, bound in flag.bounds.items())
    members = (flag.schema or {}).get("properties")
    if members:
        return f"object of {_words(members)}"
    kind = {"integer": "whole number", "size": "whole number", "json": "object"}.get(flag.kind, flag.kind)
    return f"{kind}, {bounds}" if bounds else kind


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines) + "\n"
