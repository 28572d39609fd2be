"""YAML as kubectl reads it: what JSON can hold, and every key once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

# PyYAML makes Python's own types of these; kubectl leaves them strings.
_STRINGS: Final = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary")
# What JSON has no form for.
_FOREIGN: Final = ("tag:yaml.org,2002:set", "tag:yaml.org,2002:omap", "tag:yaml.org,2002:pairs")


def documents_of(text: str) -> Iterator[Any]:
    """The documents of a stream. Raises yaml.YAMLError, with the place; also for a key that is given twice."""
    import yaml

    return yaml.load_all(text, Loader=_loader())


@cache
def _loader() -> Any:
    import yaml

    # libyaml's where the build has it: it reads the same ten times as fast.
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]  # chosen at run time
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            # Before keys merged by `<<` come in, which may be given again.
            given: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in given:
                    problem = f"the key {key.value} is given twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                given.add(key.value)
            made = super().construct_mapping(node, deep=deep)
            return {_text(key): value for key, value in made.items()}

    for tag in _STRINGS:
        Loader.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))
    for tag in _FOREIGN:
        Loader.add_constructor(tag, Loader.construct_undefined)
    return Loader


def _text(key: Any) -> str:
    """A key as JSON has it: `1: x` and `yes: x` are strings there."""
    return str(key).lower() if isinstance(key, bool) else str(key)
