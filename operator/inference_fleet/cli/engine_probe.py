"""Run by the Python that has vLLM, never imported: says what this vLLM's command line is, and what it makes of others.

Reads from standard input, if there is something: {"parse": [[word, ...], ...], "configure": [[word, ...], ...]}.
Writes one line of JSON to standard output:
{"version", "flags": [{"name", "spellings", "choices", "kind", "values", "default", "words", "bounds"}],
"parsed": [{"values"} or {"error"}], "configured": [{} or {"error"}]}.
Configuring goes on from parsing to vLLM's own check of the whole: --model must then be a folder with a config.json.
"""

import contextlib
import copy
import importlib
import io
import json
import logging
import sys
from collections.abc import Callable
from typing import Any, get_args

# Where the parser lives, newest first: 0.33, 0.29 to 0.32, before.
MODULES = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)


def main() -> None:
    text = "" if sys.stdin.isatty() else sys.stdin.read()
    wanted = json.loads(text) if text.strip() else {}
    logging.disable(logging.CRITICAL)
    with contextlib.redirect_stdout(sys.stderr):
        report = probe(wanted)
    print(json.dumps(report))


def probe(wanted: dict[str, list[list[str]]]) -> dict[str, Any]:
    vllm = importlib.import_module("vllm")
    parser = make_parser(importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser)
    actions = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    spoken, bounded = words(), bounds()
    return {
        "version": vllm.__version__,
        "flags": [
            {
                "name": action.dest,
                "spellings": list(action.option_strings),
                "choices": sorted(str(choice) for choice in action.choices) if action.choices else [],
                "kind": kind(action),
                "values": values(action),
                "default": plain(action.default),
                "words": spoken.get(action.dest, []),
                "bounds": bounded.get(action.dest, {}),
            }
            for action in actions
        ],
        "parsed": [parse(parser, words) for words in wanted.get("parse", ())],
        "configured": [configure(parser, words) for words in wanted.get("configure", ())],
    }


def make_parser(parser_class: Callable[[], Any]) -> Any:
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        return module.make_arg_parser(parser_class())
    raise SystemExit("this vLLM keeps its parser in none of " + ", ".join(MODULES))


def kind(action: Any) -> str:
    """The flag's kind, found out by what it makes of words: vLLM's types are functions without useful names."""
    if action.nargs == 0:
        return (
            "switch" if "Boolean" in type(action).__name__ or "EnableDisable" in type(action).__name__ else "presence"
        )
    if takes(action, "8k", kinds=(int,)):
        return "sizeOrAuto" if takes(action, "auto", kinds=(int,)) else "size"
    if takes(action, "7", kinds=(int,)) and not takes(action, "[]", kinds=(list,)):
        return "integer"
    if takes(action, "0.5", kinds=(float,)) and not takes(action, "[]", kinds=(list,)):
        return "number"
    if takes(action, "{}", kinds=(str, list)) or not takes(action, "{}", kinds=(object,)):
        return "text"
    return "jsonOrText" if takes(action, "plain.word", kinds=(str,)) else "json"


def takes(action: Any, word: str, *, kinds: tuple[type, ...]) -> bool:
    try:
        return isinstance((action.type or str)(word), kinds)
    except Exception:
        return False


def values(action: Any) -> str:
    if type(action).__name__ == "_AppendAction":
        return "append"
    return {"+": "many", "?": "optional"}.get(action.nargs, "one")


def plain(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def words() -> dict[str, list[str]]:
    """Words that a flag's parser takes as plain text, and that something looks up when the server starts."""
    model = importlib.import_module("vllm.config.model")
    mamba = importlib.import_module("vllm.config.mamba")
    backends = importlib.import_module("vllm.v1.attention.backends.registry").AttentionBackendEnum
    tools = importlib.import_module("vllm.tool_parsers").ToolParserManager
    reasoning = importlib.import_module("vllm.reasoning").ReasoningParserManager
    tokenizers = importlib.import_module("vllm.tokenizers.registry").TokenizerRegistry
    return {
        "tool_call_parser": sorted(tools.list_registered()),
        "reasoning_parser": sorted(reasoning.list_registered()),
        "attention_backend": sorted({"auto", *backends.__members__}),
        "mm_encoder_attn_backend": sorted({"auto", *backends.__members__}),
        "mamba_backend": sorted(mamba.MambaBackendEnum.__members__),
        "model_impl": sorted(get_args(model.ModelImpl)),
        "config_format": sorted(get_args(model.ConfigFormat)),
        "tokenizer_mode": sorted({"auto", *tokenizers.tokenizers}),
    }


def bounds() -> dict[str, dict[str, float]]:
    """What vLLM's configuration classes demand of numbers: field -> {"ge" | "gt" | "le" | "lt": number}."""
    found: dict[str, dict[str, float]] = {}
    package = importlib.import_module("vllm.config")
    for name in vars(package):
        fields = getattr(getattr(package, name), "__pydantic_fields__", None)
        for field, about in (fields or {}).items() if name.endswith("Config") else ():
            limits = {
                key: getattr(each, key)
                for each in about.metadata
                for key in ("ge", "gt", "le", "lt")
                if hasattr(each, key)
            }
            if limits:
                found.setdefault(field, {}).update(limits)
    return found


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


def configure(parser: Any, words: list[str]) -> dict[str, Any]:
    arguments = importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs
    server = importlib.import_module("vllm.usage.usage_lib").UsageContext.OPENAI_API_SERVER
    try:
        # Own copies: vLLM writes what one flag says into the object that is another's default, and the parser hands out
        # that object again (0.32: --enable-return-routed-experts into --aux-output-config, refused ever after).
        values = copy.deepcopy(parser.parse_args(words))
        arguments.from_cli_args(values).create_engine_config(usage_context=server)
    except (SystemExit, Exception) as error:
        return {"error": str(error).strip().splitlines()[:3]}
    return {}


if __name__ == "__main__":
    main()
