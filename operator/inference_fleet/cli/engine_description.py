"""An installed vLLM's command line, asked of it in a process of its own, beside what the operator knows of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.versions import engine_version

# Importing torch and transformers takes 10 s with warm caches, a minute with cold ones.
PROBE_TIMEOUT_SECONDS = 300
_PROBE = Path(__file__).with_name("engine_probe.py")


@dataclass(frozen=True)
class ProbeFailure:
    """Why that Python could not say."""

    message: str


@dataclass(frozen=True)
class Difference:
    """What an installed vLLM has and the data of its release does not, and the other way round. Flags by name."""

    version: str
    known: bool
    new_flags: tuple[str, ...]
    gone_flags: tuple[str, ...]
    changed_flags: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether the data is this vLLM's."""
        return self.known and not (self.new_flags or self.gone_flags or self.changed_flags)


def probe(
    python: str, *, parse: Sequence[Sequence[str]] = (), configure: Sequence[Sequence[str]] = ()
) -> Mapping[str, Any] | ProbeFailure:
    """What the vLLM of that interpreter says of itself, and what it makes of each list of words.

    parse: only its parser. configure: its parser and its check of the whole configuration.
    """
    # Without a device the CUDA build cannot even build its parser, unless it is told not to look for one.
    environment = {**os.environ, "VLLM_TARGET_DEVICE": os.environ.get("VLLM_TARGET_DEVICE", "cpu")}
    try:
        done = subprocess.run(
            [python, str(_PROBE)],
            input=json.dumps(
                {"parse": [list(words) for words in parse], "configure": [list(words) for words in configure]}
            ),
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except OSError as error:
        return ProbeFailure(f"{python}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return ProbeFailure(f"{python}: no answer within {PROBE_TIMEOUT_SECONDS} s")
    lines = done.stdout.strip().splitlines()
    try:
        found: Mapping[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return ProbeFailure(f"{python}: {last}")
    return found


def difference(description: Mapping[str, Any]) -> Difference:
    """The installed vLLM against the data of its release."""
    # 0.33.0+cu130 and 0.33.0.post1 are builds of 0.33.0.
    text = str(description["version"]).partition("+")[0]
    version = ".".join(text.split(".")[:3])
    flags = {flag["name"]: flag for flag in description["flags"]}
    known = engine_version(version)
    if isinstance(known, Refusal):
        return Difference(version, known=False, new_flags=tuple(sorted(flags)), gone_flags=(), changed_flags=())
    changed = [
        name
        for name in flags.keys() & known.flags.keys()
        if not set(flags[name]["spellings"]) <= set(known.flags[name].spellings)
        or sorted(flags[name]["choices"]) != sorted(known.flags[name].choices)
        or flags[name]["kind"] != known.flags[name].kind
        or flags[name]["values"] != known.flags[name].values
        or sorted(flags[name]["words"]) != sorted(known.flags[name].words)
        or flags[name]["bounds"] != dict(known.flags[name].bounds)
    ]
    return Difference(
        version,
        known=True,
        new_flags=tuple(sorted(flags.keys() - known.flags.keys())),
        gone_flags=tuple(sorted(known.flags.keys() - flags.keys())),
        changed_flags=tuple(sorted(changed)),
    )
