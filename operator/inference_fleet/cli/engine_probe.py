"""Run by the Python that has vLLM, never imported: says what this vLLM's command line is, and what it makes of others.

Reads {"parse": [[word, ...], ...]} from standard input, if there is something; writes one line of JSON to standard
output: {"version", "flags": [{"name", "spellings", "choices"}], "parsed": [{"values"} or {"error"}]}.
"""

import contextlib
import importlib
import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any

# Where the parser lives, newest first: 0.33, 0.29 to 0.32, before.
MODULES = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)


def main() -> None:
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    wanted = json.loads(text).get("parse", []) if text.strip() else []
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(sys.stderr):
        report = probe(wanted)
    print(json.dumps(report))


def probe(wanted: list[list[str]]) -> dict[str, Any]:
    vllm = importlib.import_module("vllm")
    parser = make_parser(importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser)
    actions = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    return {
        "version": vllm.__version__,
        "flags": [
            {
                "name": action.dest,
                "spellings": list(action.option_strings),
                "choices": sorted(str(choice) for choice in action.choices) if action.choices else [],
            }
            for action in actions
        ],
        "parsed": [parse(parser, words) for words in wanted],
    }


def make_parser(parser_class: Callable[[], Any]) -> Any:
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        return module.make_arg_parser(parser_class())
    raise SystemExit("this vLLM keeps its parser in none of " + ", ".join(MODULES))


def parse(parser: Any, words: list[str]) -> dict[str, Any]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            values = parser.parse_args(words)
    except SystemExit:
        return {"error": said.getvalue().strip().splitlines()[-1:]}
    except Exception as error:
        return {"error": [str(error)]}
    changed = {name: value for name, value in vars(values).items() if value != parser.get_default(name)}
    return {"values": json.loads(json.dumps(changed, default=str))}


if __name__ == "__main__":
    main()
