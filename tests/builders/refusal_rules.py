"""Which rule of the engine's checks refused: each place in their source that makes a refusal is a rule."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from inference_fleet.api.refusal import Refusal
from inference_fleet.engine import checks


@dataclass(frozen=True, order=True)
class RefusalRule:
    """`check`: module and function, such as `batching.bounds`; line tells the rules of one function apart."""

    check: str
    line: int


def refusal_rules() -> frozenset[RefusalRule]:
    """All there are, read off the source."""
    return frozenset(rule for module in _modules() for rule in _rules(module))


@contextmanager
def rules_recorded() -> Iterator[dict[Refusal, RefusalRule]]:
    """While this is open, each refusal that a check makes is noted with its rule."""
    noted: dict[Refusal, RefusalRule] = {}
    patches = [mock.patch.object(module, "Refusal", _noting(module, noted)) for module in _modules()]
    for patch in patches:
        patch.start()
    try:
        yield noted
    finally:
        for patch in patches:
            patch.stop()


def _noting(module: ModuleType, noted: dict[Refusal, RefusalRule]) -> Any:
    rules = _rules(module)

    def make(*arguments: Any, **named: Any) -> Refusal:
        refusal = Refusal(*arguments, **named)
        line = sys._getframe(1).f_lineno
        noted[refusal] = [rule for rule in rules if rule.line <= line][-1]
        return refusal

    return make


@cache
def _modules() -> tuple[ModuleType, ...]:
    names = [info.name for info in pkgutil.iter_modules(checks.__path__)]
    modules = [importlib.import_module(f"{checks.__name__}.{name}") for name in names]
    return tuple(module for module in modules if hasattr(module, "Refusal"))


@cache
def _rules(module: ModuleType) -> tuple[RefusalRule, ...]:
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
                    check = f"{module.__name__.rpartition('.')[2]}.{function.name}"
                    found.append(RefusalRule(check, node.lineno))
    return tuple(sorted(found, key=lambda rule: rule.line))
