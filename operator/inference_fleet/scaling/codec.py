"""Frozen dataclasses and named tuples of numbers as JSON and back: missing fields take their defaults, wrong ones are
refused. A named tuple of columns is a table: as JSON it is a list of its rows.
"""

from __future__ import annotations

import dataclasses
import math
import types
from array import array
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

if TYPE_CHECKING:
    Column = array[float]
else:
    # Before Python 3.12 an array cannot be asked for by what it holds.
    Column = array


def encoded(value: Any) -> Any:
    """It becomes an object by its fields' names; those marked compare=False are derived and left out."""
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        kind: Any = type(value)
        if _is_table(kind):
            return [list(row) for row in zip(*value, strict=True)]
        return {name: encoded(getattr(value, name)) for name in _hints(kind)}
    if isinstance(value, tuple):
        return [encoded(item) for item in value]
    return value


def decoded(kind: type[T], value: Any) -> T:
    """The other way. Raises ValueError, TypeError or KeyError on what does not fit, infinities and NaN included."""
    result: T = _decoded(kind, value)
    return result


def _decoded(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if origin is types.UnionType:
        inner = next(one for one in get_args(kind) if one is not type(None))
        return None if value is None else _decoded(inner, value)
    if kind is float or kind is int:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("not a finite number")
        return kind(value)
    if kind is str:
        if not isinstance(value, str):
            raise TypeError("not a text")
        return value
    if _is_table(kind):
        return _table(kind, value)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return kind(**{name: _decoded(hint, value[name]) for name, hint in _hints(kind).items() if name in value})


def _table(kind: Any, value: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError("not a list")
    columns = len(kind._fields)
    rows = [_tuple((float,) * columns, row) for row in value]
    return kind._make([array("d", [row[place] for row in rows]) for place in range(columns)])


def _tuple(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError("not a list")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decoded(kinds[0], item) for item in value)
    if len(kinds) != len(value):
        raise ValueError("a list of another length")
    return tuple(_decoded(kind, item) for kind, item in zip(kinds, value, strict=True))


@cache
def _is_table(kind: Any) -> bool:
    return hasattr(kind, "_fields") and all(hint is Column for hint in _hints(kind).values())


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    if not dataclasses.is_dataclass(kind):
        return hints
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.compare}
