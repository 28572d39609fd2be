"""Run by the engine environment's Python: says of one command line after another what vLLM makes of it.

Reads a line of JSON {"words": [...], "configure": bool} from standard input, writes one to standard output:
{"values": {...}} or {"error": [...]}, with "stage" saying whether the parser or the configuration refused.
`configure` goes on to vLLM's own check of everything: --model must then be a folder with a config.json.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

PROBE = Path(__file__).resolve().parents[2] / "operator" / "inference_fleet" / "cli" / "engine_probe.py"


def main() -> None:
    logging.disable(logging.CRITICAL)
    # Libraries print; answers go where nothing else does.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    probe = load(PROBE)
    parser_class = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    parser = probe.make_parser(parser_class)
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(answer(probe, parser, asked)) + "\n")
        answers.flush()


def answer(probe: ModuleType, parser: Any, asked: dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = probe.parse(parser, asked["words"])
    if "error" in parsed:
        return {**parsed, "stage": "parser"}
    if asked["configure"]:
        configured: dict[str, Any] = probe.configure(parser, asked["words"])
        if "error" in configured:
            return {**configured, "stage": "configuration"}
    return parsed


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
