"""`python -m inference_fleet.emulator <the arguments of vllm serve>`: an engine without a GPU."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from inference_fleet.emulator.life_cycle import exit_now, live
from inference_fleet.emulator.settings import StartFailure, engine_settings
from inference_fleet.emulator.switches import SwitchRefusal, read_switches
from inference_fleet.engine.command_line import ParsedCommandLine, parse_command_line

# argparse's exit status for a command line that cannot be parsed.
_EXIT_USAGE = 2
_EXIT_FAILED = 1
_NEWEST_VERSION = "0.33.0"


def engine_arguments(argv: Sequence[str]) -> tuple[str, ...]:
    """The arguments proper: `vllm serve X`, `serve X` and `python3 -m vllm.entrypoints... X` all mean X."""
    words = list(argv)
    if words and os.path.basename(words[0]).startswith("python"):
        words = words[1:]
    if len(words) >= 2 and words[0] == "-m" and words[1].startswith("vllm."):
        words = words[2:]
    elif words and os.path.basename(words[0]) == "vllm":
        words = words[1:]
    if words and words[0] == "serve":
        words = words[1:]
    return tuple(words)


def main(argv: Sequence[str]) -> int:
    """Run an engine until it ends; returns its exit status."""
    switches = read_switches(os.environ)
    if isinstance(switches, SwitchRefusal):
        print(f"error: {switches}", file=sys.stderr)
        return _EXIT_USAGE
    version = switches.version or _NEWEST_VERSION
    parsed = parse_command_line(version, engine_arguments(argv))
    if not isinstance(parsed, ParsedCommandLine):
        print(f"usage: vllm serve [model_tag] [options]\nvllm serve: error: {parsed.message}", file=sys.stderr)
        return _EXIT_USAGE
    settings = engine_settings(parsed.values, version=version, switches=switches)
    if isinstance(settings, StartFailure):
        print(*settings.lines, sep="\n", file=sys.stderr)
        return _EXIT_FAILED
    return asyncio.run(live(settings, switches))


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
