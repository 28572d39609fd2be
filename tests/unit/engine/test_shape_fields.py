"""Every fact that a user may give of a model is one that something looks at."""

from __future__ import annotations

import ast
from pathlib import Path

from inference_fleet import engine
from inference_fleet.api.checkpoint import ModelShape


def test_every_field_of_a_shape_is_read_by_the_engine() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(engine.__path__[0]).rglob("*.py")]
    read = {node.attr for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)}

    assert set(ModelShape.model_fields) - read == set()
