"""`python -m inference_fleet.sandbox.tools setup`: prepares every program that the sandbox and its tests need."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from inference_fleet.sandbox.stubs_generation import ensure_stubs
from inference_fleet.sandbox.tools import DEFAULT_KUBERNETES_VERSION, ToolUnavailable, shown, tool_names, tool_path
from inference_fleet.sandbox.tools.catalog import KUBERNETES_COMMANDS

# What a sandbox with real nodes runs; the rest (kwok, helm, ...) is prepared when it is first asked for.
SANDBOX_TOOLS = ("ip", "nft", "etcd", *KUBERNETES_COMMANDS, "prometheus", "promtool")


def main(arguments: Sequence[str]) -> int:
    """Prepare the tools, say what was done, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m inference_fleet.sandbox.tools", description=__doc__)
    parser.add_argument("action", choices=("setup",))
    parser.add_argument("tools", nargs="*", metavar="TOOL", help="only these (default: what a sandbox needs)")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also what is otherwise prepared on first use: kwok, helm and what tests need",
    )
    parser.add_argument(
        "--kubernetes", default=DEFAULT_KUBERNETES_VERSION, metavar="VERSION", help="(default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    names = tool_names() if options.all else tuple(options.tools) or SANDBOX_TOOLS
    if unknown := sorted(set(names) - set(tool_names())):
        parser.error(f"no such tool: {', '.join(unknown)} (there are {', '.join(tool_names())})")
    began = time.monotonic()
    try:
        with shown() as progress:
            for name in names:
                tool_path(name, kubernetes_version=options.kubernetes, progress=progress)
            if not options.tools:
                ensure_stubs(progress=progress)
    except ToolUnavailable as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; what is ready stays in the cache", file=sys.stderr)
        return 130
    print(f"setup: {len(names)} tools ready ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
